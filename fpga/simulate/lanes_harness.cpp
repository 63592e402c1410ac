// Clocks a netlist that simulates 512 cores at once through their ready/valid ports, all in step.
// netlist.inc is what qpolicy_fpga.simulate.lanes_cpp writes.
#include <cstdint>
#include <cstring>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

static const int kWords = 8;           // of 64 lanes
static const long kPatience = 200000;  // cycles without progress before we give up

typedef uint64_t V __attribute__((vector_size(8 * kWords)));

static inline V broadcast(uint64_t value) {
    return V{value, value, value, value, value, value, value, value};
}
#define B(value) broadcast(value)

// Bit 4 a + 2 b + c of a constant table.
#ifdef __AVX512F__
#define lut3(a, b, c, table) \
    ((V)_mm512_ternarylogic_epi64((__m512i)(a), (__m512i)(b), (__m512i)(c), table))
#else
#define INLINE static inline __attribute__((always_inline))

// Bit 2 b + c.
template <int table>
INLINE V lut2(V b, V c) {
    if constexpr (table == 0) return broadcast(0);
    if constexpr (table == 2) return ~b & c;
    if constexpr (table == 4) return b & ~c;
    if constexpr (table == 6) return b ^ c;
    if constexpr (table == 8) return b & c;
    if constexpr (table == 10) return c;
    if constexpr (table == 12) return b;
    if constexpr (table == 14) return b | c;
    if constexpr (table & 1) return ~lut2<15 - table>(b, c);
}

template <int table>
INLINE V lut3_of(V a, V b, V c) {
    const V low = lut2<(table & 15)>(b, c);
    if constexpr ((table & 15) == table >> 4) return low;
    if constexpr ((table & 15) == 15 - (table >> 4)) return a ^ low;
    return low ^ (a & (low ^ lut2<(table >> 4)>(b, c)));
}
#define lut3(a, b, c, table) lut3_of<table>(a, b, c)
#endif

// Each lane's own word of a table: `bits` vectors of address, `count` vectors of content.
static void look_up(const V *address, int bits, const uint64_t *table, V *content, int count) {
    for (int word = 0; word < kWords; ++word) {
        uint32_t index[64] = {0};
        uint64_t found[64];
        for (int bit = 0; bit < bits; ++bit) {
            const uint64_t lanes = address[bit][word];
            for (int lane = 0; lane < 64; ++lane) index[lane] |= (lanes >> lane & 1) << bit;
        }
        for (int lane = 0; lane < 64; ++lane) found[lane] = table[index[lane]];
        for (int bit = 0; bit < count; ++bit) {
            uint64_t lanes = 0;
            for (int lane = 0; lane < 64; ++lane) lanes |= (found[lane] >> bit & 1) << lane;
            content[bit][word] = lanes;
        }
    }
}

#include "netlist.inc"

static uint32_t draw(uint64_t *state) {
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*state >> 33);
}

static long cycle;

static void evaluate(void) {
    numbers();
    vectors();
}

static void edge(void) {
    commit();
    ++cycle;
}

extern "C" {

// All registers 0, then two cycles of reset.
void lanes_reset(void) {
    memset(n, 0, sizeof n);
    memset(u, 0, sizeof u);
    cycle = 0;
    RST = ~0ull;
    for (int i = 0; i < 2; ++i) {
        evaluate();
        edge();
    }
    RST = 0;
}

// `data` is [frames][beats][IN_BITS] vectors, `out` [frames][OUT_BITS]; `times` is [3][frames]:
// first beat accepted, result fetched, result first offered. The chances are in 1/256. Returns how
// many results came, -1 if the cores stopped answering.
long lanes_run(const uint64_t *data, long frames, long beats, unsigned offer, unsigned fetch,
               unsigned seed, uint64_t *out, int64_t *times) {
    uint64_t state = seed;
    long sent = 0, beat = 0, got = 0, progress = cycle;
    int offering = 0, shown = 0;
    V result[OUT_BITS];
    while (got < frames) {
        // A beat that was offered stays offered until it is accepted.
        if (!offering && sent < frames) offering = (draw(&state) & 255) < offer;
        S_VALID = offering ? ~0ull : 0;
        if (offering) {
            const uint64_t *from = data + (sent * beats + beat) * IN_BITS * kWords;
            memcpy(n, from, IN_BITS * sizeof(V));  // the ports are the first vectors
        }
        M_READY = (draw(&state) & 255) < fetch ? ~0ull : 0;
        evaluate();
        if (M_VALID && !shown) {
            times[2 * frames + got] = cycle;
            shown = 1;
        }
        const int accepted = offering && S_READY;
        if (M_VALID && M_READY) {
            times[frames + got] = cycle;
            results(result);
            memcpy(out + got * OUT_BITS * kWords, result, sizeof result);
            ++got;
            shown = 0;
            progress = cycle;
        }
        if (accepted && beat == 0) times[sent] = cycle;
        edge();
        if (accepted) {
            offering = 0;
            progress = cycle;
            if (++beat == beats) {
                beat = 0;
                ++sent;
            }
        }
        if (cycle - progress > kPatience) return -1;
    }
    return got;
}

}

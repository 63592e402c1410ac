// The AXI4-Stream wrapper under Verilator: frames in, frames out, with gaps on both sides.
//
// IN_BITS and OUT_BITS, the widths of the two buses, stand before this file.
#include <cstdint>

#include "Vtop.h"
#include "verilated.h"

namespace {
constexpr long kPatience = 200000;  // cycles without progress before we give up

struct Stream {
    VerilatedContext context;
    Vtop top{&context};

    void tick() {
        top.aclk = 1;
        top.eval();
        top.aclk = 0;
        top.eval();
    }
};

uint32_t draw(uint64_t *state) {
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<uint32_t>(*state >> 33);
}

// Verilator has a plain integer up to 64 bits and an array of words above.
void put(Vtop &top, const uint32_t *words) {
#if IN_BITS > 64
    for (int i = 0; i < (IN_BITS + 31) / 32; ++i) top.s_axis_tdata[i] = words[i];
#elif IN_BITS > 32
    top.s_axis_tdata = words[0] | static_cast<uint64_t>(words[1]) << 32;
#else
    top.s_axis_tdata = words[0];
#endif
}

void get(const Vtop &top, uint32_t *words) {
#if OUT_BITS > 64
    for (int i = 0; i < (OUT_BITS + 31) / 32; ++i) words[i] = top.m_axis_tdata[i];
#elif OUT_BITS > 32
    words[0] = static_cast<uint32_t>(top.m_axis_tdata);
    words[1] = static_cast<uint32_t>(top.m_axis_tdata >> 32);
#else
    words[0] = top.m_axis_tdata;
#endif
}
}  // namespace

extern "C" {

void *stream_new() {
    auto *stream = new Stream;
    Vtop &top = stream->top;
    top.aclk = top.aresetn = top.s_axis_tvalid = top.s_axis_tlast = top.m_axis_tready = 0;
    for (int i = 0; i < 4; ++i) stream->tick();
    top.aresetn = 1;
    stream->tick();
    return stream;
}

void stream_free(void *handle) { delete static_cast<Stream *>(handle); }

uint32_t stream_malformed(void *handle) { return static_cast<Stream *>(handle)->top.malformed; }

// Send `frames` observations of `beats` transfers; `offer` and `fetch` are the chances in 1/256 that
// a side moves in a cycle. Returns how many answers came, -1 where an answer has no TLAST, -2 where
// nothing moves any more.
long stream_run(void *handle, const uint32_t *data, long frames, long beats, unsigned offer,
                unsigned fetch, unsigned seed, uint32_t *out) {
    auto *stream = static_cast<Stream *>(handle);
    Vtop &top = stream->top;
    const int in_words = (IN_BITS + 31) / 32, out_words = (OUT_BITS + 31) / 32;
    uint64_t state = seed;
    long sent = 0, beat = 0, got = 0, idle = 0;
    bool offering = false;
    while (got < frames) {
        if (!offering && sent < frames) offering = (draw(&state) & 255) < offer;
        top.s_axis_tvalid = offering;
        top.s_axis_tlast = offering && beat == beats - 1;
        if (offering) put(top, data + (sent * beats + beat) * in_words);
        top.m_axis_tready = (draw(&state) & 255) < fetch;
        top.eval();
        const bool accepted = offering && top.s_axis_tready;
        ++idle;
        if (top.m_axis_tvalid && top.m_axis_tready) {
            if (!top.m_axis_tlast) return -1;
            get(top, out + got++ * out_words);
            idle = 0;
        }
        stream->tick();
        if (accepted) {
            offering = false;
            idle = 0;
            if (++beat == beats) { beat = 0; ++sent; }
        }
        if (idle > kPatience) return -2;
    }
    top.s_axis_tvalid = top.m_axis_tready = 0;
    top.eval();
    return got;
}
}

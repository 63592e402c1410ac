// Drives qpolicy_core through its ready/valid ports. IN_BITS and OUT_BITS stand before this file.
#include <cstdint>
#include <cstring>
#include "Vtop.h"
#include "verilated.h"
#ifdef COUNT_TOGGLES
#include "verilated_saif_c.cpp"
#endif

static const long kPatience = 200000;  // cycles without progress before we give up

struct Core {
    VerilatedContext context;
    Vtop top{&context};
    long cycle = 0;
#ifdef COUNT_TOGGLES
    VerilatedSaifC *activity = nullptr;
#endif
};

static uint32_t draw(uint64_t *state) {
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*state >> 33);
}

// Verilator has a plain integer up to 64 bits and an array of words above.
static void put(Core *core, const uint32_t *words) {
#if IN_BITS > 64
    for (int i = 0; i < (IN_BITS + 31) / 32; ++i) core->top.s_data[i] = words[i];
#elif IN_BITS > 32
    core->top.s_data = words[0] | (uint64_t)words[1] << 32;
#else
    core->top.s_data = words[0];
#endif
}

static void get(Core *core, uint32_t *words) {
#if OUT_BITS > 64
    for (int i = 0; i < (OUT_BITS + 31) / 32; ++i) words[i] = core->top.m_data[i];
#elif OUT_BITS > 32
    words[0] = (uint32_t)core->top.m_data;
    words[1] = (uint32_t)(core->top.m_data >> 32);
#else
    words[0] = core->top.m_data;
#endif
}

static void edge(Core *core) {
    core->top.clk = 1;
    core->top.eval();
    core->top.clk = 0;
    core->top.eval();
#ifdef COUNT_TOGGLES
    if (core->activity) core->activity->dump(static_cast<uint64_t>(core->cycle));
#endif
    ++core->cycle;
}

extern "C" {

Core *core_new() {
    Core *core = new Core;
#ifdef COUNT_TOGGLES
    core->context.traceEverOn(true);
#endif
    core->top.clk = 0;
    core->top.rst = 1;
    core->top.s_valid = 0;
    core->top.m_ready = 0;
    core->top.eval();
    edge(core);
    edge(core);
    core->top.rst = 0;
    return core;
}

void core_free(Core *core) { delete core; }

void core_reset(Core *core, long cycles) {
    core->top.rst = 1;
    core->top.s_valid = 0;
    core->top.m_ready = 0;
    for (long i = 0; i < cycles; ++i) edge(core);
    core->top.rst = 0;
}

#ifdef COUNT_TOGGLES
// From here to core_activity_end every net's changes are counted, once a cycle, into a SAIF file.
void core_activity(Core *core, const char *path) {
    core->activity = new VerilatedSaifC;
    core->top.trace(core->activity, 99);
    core->activity->open(path);
}

void core_activity_end(Core *core) {
    core->activity->close();
    delete core->activity;
    core->activity = nullptr;
}
#endif

// Returns how many results came, -1 if the core stopped answering.
long core_run(Core *core, const uint32_t *data, long frames, long beats, unsigned offer,
              unsigned fetch, unsigned seed, long stop_after, uint32_t *out, int64_t *times) {
    const int in_words = (IN_BITS + 31) / 32, out_words = (OUT_BITS + 31) / 32;
    uint64_t state = seed;
    long sent = 0, beat = 0, got = 0, begin = core->cycle, progress = core->cycle;
    bool offering = false, shown = false;
    while (got < frames) {
        if (stop_after && core->cycle - begin >= stop_after) break;
        // A beat that was offered stays offered until it is accepted.
        if (!offering && sent < frames) offering = (draw(&state) & 255) < offer;
        core->top.s_valid = offering;
        if (offering) put(core, data + (sent * beats + beat) * in_words);
        core->top.m_ready = (draw(&state) & 255) < fetch;
        core->top.eval();
        if (core->top.m_valid && !shown && got < frames) {
            times[2 * frames + got] = core->cycle;
            shown = true;
        }
        bool accepted = offering && core->top.s_ready;
        if (core->top.m_valid && core->top.m_ready) {
            times[frames + got] = core->cycle;
            get(core, out + got * out_words);
            ++got;
            shown = false;
            progress = core->cycle;
        }
        if (accepted && beat == 0) times[sent] = core->cycle;
        edge(core);
        if (accepted) {
            offering = false;
            progress = core->cycle;
            if (++beat == beats) { beat = 0; ++sent; }
        }
        if (core->cycle - progress > kPatience) return -1;
    }
    core->top.s_valid = 0;
    core->top.m_ready = 0;
    core->top.eval();
    return got;
}

}

// The UART wrapper under Verilator: bytes in, bytes out, time in clock cycles.
#include <cstdint>
#include <deque>

#include "Vtop.h"
#include "verilated.h"

namespace {
constexpr int kClksPerBit = 4;

struct Line {
    VerilatedContext context;
    Vtop top{&context};
    std::deque<uint8_t> sending;
    int send_bit = -1, send_left = 0, gap = 0;
    int receive_bit = -1, receive_left = 0;
    uint8_t receive_byte = 0;

    // One clock cycle; returns a received byte or -1.
    int tick() {
        if (send_left == 0) {
            if (send_bit >= 0 && send_bit < 9) {
                ++send_bit;
                top.rx = send_bit == 9 ? 1 : sending.front() >> (send_bit - 1) & 1;
                send_left = kClksPerBit;
            } else if (send_bit == 9) {
                sending.pop_front();
                send_bit = -1;
            }
            if (send_bit < 0 && !sending.empty()) {
                send_bit = 0;
                top.rx = 0;
                send_left = kClksPerBit;
            }
        }
        if (send_left > 0) --send_left;
        top.clk = 1;
        top.eval();
        top.clk = 0;
        top.eval();
        int byte = -1;
        if (receive_bit < 0) {
            if (!top.tx) {
                receive_bit = 0;
                receive_left = kClksPerBit + kClksPerBit / 2 - 1;
            }
        } else if (--receive_left == 0) {
            receive_left = kClksPerBit;
            if (receive_bit < 8) receive_byte = receive_byte >> 1 | (top.tx ? 0x80 : 0);
            if (receive_bit++ == 8) {
                byte = receive_byte;
                receive_bit = -1;
            }
        }
        return byte;
    }
};
}  // namespace

extern "C" {

void *line_new() {
    auto *line = new Line;
    line->top.rx = 1;
    line->top.rst = 1;
    for (int i = 0; i < 4; ++i) line->tick();
    line->top.rst = 0;
    return line;
}

void line_free(void *handle) { delete static_cast<Line *>(handle); }

// Send `count` bytes, then run `cycles` more; returns how many bytes came back.
int line_run(void *handle, const uint8_t *bytes, int count, int cycles, uint8_t *answer) {
    auto *line = static_cast<Line *>(handle);
    line->sending.insert(line->sending.end(), bytes, bytes + count);
    int received = 0;
    for (int left = cycles; left > 0; --left) {
        const int byte = line->tick();
        if (byte >= 0) answer[received++] = static_cast<uint8_t>(byte);
        if (!line->sending.empty()) ++left;
    }
    return received;
}
}

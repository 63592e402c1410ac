/* Counts what a policy costs on a Cortex-M under QEMU; instructions.py builds and reads it.
 *
 * QEMU runs with `-icount shift=10`: every instruction takes 1024 ns of simulated time, so a timer
 * of the board counts instructions, the same ones in every run. `calibrate` checks that against a
 * loop of known length. Output goes through semihosting, a line a measurement: what, the timer's
 * ticks, and the results as hexadecimal words.
 */
#include <stdint.h>

#include "case.h" /* INPUTS, OUTPUTS, COUNT, observations, codes */

extern char stack_top[];
int policy_act(const float *observation, float *action);
void policy_infer(const int8_t *input, int8_t *output);
void mlp_act(const float *observation, float *action);

/* CMSDK APB timer 0: counts down at 25 MHz. */
static volatile uint32_t *const TIMER = (volatile uint32_t *)0x40000000;
enum { CONTROL, VALUE, RELOAD };

enum { SYS_WRITE0 = 0x04, SYS_EXIT = 0x18, APPLICATION_EXIT = 0x20026 };

static void semihosting(uint32_t operation, uint32_t argument) {
    register uint32_t r0 __asm__("r0") = operation;
    register uint32_t r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

static void print(const char *text) { semihosting(SYS_WRITE0, (uint32_t)(uintptr_t)text); }

static void print_word(uint32_t word) {
    char text[10] = " 00000000";
    for (int i = 8; i > 0; i--, word >>= 4) text[i] = "0123456789abcdef"[word & 15];
    print(text);
}

static void report(const char *what, uint32_t ticks, const uint32_t *words, int count) {
    print(what);
    print_word(ticks);
    for (int i = 0; i < count; i++) print_word(words[i]);
    print("\n");
}

static uint32_t start(void) { return TIMER[VALUE]; }
static uint32_t since(uint32_t begun) { return begun - TIMER[VALUE]; }

/* CALIBRATION turns of two instructions. */
static void calibrate(void) {
    uint32_t turns = CALIBRATION;
    const uint32_t begun = start();
    __asm__ volatile("1: subs %0, %0, #1\n   bne 1b" : "+r"(turns) : : "cc");
    report("calibrate", since(begun), 0, 0);
}

static void run(void) {
    static uint32_t words[OUTPUTS];
    static int8_t output[OUTPUTS];
    uint32_t ticks = start();
    ticks = since(ticks);
    report("nothing", ticks, 0, 0);
    calibrate();
    for (int i = 0; i < COUNT; i++) {
        ticks = start();
        policy_infer(codes[i], output);
        ticks = since(ticks);
        for (int j = 0; j < OUTPUTS; j++) words[j] = (uint32_t)(int32_t)output[j];
        report("infer", ticks, words, OUTPUTS);
        ticks = start();
        const int bad = policy_act(observations[i], (float *)words);
        ticks = since(ticks);
        if (bad >= 0) print("refused\n");
        report("act", ticks, words, OUTPUTS);
        ticks = start();
        mlp_act(observations[i], (float *)words);
        ticks = since(ticks);
        report("mlp", ticks, words, OUTPUTS);
    }
}

void reset(void) {
#ifdef __ARM_FP
    *(volatile uint32_t *)0xe000ed88 |= 0xf00000u; /* CPACR: the FPU may be used */
    __asm__ volatile("dsb\n isb");
#endif
    TIMER[RELOAD] = TIMER[VALUE] = 0xffffffffu;
    TIMER[CONTROL] = 1;
    run();
    semihosting(SYS_EXIT, APPLICATION_EXIT);
    for (;;) {
    }
}

static void fault(void) {
    print("fault\n");
    semihosting(SYS_EXIT, 0);
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static void (*const vectors[])(void) = {
    (void (*)(void))stack_top, reset, fault, fault, fault, fault, fault,
};

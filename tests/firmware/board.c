/* Start of a Cortex-M or RISC-V board without any library, and semihosting. */
#include "board.h"

enum { WRITE0 = 0x04, EXIT_EXTENDED = 0x20, APPLICATION_EXIT = 0x20026 };
/* BELOW the stack pointer nothing is painted: what paints may stand there. */
enum { PAINT = 0xA5, BELOW = 32 };

extern uint8_t bss_start[];
extern uint8_t bss_end[];
extern uint8_t stack_low[];
extern uint8_t stack_top[];

void start(void);

static void semihosting(uintptr_t operation, const void *argument)
{
#if defined(__riscv)
    register uintptr_t a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = argument;
    __asm__ volatile(".balign 16\n .option push\n .option norvc\n slli x0, x0, 0x1f\n ebreak\n"
                     " srai x0, x0, 7\n .option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
#else
    register uintptr_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
#endif
}

static void leave(int code)
{
    const uintptr_t block[2] = {APPLICATION_EXIT, (uintptr_t)code};
    semihosting(EXIT_EXTENDED, block);
    for (;;) {
    }
}

void say(const char *word, const uint32_t *numbers, size_t count)
{
    char line[80];
    size_t at = 0;
    size_t i;
    while (word[at]) {
        line[at] = word[at];
        at++;
    }
    for (i = 0; i < count; i++) {
        int shift;
        line[at++] = ' ';
        for (shift = 28; shift >= 0; shift -= 4) {
            line[at++] = "0123456789abcdef"[(numbers[i] >> shift) & 15U];
        }
    }
    line[at++] = '\n';
    line[at] = 0;
    semihosting(WRITE0, line);
}

__attribute__((noinline, noipa)) void mark(void)
{
    __asm__ volatile("nop");
}

static uint8_t *stack_pointer(void)
{
    uint8_t *here;
#if defined(__riscv)
    __asm__ volatile("mv %0, sp" : "=r"(here));
#else
    __asm__ volatile("mov %0, sp" : "=r"(here));
#endif
    return here;
}

static volatile uint8_t *painted_to;

void stack_paint(void)
{
    volatile uint8_t *p = stack_low;
    painted_to = stack_pointer() - BELOW;
    while (p < painted_to) {
        *p++ = PAINT;
    }
}

uint32_t stack_used(void)
{
    volatile uint8_t *p = stack_low;
    while (p < painted_to && *p == PAINT) {
        p++;
    }
    return (uint32_t)(painted_to + BELOW - p);
}

/* With volatile, so that no compiler makes it a call of memset. */
__attribute__((used)) void begin(void)
{
    volatile uint8_t *p;
    for (p = bss_start; p < bss_end; p++) {
        *p = 0;
    }
    leave(run());
}

#if defined(__riscv)
__attribute__((naked, section(".first"))) void start(void)
{
    __asm__ volatile("la sp, stack_top\n j begin");
}
#else
static void fault(void)
{
    leave(99);
}

void start(void)
{
    begin();
}

__attribute__((used, section(".first"))) static void (*const vectors[16])(void) = {
    (void (*)(void))(uintptr_t)stack_top, start, fault, fault, fault, fault, fault, 0, 0, 0, 0,
    fault, fault, 0, fault, fault};
#endif

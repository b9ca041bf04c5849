/* A Cortex-M board under QEMU, without a C library: start, semihosting, and two functions that
 * compilers call by themselves. */
#include "say.h"

#include <stddef.h>

enum { WRITE0 = 0x04, EXIT_EXTENDED = 0x20, APPLICATION_EXIT = 0x20026 };

extern uint32_t data_source[];
extern uint32_t data_start[];
extern uint32_t data_end[];
extern uint32_t bss_start[];
extern uint32_t bss_end[];
extern uint32_t stack_top[];

int main(void);
void start(void);
void *memcpy(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);

static void semihosting(uintptr_t operation, const void *argument)
{
    register uintptr_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void say(const char *text)
{
    semihosting(WRITE0, text);
}

void say_number(int32_t number)
{
    char digits[12];
    size_t at = sizeof digits - 1;
    uint32_t left = number < 0 ? 0U - (uint32_t)number : (uint32_t)number;
    digits[at] = 0;
    do {
        digits[--at] = (char)('0' + left % 10U);
        left /= 10U;
    } while (left != 0);
    if (number < 0) {
        digits[--at] = '-';
    }
    say(digits + at);
}

void say_bits(uint32_t bits)
{
    char digits[9];
    size_t at;
    for (at = 0; at < 8; at++) {
        digits[at] = "0123456789abcdef"[bits >> 28];
        bits <<= 4;
    }
    digits[at] = 0;
    say(digits);
}

void *memcpy(void *to, const void *from, size_t count)
{
    uint8_t *out = (uint8_t *)to;
    const uint8_t *in = (const uint8_t *)from;
    while (count--) {
        *out++ = *in++;
    }
    return to;
}

void *memset(void *to, int value, size_t count)
{
    uint8_t *out = (uint8_t *)to;
    while (count--) {
        *out++ = (uint8_t)value;
    }
    return to;
}

void start(void)
{
    uintptr_t block[2] = {APPLICATION_EXIT, 0};
    memcpy(data_start, data_source, (size_t)((char *)data_end - (char *)data_start));
    memset(bss_start, 0, (size_t)((char *)bss_end - (char *)bss_start));
    block[1] = (uintptr_t)main();
    semihosting(EXIT_EXTENDED, block);
    for (;;) {
    }
}

typedef void (*entry)(void);

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    entry reset;
} vectors = {stack_top, start};

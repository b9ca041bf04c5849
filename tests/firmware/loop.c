/* Loops whose instructions are known: three a round, on RISC-V two. */
#include "board.h"

__attribute__((noinline)) static void rounds(uint32_t count)
{
#if defined(__riscv)
    __asm__ volatile("1: addi %0, %0, -1\n bnez %0, 1b" : "+r"(count));
#else
    __asm__ volatile("1: sub %0, %0, #1\n cmp %0, #0\n bne 1b" : "+r"(count) : : "cc");
#endif
}

int run(void)
{
    mark();
    rounds(1000);
    mark();
    rounds(3000);
    mark();
    rounds(5);
    return 0;
}

#include "say.h"

#include <stdio.h>

void say(const char *text)
{
    fputs(text, stdout);
}

void say_number(int32_t number)
{
    printf("%ld", (long)number);
}

void say_bits(uint32_t bits)
{
    printf("%08lx", (unsigned long)bits);
}

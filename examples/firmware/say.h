/* Saying something, on a board or on a host: say_board.c or say_host.c. */
#ifndef SAY_H
#define SAY_H

#include <stdint.h>

void say(const char *text);
void say_number(int32_t number);
void say_bits(uint32_t bits);

#endif

/* What a test program on an emulated board needs: a way to say something and to end. */
#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>

/* The file that is linked into the program. */
extern const uint8_t blob[];
extern const uint8_t blob_end[];

/* The program; what it returns is the exit code. */
int run(void);

/* A line of `word` and numbers, in hexadecimal. */
void say(const char *word, const uint32_t *numbers, size_t count);

/* An empty function: instructions are counted from one call to the next. */
void mark(void);

/* Bytes of stack that were used since `stack_paint`, down from the end of its caller's frame. */
void stack_paint(void);
uint32_t stack_used(void);

#endif

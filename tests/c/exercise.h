/* Do everything that the C decoder can do with some bytes, in buffers of exactly the right size. */
#ifndef EXERCISE_H
#define EXERCISE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Returns 0, or 1 if two ways to the same numbers disagree. `log`, unless NULL, gets a line per
 * answer: what a test compares between builds. */
int exercise(const uint8_t *data, size_t size, FILE *log);

#endif

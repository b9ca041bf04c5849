/* Picture 0 of examples/digits/digits_test.npz. Made by prepare.py. */
#include <stdint.h>

static const uint8_t picture[64] = {
     0,  0,  1, 13,  7,  0,  0,  0,
     0,  0,  7, 14,  2,  0,  0,  0,
     0,  0, 13,  5,  0,  0,  0,  0,
     0,  0, 16,  3,  0,  0,  0,  0,
     0,  3, 16, 10, 12, 12,  3,  0,
     0,  3, 16, 11,  5,  9, 12,  0,
     0,  1, 13, 11,  4, 13, 11,  0,
     0,  0,  1, 12, 16, 11,  2,  0,
};

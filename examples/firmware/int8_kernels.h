/* Plain C kernels on int8 numbers, one output channel at a time, as CMSIS-NN computes them.
 *
 * Rounding: to nearest, ties towards plus infinity; see `requantize`. CMSIS-NN built with
 * CMSIS_NN_USE_SINGLE_ROUNDING gives the same numbers. */
#ifndef INT8_KERNELS_H
#define INT8_KERNELS_H

#include <stdint.h>

/* What an output channel adds, how its sum is scaled, and the zero points around it. */
typedef struct int8_channel {
    int32_t bias;
    int32_t multiplier;
    int32_t shift;
    int32_t input_zero_point;
    int32_t output_zero_point;
} int8_channel;

/* round(sum * multiplier * 2^(shift - 31)) + zero point, clamped to int8. */
int8_t requantize(int32_t sum, const int8_channel *channel);

/* The sum of inputs and weights of one output. */
int8_t dense_row(const int8_t *in, const int8_t *row, int count, const int8_channel *channel);

/* A plane of side x side outputs; `row` is a kernel of 3 x 3 x depth, `in` planes of `depth`. */
void conv_row(const int8_t *in, int depth, int side, const int8_t *row, int8_t *out,
              const int8_channel *channel);

#endif

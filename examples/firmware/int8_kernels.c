#include "int8_kernels.h"

int8_t requantize(int32_t sum, const int8_channel *channel)
{
    const int64_t half = (int64_t)1 << (30 - channel->shift);
    const int64_t wide = (int64_t)sum * channel->multiplier + half;
    /* an arithmetic shift, as every compiler for these machines has it */
    const int32_t scaled = (int32_t)(wide >> (31 - channel->shift)) + channel->output_zero_point;
    if (scaled < -128) {
        return -128;
    }
    return (int8_t)(scaled > 127 ? 127 : scaled);
}

int8_t dense_row(const int8_t *in, const int8_t *row, int count, const int8_channel *channel)
{
    int32_t sum = channel->bias;
    int i;
    for (i = 0; i < count; i++) {
        sum += ((int32_t)in[i] - channel->input_zero_point) * row[i];
    }
    return requantize(sum, channel);
}

void conv_row(const int8_t *in, int depth, int side, const int8_t *row, int8_t *out,
              const int8_channel *channel)
{
    int y, x, ky, kx, c;
    for (y = 0; y < side; y++) {
        for (x = 0; x < side; x++) {
            int32_t sum = channel->bias;
            for (ky = 0; ky < 3; ky++) {
                for (kx = 0; kx < 3; kx++) {
                    const int py = y + ky - 1;
                    const int px = x + kx - 1;
                    if (py < 0 || py >= side || px < 0 || px >= side) {
                        continue; /* outside is the zero point, which adds nothing */
                    }
                    for (c = 0; c < depth; c++) {
                        const int32_t value = in[(c * side + py) * side + px];
                        sum += (value - channel->input_zero_point) * row[(ky * 3 + kx) * depth + c];
                    }
                }
            }
            out[y * side + x] = requantize(sum, channel);
        }
    }
}

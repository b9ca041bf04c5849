/* The digits network in float: weights come out of flash row by row, one buffer of a row each.
 *
 * RAM: two layers' values, one row as it is stored, one as floats, and the decoder's tables. */
#include "digits.h"
#include "picture.h"
#include "say.h"

enum { SIDE = 8, HALF = 4, CONV1 = 16, CONV2 = 32, FC1 = 80, CLASSES = 10, LONGEST = 512 };

static uint8_t scratch[DIGITS_SCRATCH_BYTES];
static uint8_t stored[DIGITS_ROW_BYTES];
static float row[LONGEST];
static float bias[FC1];
static float one[CONV1 * SIDE * SIDE]; /* values of layers, in turn */
static float two[CONV1 * SIDE * SIDE];
static dcf_model model;
static dcf_tensor tensor;
static dcf_cursor cursor;
static uint32_t taken; /* numbers of the tensor that were decoded */

/* Stand before the first row of a tensor; 0 if that can be done. */
static int begin(uint32_t index)
{
    taken = 0;
    if (dcf_tensor_at(&model, index, &tensor) != DCF_OK) {
        return 1;
    }
    if (dcf_prepare(&tensor, scratch, sizeof scratch) != DCF_OK) {
        return 1;
    }
    return dcf_cursor_init(&cursor, &tensor, 0) != DCF_OK;
}

/* Decode the next `count` numbers as floats. */
static int next(float *out, uint32_t count)
{
    dcf_size got;
    if (count * tensor.width > sizeof stored
        || dcf_cursor_next(&cursor, stored, count, &got) != DCF_OK || got != count) {
        return 1;
    }
    taken += count;
    return dcf_floats(&tensor, taken - count, count, stored, out) != DCF_OK;
}

static int read_bias(uint32_t index, uint32_t count)
{
    return begin(index) || next(bias, count);
}

/* What a kernel of 3 x 3 x `depth` in `row` says at one place of `in`; outside are zeros. */
static float conv_at(const float *in, int depth, int side, int y, int x)
{
    float sum = 0.0F;
    int ky, kx, c;
    for (ky = 0; ky < 3; ky++) {
        for (kx = 0; kx < 3; kx++) {
            const int py = y + ky - 1;
            const int px = x + kx - 1;
            if (py >= 0 && py < side && px >= 0 && px < side) {
                for (c = 0; c < depth; c++) {
                    sum += in[(c * side + py) * side + px] * row[(ky * 3 + kx) * depth + c];
                }
            }
        }
    }
    return sum;
}

/* A convolution with ReLU: a row of the tensor is the kernel of an output channel. */
static int conv(uint32_t index, const float *in, int depth, int side, float *out, int channels)
{
    int channel, y, x;
    if (begin(index)) {
        return 1;
    }
    for (channel = 0; channel < channels; channel++) {
        if (next(row, (uint32_t)(9 * depth))) {
            return 1;
        }
        for (y = 0; y < side; y++) {
            for (x = 0; x < side; x++) {
                const float value = conv_at(in, depth, side, y, x) + bias[channel];
                out[(channel * side + y) * side + x] = value > 0.0F ? value : 0.0F;
            }
        }
    }
    return 0;
}

/* The largest of each 2 x 2 values. */
static void pool(const float *in, int channels, int side, float *out)
{
    int at, y, x;
    for (at = 0; at < channels; at++) {
        for (y = 0; y < side; y += 2) {
            for (x = 0; x < side; x += 2) {
                const float *p = in + (at * side + y) * side + x;
                const float top = p[0] > p[1] ? p[0] : p[1];
                const float low = p[side] > p[side + 1] ? p[side] : p[side + 1];
                *out++ = top > low ? top : low;
            }
        }
    }
}

/* A dense layer, with ReLU or not: a row of the tensor is what one output takes. */
static int dense(uint32_t index, const float *in, int inputs, float *out, int outputs, int relu)
{
    int i, k;
    if (begin(index)) {
        return 1;
    }
    for (i = 0; i < outputs; i++) {
        float sum = 0.0F;
        if (next(row, (uint32_t)inputs)) {
            return 1;
        }
        for (k = 0; k < inputs; k++) {
            sum += in[k] * row[k];
        }
        sum += bias[i];
        out[i] = relu && sum < 0.0F ? 0.0F : sum;
    }
    return 0;
}

static int classify(const uint8_t *pixels, float *logits)
{
    int i;
    for (i = 0; i < SIDE * SIDE; i++) {
        one[i] = (float)pixels[i] / 16.0F;
    }
    if (read_bias(DIGITS_T_CONV1_BIAS, CONV1)
        || conv(DIGITS_T_CONV1_WEIGHT, one, 1, SIDE, two, CONV1)) {
        return 1;
    }
    pool(two, CONV1, SIDE, one);
    if (read_bias(DIGITS_T_CONV2_BIAS, CONV2)
        || conv(DIGITS_T_CONV2_WEIGHT, one, CONV1, HALF, two, CONV2)) {
        return 1;
    }
    if (read_bias(DIGITS_T_FC1_BIAS, FC1)
        || dense(DIGITS_T_FC1_WEIGHT, two, CONV2 * HALF * HALF, one, FC1, 1)) {
        return 1;
    }
    return read_bias(DIGITS_T_FC2_BIAS, CLASSES)
           || dense(DIGITS_T_FC2_WEIGHT, one, FC1, logits, CLASSES, 0);
}

int main(void)
{
    float logits[CLASSES];
    int32_t failing;
    int32_t best = 0;
    int i;
    if (dcf_open(&model, digits_data, DIGITS_DATA_BYTES) != DCF_OK) {
        say("the model cannot be opened\n");
        return 1;
    }
    failing = digits_selftest(scratch, sizeof scratch);
    if (failing >= 0) {
        say("broken tensor: ");
        say_number(failing);
        say("\n");
        return 1;
    }
    if (classify(picture, logits)) {
        say("a tensor cannot be decoded\n");
        return 1;
    }
    for (i = 0; i < CLASSES; i++) {
        union {
            float number;
            uint32_t bits;
        } logit;
        logit.number = logits[i];
        say_bits(logit.bits);
        say(i + 1 < CLASSES ? " " : "\n");
        best = logits[i] > logits[best] ? i : best;
    }
    say("class ");
    say_number(best);
    say("\n");
    return 0;
}

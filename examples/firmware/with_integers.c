/* The digits network on int8 numbers: weights come out of flash row by row, multipliers and shifts
 * are constants of digits_int8.c. Without floating point. */
#include "digits_int8.h"
#include "int8_kernels.h"
#include "picture.h"
#include "say.h"

enum { SIDE = 8, HALF = 4, CONV1 = 16, CONV2 = 32, FC1 = 80, CLASSES = 10 };

/* A layer: its tensor, and what digits_int8.h says of it. */
typedef struct layer {
    uint32_t index;
    const int32_t *multiplier;
    const int32_t *shift;
    const int32_t *bias;
    int32_t input_zero_point;
    int32_t output_zero_point;
} layer;

#define LAYER(NAME, name)                                                                          \
    {DIGITS_INT8_T_##NAME##_WEIGHT, digits_int8_##name##_weight_multiplier,                        \
     digits_int8_##name##_weight_shift, digits_int8_##name##_weight_bias,                          \
     DIGITS_INT8_##NAME##_WEIGHT_INPUT_ZERO_POINT, DIGITS_INT8_##NAME##_WEIGHT_OUTPUT_ZERO_POINT}

static const layer conv1 = LAYER(CONV1, conv1);
static const layer conv2 = LAYER(CONV2, conv2);
static const layer fc1 = LAYER(FC1, fc1);
static const layer fc2 = LAYER(FC2, fc2);

/* For dcf_check: it keeps a tensor and a buffer here beside the tables. */
static uint8_t scratch[DIGITS_INT8_SCRATCH_BYTES + sizeof(dcf_tensor) + 64U];
static int8_t row[DIGITS_INT8_ROW_BYTES];
static int8_t one[CONV1 * SIDE * SIDE]; /* values of layers, in turn */
static int8_t two[CONV1 * SIDE * SIDE];
static dcf_model model;
static dcf_tensor tensor;
static dcf_cursor cursor;

static int begin(const layer *of)
{
    if (dcf_tensor_at(&model, of->index, &tensor) != DCF_OK || tensor.width != 1) {
        return 1;
    }
    if (dcf_prepare(&tensor, scratch, sizeof scratch) != DCF_OK) {
        return 1;
    }
    return dcf_cursor_init(&cursor, &tensor, 0) != DCF_OK;
}

/* Decode the next row of the tensor; say how its sum becomes an output. */
static int next(const layer *of, int at, int8_channel *channel)
{
    dcf_size got;
    channel->bias = of->bias[at];
    channel->multiplier = of->multiplier[at];
    channel->shift = of->shift[at];
    channel->input_zero_point = of->input_zero_point;
    channel->output_zero_point = of->output_zero_point;
    return tensor.columns > sizeof row
           || dcf_cursor_next(&cursor, row, tensor.columns, &got) != DCF_OK
           || got != tensor.columns;
}

static int conv(const layer *of, const int8_t *in, int depth, int side, int8_t *out, int channels)
{
    int8_channel channel;
    int i;
    if (begin(of)) {
        return 1;
    }
    for (i = 0; i < channels; i++) {
        if (next(of, i, &channel)) {
            return 1;
        }
        conv_row(in, depth, side, row, out + i * side * side, &channel);
    }
    return 0;
}

static int dense(const layer *of, const int8_t *in, int inputs, int8_t *out, int outputs)
{
    int8_channel channel;
    int i;
    if (begin(of)) {
        return 1;
    }
    for (i = 0; i < outputs; i++) {
        if (next(of, i, &channel)) {
            return 1;
        }
        out[i] = dense_row(in, row, inputs, &channel);
    }
    return 0;
}

/* The largest of each 2 x 2 values. */
static void pool(const int8_t *in, int channels, int side, int8_t *out)
{
    int at, y, x;
    for (at = 0; at < channels; at++) {
        for (y = 0; y < side; y += 2) {
            for (x = 0; x < side; x += 2) {
                const int8_t *p = in + (at * side + y) * side + x;
                const int8_t top = p[0] > p[1] ? p[0] : p[1];
                const int8_t low = p[side] > p[side + 1] ? p[side] : p[side + 1];
                *out++ = top > low ? top : low;
            }
        }
    }
}

/* ReLU is where an output's zero point is the least number: clamping does it. */
static int classify(const uint8_t *pixels, int8_t *logits)
{
    int i;
    for (i = 0; i < SIDE * SIDE; i++) {
        one[i] = (int8_t)pixels[i]; /* 0 to 16, of scale 1/16 */
    }
    if (conv(&conv1, one, 1, SIDE, two, CONV1)) {
        return 1;
    }
    pool(two, CONV1, SIDE, one);
    return conv(&conv2, one, CONV1, HALF, two, CONV2)
           || dense(&fc1, two, CONV2 * HALF * HALF, one, FC1)
           || dense(&fc2, one, FC1, logits, CLASSES);
}

int main(void)
{
    int8_t logits[CLASSES];
    uint32_t failing;
    int32_t best = 0;
    int i;
    if (dcf_open(&model, digits_int8_data, DIGITS_INT8_DATA_BYTES) != DCF_OK) {
        say("the model cannot be opened\n");
        return 1;
    }
    if (dcf_check(&model, scratch, sizeof scratch, &failing) != DCF_OK) {
        say("the model is broken\n");
        return 1;
    }
    if (classify(picture, logits)) {
        say("a tensor cannot be decoded\n");
        return 1;
    }
    for (i = 0; i < CLASSES; i++) {
        say_number(logits[i]);
        say(i + 1 < CLASSES ? " " : "\n");
        best = logits[i] > logits[best] ? i : best;
    }
    say("class ");
    say_number(best);
    say("\n");
    return 0;
}

/* What numbers mean, in binary32. Spec: spec/DCF.md, "Dequantization", and the pages of the values
 * rooms. */
#include "dcf_internal.h"

#if DCF_WITH_FLOAT

/* Where an element's scale stands among the parameters: `index` counts elements in stored order. */
static dcf_size parameter_of(const dcf_tensor *t, const dcf_info *info, dcf_size index)
{
    const uint32_t dim = info->dims[info->axis];
    dcf_size inner = 1;
    dcf_size outer;
    uint32_t along;
    uint32_t i;
    for (i = info->axis + 1U; i < info->rank; i++) {
        inner *= info->dims[i];
    }
    outer = dcf_divide(index, inner);
    along = (uint32_t)(outer - dcf_divide(outer, dim) * dim);
    if (t->values == DCF_VALUES_AFFINE && (info->affine_flags & DCF_AFFINE_BLOCKED)) {
        const dcf_size blocks = dcf_divide(dim - 1U, info->scale_block) + 1U;
        const dcf_size block = dcf_divide(along, info->scale_block);
        return (dcf_divide(outer, dim) * blocks + block) * inner + index - outer * inner;
    }
    return along;
}

static float float_of(uint32_t bits)
{
    union {
        uint32_t bits;
        float value;
    } both;
    both.bits = bits;
    return both.value;
}

/* q * 2^-n, rounded once: the power is a number of binary32, subnormal or not, but for 2^128. */
static float fixed(int32_t q, int32_t n)
{
    if (n == -128) {
        q *= 2;
        n++;
    }
    return (float)q * float_of(n < 127 ? (uint32_t)(127 - n) << 23 : DCF_BIT(22));
}

/* sign(q) * 2^(|q| - 1 - n): the least exponent is -127, of a subnormal number. */
static float power(int32_t q, int32_t n)
{
    const int32_t exponent = (q < 0 ? -q : q) - 1 - n;
    uint32_t bits = exponent < -126 ? DCF_BIT(22) : (uint32_t)(exponent + 127) << 23;
    if (exponent > 127) {
        bits = (uint32_t)0xFF << 23; /* infinity */
    }
    return q == 0 ? 0.0F : float_of(q < 0 ? bits | DCF_BIT(31) : bits);
}

static int is_signed(uint32_t number)
{
    const uint32_t types = DCF_BIT(DCF_DTYPE_INT8) | DCF_BIT(DCF_DTYPE_INT16) |
                           DCF_BIT(DCF_DTYPE_INT4) | DCF_BIT(DCF_DTYPE_INT2);
    return types >> number & 1U;
}

/* Of one or two bytes? */
static int is_integer(uint32_t number)
{
    const uint32_t types = DCF_BIT(DCF_DTYPE_UINT8) | DCF_BIT(DCF_DTYPE_UINT16) |
                           DCF_BIT(DCF_DTYPE_BOOL) | DCF_BIT(DCF_DTYPE_UINT4) |
                           DCF_BIT(DCF_DTYPE_UINT2);
    return is_signed(number) || (types >> number & 1U);
}

/* An integer of one or two bytes. */
static int32_t integer(const dcf_tensor *t, const uint8_t *at)
{
    const uint32_t value = t->width == 1 ? at[0] : (uint32_t)at[0] | (uint32_t)at[1] << 8;
    return is_signed(t->number) ? dcf_signed(value, 8U * t->width) : (int32_t)value;
}

static float affine(const dcf_tensor *t, const dcf_info *info, dcf_size index, int32_t q)
{
    const dcf_model *m = t->model;
    uint32_t scale = info->scale;
    int32_t zero = info->zero_point;
    if (info->axis != DCF_NO_AXIS) {
        const dcf_size at = parameter_of(t, info, index);
        scale = DCF_U32(m, t->payload + 4 * at);
        if (info->affine_flags & DCF_AFFINE_ZERO_POINTS) {
            /* behind all scales: 4 + width bytes belong to each parameter */
            const dcf_size bytes = (dcf_size)(DCF_OFFSETS(t) - t->payload);
            const dcf_at zeros = t->payload + 4 * dcf_divide(bytes, 4U + t->width);
            uint8_t number[2];
            number[0] = DCF_BYTE(m, zeros + at * t->width);
            number[1] = DCF_BYTE(m, zeros + at * t->width + 1);
            zero = integer(t, number);
        }
    }
    return (float)(q - zero) * float_of(scale);
}

static float scaled(const dcf_tensor *t, const dcf_info *info, dcf_size index, int32_t q)
{
    const dcf_model *m = t->model;
    int32_t n = info->fraction;
    if (t->values == DCF_VALUES_AFFINE || info->scale_kind == DCF_SCALE_TENSOR ||
        info->scale_kind == DCF_SCALE_AXIS) {
        return affine(t, info, index, q);
    }
    if (info->axis != DCF_NO_AXIS) {
        n = dcf_signed(DCF_BYTE(m, t->payload + parameter_of(t, info, index)), 8);
    }
    return t->values == DCF_VALUES_POW2 ? power(q, n) : fixed(q, n);
}

int dcf_floats(const dcf_tensor *t, dcf_size first, dcf_size count, const void *numbers, float *out)
{
    const uint8_t *at = (const uint8_t *)numbers;
    const int has_scale = t->values == DCF_VALUES_FIXED || t->values == DCF_VALUES_AFFINE ||
                          t->values == DCF_VALUES_POW2;
    dcf_info info;
    dcf_size i;
    const int err = dcf_info_of(t, &info);
    if (err != DCF_OK) {
        return err;
    }
    if (first > t->elements || count > t->elements - first) {
        return DCF_ERR_ARGUMENT;
    }
    for (i = 0; i < count; i++) {
        if (has_scale || info.scale_kind != DCF_SCALE_NONE) {
            out[i] = scaled(t, &info, first + i, integer(t, at));
        } else if (t->number == DCF_DTYPE_FLOAT) {
            out[i] = float_of((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
                              (uint32_t)at[3] << 24);
        } else if (is_integer(t->number)) {
            out[i] = (float)integer(t, at);
        } else {
            return DCF_ERR_UNSUPPORTED;
        }
        at += t->width;
    }
    return DCF_RESULT(t->model, DCF_OK);
}

#elif !defined(DCF_ONE_FILE)

typedef int dcf_no_float; /* ISO C wants something in every file */

#endif

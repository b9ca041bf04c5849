/* Scale and zero point. Spec: spec/encodings/values_affine.md. Sister:
 * dcformat/encodings/values_affine.py. */
#include "dcf_internal.h"

#if DCF_WITH_AFFINE

/* Scale and zero point of the whole tensor. */
static int affine_scale(dcf_record *r, uint32_t flags)
{
    dcf_word(r);
    if ((flags & DCF_AFFINE_ZERO_POINTS) &&
        !dcf_dtype_holds(r->tensor->number, dcf_signed(dcf_word(r), 32))) {
        return DCF_ERR_STRUCTURE;
    }
    return DCF_OK;
}

/* How many there are along `axis`, in blocks or not. */
static int parameters_count(dcf_record *r, uint32_t axis, uint32_t flags)
{
    const dcf_tensor *t = r->tensor;
    uint32_t bytes = 4;
    uint32_t block;
    uint32_t i;
    r->parameters = dcf_dim(t, axis);
    if (flags & DCF_AFFINE_BLOCKED) {
        block = dcf_word(r);
        if (block == 0) {
            return DCF_ERR_STRUCTURE;
        }
        r->parameters = dcf_divide(r->parameters - 1U, block) + 1U;
        for (i = 0; i < r->rank; i++) {
            if (i != axis) {
                r->parameters *= dcf_dim(t, i);
            }
        }
    }
    if (flags & DCF_AFFINE_ZERO_POINTS) {
        bytes += t->width;
    }
    r->parameters *= bytes;
    return DCF_OK;
}

DCF_LOCAL int dcf_affine_fields(dcf_record *r)
{
    const uint32_t word = dcf_word(r);
    const uint32_t number = word & 0xFFU;
    const uint32_t axis = word >> 8 & 0xFFU;
    const uint32_t flags = word >> 16 & 0xFFU;
    int err;
    r->scaled = 1;
    if (number - DCF_DTYPE_UINT8 > DCF_DTYPE_INT16 - DCF_DTYPE_UINT8 ||
        flags > (DCF_AFFINE_ZERO_POINTS | DCF_AFFINE_BLOCKED) ||
        (axis != DCF_NO_AXIS ? axis >= r->rank : flags >= DCF_AFFINE_BLOCKED)) {
        return DCF_ERR_STRUCTURE;
    }
    if (word >> 24) {
        return DCF_ERR_PADDING;
    }
    err = dcf_raw_fields(r, number);
    if (err != DCF_OK) {
        return err;
    }
    return axis == DCF_NO_AXIS ? affine_scale(r, flags) : parameters_count(r, axis, flags);
}

#elif !defined(DCF_ONE_FILE)

typedef int dcf_no_affine; /* ISO C wants something in every file */

#endif

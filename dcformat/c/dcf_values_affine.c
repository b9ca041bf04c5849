/* Scale and zero point. Spec: spec/encodings/values_affine.md. Sister:
 * dcformat/encodings/values_affine.py. */
#include "dcf_internal.h"

#if DCF_WITH_AFFINE

/* Scale and zero point of the whole tensor. */
static int scale_fields(dcf_record *r, uint32_t flags)
{
    uint32_t word;
    int err = dcf_word(r, &word);
    if (err == DCF_OK && (flags & DCF_AFFINE_ZERO_POINTS)) {
        err = dcf_word(r, &word);
        if (err == DCF_OK && !dcf_dtype_holds(r->tensor->number, dcf_signed(word, 32))) {
            err = DCF_ERR_STRUCTURE;
        }
    }
    return err;
}

/* Along `axis`, in blocks where there are any. */
static int parameters_count(dcf_record *r, uint32_t axis, uint32_t flags)
{
    const dcf_tensor *t = r->tensor;
    uint32_t block = 1;
    uint32_t i;
    r->parameters = dcf_dim(t, axis);
    if (flags & DCF_AFFINE_BLOCKED) {
        const int err = dcf_word(r, &block);
        if (err != DCF_OK) {
            return err;
        }
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
    r->parameters *= 4U + ((flags & DCF_AFFINE_ZERO_POINTS) ? t->width : 0U);
    return DCF_OK;
}

DCF_LOCAL int dcf_affine_fields(dcf_record *r, uint32_t dtype)
{
    uint32_t word;
    uint32_t axis;
    uint32_t flags;
    int err = dcf_word(r, &word);
    if (err != DCF_OK) {
        return err;
    }
    axis = word >> 8 & 0xFFU;
    flags = word >> 16 & 0xFFU;
    if ((word & 0xFFU) - DCF_DTYPE_UINT8 > DCF_DTYPE_INT16 - DCF_DTYPE_UINT8 ||
        flags > (DCF_AFFINE_ZERO_POINTS | DCF_AFFINE_BLOCKED) ||
        (axis != DCF_NO_AXIS ? axis >= r->rank : flags >= DCF_AFFINE_BLOCKED)) {
        return DCF_ERR_STRUCTURE;
    }
    if (word >> 24) {
        return DCF_ERR_PADDING;
    }
    err = dcf_raw_fields(r, word & 0xFFU);
    if (err == DCF_OK) {
        err = axis == DCF_NO_AXIS ? scale_fields(r, flags) : parameters_count(r, axis, flags);
    }
    return err == DCF_OK && !dcf_dtype_scaled(dtype) ? DCF_ERR_STRUCTURE : err;
}

#endif

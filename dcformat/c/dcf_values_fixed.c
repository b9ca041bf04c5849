/* Qm.n fixed point. Spec: spec/encodings/values_fixed.md. Sister:
 * dcformat/encodings/values_fixed.py. */
#include "dcf_internal.h"

#if DCF_WITH_FIXED

DCF_LOCAL int dcf_fixed_fields(dcf_record *r, uint32_t dtype)
{
    uint32_t word;
    uint32_t number;
    uint32_t axis;
    int err = dcf_word(r, &word);
    if (err != DCF_OK) {
        return err;
    }
    number = word & 0xFFU;
    axis = word >> 8 & 0xFFU;
    if (number != DCF_DTYPE_INT8 && number != DCF_DTYPE_INT16) {
        return DCF_ERR_STRUCTURE;
    }
    if (axis != DCF_NO_AXIS) {
        if (axis >= r->rank || (word >> 16 & 0xFFU)) {
            return DCF_ERR_STRUCTURE;
        }
        r->parameters = dcf_dim(r->tensor, axis);
    }
    if (word >> 24) {
        return DCF_ERR_PADDING;
    }
    err = dcf_raw_fields(r, number);
    return err == DCF_OK && !dcf_dtype_scaled(dtype) ? DCF_ERR_STRUCTURE : err;
}

#endif

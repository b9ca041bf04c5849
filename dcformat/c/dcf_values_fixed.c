/* Qm.n fixed point. Spec: spec/encodings/values_fixed.md. Sister:
 * dcformat/encodings/values_fixed.py. */
#include "dcf_internal.h"

#if DCF_WITH_FIXED

DCF_LOCAL int dcf_fixed_fields(dcf_record *r)
{
    const uint32_t word = dcf_word(r);
    const uint32_t number = word & 0xFFU;
    const uint32_t axis = word >> 8 & 0xFFU;
    r->scaled = 1;
    if (number != DCF_DTYPE_INT8 && number != DCF_DTYPE_INT16) {
        return DCF_ERR_STRUCTURE;
    }
    if (axis != DCF_NO_AXIS) {
        if (axis >= r->rank || (uint8_t)(word >> 16) != 0) {
            return DCF_ERR_STRUCTURE;
        }
        r->parameters = dcf_dim(r->tensor, axis);
    }
    return word >> 24 ? DCF_ERR_PADDING : dcf_raw_fields(r, number);
}

#elif !defined(DCF_ONE_FILE)

typedef int dcf_no_fixed; /* ISO C wants something in every file */

#endif

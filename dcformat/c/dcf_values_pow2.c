/* Powers of two with signs. Spec: spec/encodings/values_pow2.md. Sister:
 * dcformat/encodings/values_pow2.py. */
#include "dcf_internal.h"

#if DCF_WITH_POW2

DCF_LOCAL int dcf_pow2_fields(dcf_record *r)
{
    const uint32_t word = dcf_word(r);
    const uint32_t axis = word >> 8 & 0xFFU;
    r->scaled = 1;
    if ((word & 0xFFU) != DCF_DTYPE_INT8) {
        return DCF_ERR_STRUCTURE;
    }
    if (axis != DCF_NO_AXIS) {
        if (axis >= r->rank || (uint8_t)(word >> 16) != 0) {
            return DCF_ERR_STRUCTURE;
        }
        r->parameters = dcf_dim(r->tensor, axis);
    }
    return word >> 24 ? DCF_ERR_PADDING : dcf_raw_fields(r, DCF_DTYPE_INT8);
}

#elif !defined(DCF_ONE_FILE)

typedef int dcf_no_pow2; /* ISO C wants something in every file */

#endif

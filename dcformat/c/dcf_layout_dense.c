/* Every element is stored. Spec: spec/encodings/layout_dense.md. Sister:
 * dcformat/encodings/layout_dense.py. */
#include "dcf_internal.h"

#if DCF_WITH_PACKED

DCF_LOCAL int dcf_dense_packed_check(const dcf_tensor *t, dcf_size bytes)
{
    const uint32_t bits = (uint32_t)t->symbols * t->symbol_bits;
    const dcf_size wanted = (t->elements >> 3) * bits + (((t->elements & 7U) * bits + 7U) >> 3);
    if (bytes == wanted) {
        return DCF_OK;
    }
    return bytes < wanted ? DCF_ERR_TRUNCATED : DCF_ERR_STRUCTURE;
}

#elif !defined(DCF_ONE_FILE)

typedef int dcf_no_layout_dense; /* ISO C wants something in every file */

#endif

/* Elements that differ from the background, each after its distance. Spec:
 * spec/encodings/layout_gap.md. Sister: dcformat/encodings/layout_gap.py. */
#include "dcf_internal.h"

#if DCF_WITH_GAP

DCF_LOCAL int dcf_gap_fields(dcf_record *r)
{
    dcf_tensor *t = r->tensor;
    const uint32_t word = dcf_word(r);
    const uint32_t flags = word >> 8 & 0xFFU;
    t->highest_gap = (uint8_t)word;
    t->filler = flags ? DCF_MAX_SYMBOLS : t->highest_gap; /* FILLER_STORES is the only flag */
    t->background = (uint16_t)(word >> 16);
    return t->highest_gap == 0 || flags > DCF_GAP_FILLER_STORES ? DCF_ERR_STRUCTURE : DCF_OK;
}

#elif !defined(DCF_ONE_FILE)

typedef int dcf_no_layout_gap; /* ISO C wants something in every file */

#endif

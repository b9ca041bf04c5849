/* Runs of background as two extra symbols. Spec: spec/encodings/layout_run.md. Sister:
 * dcformat/encodings/layout_run.py. */
#include "dcf_internal.h"

#if DCF_WITH_RUN

DCF_LOCAL int dcf_run_fields(dcf_record *r)
{
    const uint32_t word = dcf_word(r);
    r->tensor->background = (uint16_t)word;
    return word >> 16 == 0 ? DCF_OK : DCF_ERR_PADDING;
}

#elif !defined(DCF_ONE_FILE)

typedef int dcf_no_layout_run; /* ISO C wants something in every file */

#endif

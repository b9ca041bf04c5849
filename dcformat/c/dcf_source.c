/* Files that are not in memory: a window over them. */
#include "dcf_internal.h"

#if DCF_WITH_READ_CALLBACK

/* What lies outside the file, or could not be read, is 0. */
static int window_move(dcf_source *s, uint32_t at)
{
    const uint32_t left = at < s->size ? s->size - at : 0;
    const uint32_t bytes = left < s->window_bytes ? left : s->window_bytes;
    s->held = 0;
    if (bytes == 0 || s->status != 0) {
        return 0;
    }
    s->status = s->read(s->user, at, s->window, bytes);
    if (s->status != 0) {
        return 0;
    }
    s->begin = at;
    s->held = bytes;
    return 1;
}

DCF_LOCAL uint8_t dcf_fetch(dcf_source *s, dcf_at at)
{
    if (at - s->begin >= s->held && !window_move(s, at)) {
        return 0;
    }
    return s->window[at - s->begin];
}

#elif !defined(DCF_ONE_FILE)

typedef int dcf_no_source; /* ISO C wants something in every file */

#endif

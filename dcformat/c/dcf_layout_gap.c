/* Elements that differ from the background, each after its distance. Spec:
 * spec/encodings/layout_gap.md. Sister: dcformat/encodings/layout_gap.py. */
#include "dcf_internal.h"

#ifndef DCF_NO_GAP

int dcf_gap_fields(dcf_record *record)
{
    dcf_tensor *t = record->tensor;
    const uint8_t *fields = dcf_take(&record->fields, 4);
    if (!fields) {
        return DCF_ERR_TRUNCATED;
    }
    t->highest_gap = fields[0];
    t->gap_flags = fields[1];
    t->background = dcf_u16(fields + 2);
    if (t->highest_gap == 0 || (t->gap_flags & ~(uint32_t)DCF_GAP_FILLER_STORES)) {
        return DCF_ERR_STRUCTURE;
    }
    return DCF_OK;
}

int dcf_gap_agrees(const dcf_tensor *tensor)
{
    const uint32_t below = tensor->symbols == 1 ? tensor->alphabet : 1U;
    return tensor->background < below ? DCF_OK : DCF_ERR_STRUCTURE;
}

/* Read a gap where neither background nor an element is pending. */
static int next_gap(dcf_cursor *cursor)
{
    const dcf_tensor *t = cursor->tensor;
    uint32_t gap;
    const int err = dcf_symbol(cursor, 0, &gap);
    if (err != DCF_OK) {
        return err;
    }
    if (gap > cursor->left) {
        return DCF_ERR_RANGE;
    }
    cursor->run = gap;
    cursor->stored =
        gap < cursor->left &&
        (gap != t->highest_gap || (t->gap_flags & DCF_GAP_FILLER_STORES) != 0);
    return DCF_OK;
}

/* Give of the announced background what fits into `count` elements. */
static size_t background(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const size_t run = cursor->run < count ? cursor->run : count;
    if (out) {
        dcf_fill(cursor->tensor, out, run);
    }
    cursor->run -= run;
    cursor->left -= run;
    return run;
}

int dcf_gap_elements(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const uint32_t width = cursor->tensor->width;
    size_t i = 0;
    while (i < count) {
        int err = DCF_OK;
        size_t given = 0;
        uint8_t *to = out ? out + i * width : NULL;
        if (cursor->run > 0) {
            given = background(cursor, to, count - i);
        } else if (cursor->stored) {
            err = dcf_element(cursor, 1, to);
            cursor->stored = 0;
            cursor->left--;
            given = 1;
        } else {
#if DCF_HOST
            given = to && cursor->tensor->lookup ? dcf_host_elements(cursor, to, count - i) : 0;
#endif
            if (given == 0) {
                err = next_gap(cursor);
            }
        }
        if (err != DCF_OK) {
            return err;
        }
        i += given;
    }
    return DCF_OK;
}

#endif

/* Runs of background as two extra symbols. Spec: spec/encodings/layout_run.md. Sister:
 * dcformat/encodings/layout_run.py. */
#include "dcf_internal.h"

#ifndef DCF_NO_RUN

int dcf_run_fields(dcf_record *record)
{
    dcf_tensor *t = record->tensor;
    const uint8_t *fields = dcf_take(&record->fields, 4);
    if (!fields) {
        return DCF_ERR_TRUNCATED;
    }
    t->background = dcf_u16(fields);
    return dcf_u16(fields + 2) == 0 ? DCF_OK : DCF_ERR_PADDING;
}

int dcf_run_agrees(const dcf_tensor *tensor)
{
    if (tensor->symbols != 1 || tensor->alphabet > DCF_MAX_SYMBOLS - 2 ||
        tensor->background >= tensor->alphabet) {
        return DCF_ERR_STRUCTURE;
    }
    return DCF_OK;
}

/* Read a symbol: a value is given to `out`, a digit lengthens the run. */
static int next_symbol(dcf_cursor *cursor, uint8_t *out, size_t *given)
{
    const dcf_tensor *t = cursor->tensor;
    uint32_t symbol;
    const int err = dcf_symbol(cursor, 0, &symbol);
    if (err != DCF_OK) {
        return err;
    }
    if (symbol < t->alphabet) {
        if (out) {
            dcf_number(t, symbol, out);
        }
        cursor->digit = 0;
        cursor->left--;
        *given = 1;
        return DCF_OK;
    }
    symbol -= t->alphabet - 1U;
    /* in this form, because symbol << digit could overflow; digit stays below the bits of left,
     * as each digit that passes takes at least 2^digit elements of it */
    if (symbol > cursor->left >> cursor->digit) {
        return DCF_ERR_RANGE;
    }
    cursor->run = (size_t)symbol << cursor->digit;
    cursor->digit++;
    return DCF_OK;
}

int dcf_run_elements(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const uint32_t width = cursor->tensor->width;
    size_t i = 0;
    while (i < count) {
        int err = DCF_OK;
        size_t given = 0;
        uint8_t *to = out ? out + i * width : NULL;
        if (cursor->run > 0) {
            given = cursor->run < count - i ? cursor->run : count - i;
            if (to) {
                dcf_fill(cursor->tensor, to, given);
            }
            cursor->run -= given;
            cursor->left -= given;
        } else {
#if DCF_HOST
            given = to && cursor->tensor->lookup ? dcf_host_elements(cursor, to, count - i) : 0;
#endif
            if (given == 0) {
                err = next_symbol(cursor, to, &given);
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

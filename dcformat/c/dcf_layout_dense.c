/* Every element is stored. Spec: spec/encodings/layout_dense.md. Sister:
 * dcformat/encodings/layout_dense.py. */
#include "dcf_internal.h"

int dcf_dense_elements(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const uint32_t width = cursor->tensor->width;
    size_t i = 0;
#if DCF_HOST
    if (out) {
        i = cursor->tensor->lookup ? dcf_host_elements(cursor, out, count)
                                   : dcf_host_packed(cursor, out, count);
        out += i * width;
    }
#endif
    for (; i < count; i++) {
        const int err = dcf_element(cursor, 0, out);
        if (err != DCF_OK) {
            return err;
        }
        cursor->left--;
        if (out) {
            out += width;
        }
    }
    return DCF_OK;
}

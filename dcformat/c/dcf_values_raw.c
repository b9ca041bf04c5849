/* Symbols that are the element itself. Spec: spec/encodings/values_raw.md. Sister:
 * dcformat/encodings/values_raw.py. */
#include "dcf_internal.h"

DCF_LOCAL int dcf_raw_fields(dcf_record *r, uint32_t number)
{
    dcf_tensor *t = r->tensor;
    uint32_t word;
    int32_t base;
    t->number = (uint8_t)number;
    t->width = (uint8_t)dcf_dtype_width(number);
    t->symbols = t->width;
    t->alphabet = DCF_MAX_SYMBOLS;
    if (t->width > 1) {
        return DCF_OK;
    }
    word = dcf_word(r);
    base = dcf_signed(word >> 16, 16);
    t->base = (uint8_t)(word >> 16);
    t->alphabet = (uint16_t)word;
    if (t->alphabet - 1U >= DCF_MAX_SYMBOLS || !dcf_dtype_holds(number, base) ||
        !dcf_dtype_holds(number, base + (int32_t)t->alphabet - 1) ||
        (t->elements == 0 && word != 1)) {
        return DCF_ERR_STRUCTURE;
    }
    return DCF_OK;
}

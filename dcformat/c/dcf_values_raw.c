/* Symbols that are the element itself. Spec: spec/encodings/values_raw.md. Sister:
 * dcformat/encodings/values_raw.py. */
#include "dcf_internal.h"

int dcf_alphabet_fields(dcf_record *record)
{
    dcf_tensor *t = record->tensor;
    const uint8_t *fields = dcf_take(&record->fields, 4);
    int32_t low;
    int32_t high;
    if (!fields) {
        return DCF_ERR_TRUNCATED;
    }
    t->alphabet = dcf_u16(fields);
    t->base = dcf_i16(fields + 2);
    dcf_dtype_range(t->number, &low, &high);
    if (t->alphabet < 1 || t->alphabet > DCF_MAX_SYMBOLS || t->base < low ||
        t->base + (int32_t)t->alphabet - 1 > high) {
        return DCF_ERR_STRUCTURE;
    }
    if (t->elements == 0 && (t->alphabet != 1 || t->base != 0)) {
        return DCF_ERR_STRUCTURE;
    }
    return DCF_OK;
}

int dcf_raw_fields(dcf_record *record)
{
    dcf_tensor *t = record->tensor;
    t->number = t->dtype;
    t->width = (uint8_t)dcf_dtype_width(t->dtype);
    t->symbols = t->width;
    t->alphabet = DCF_MAX_SYMBOLS;
    return t->width == 1 ? dcf_alphabet_fields(record) : DCF_OK;
}

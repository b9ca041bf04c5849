/* Qm.n fixed point. Spec: spec/encodings/values_fixed.md. Sister:
 * dcformat/encodings/values_fixed.py. */
#include "dcf_internal.h"

#ifndef DCF_NO_FIXED

int dcf_fixed_fields(dcf_record *record)
{
    dcf_tensor *t = record->tensor;
    const uint8_t *fields = dcf_take(&record->fields, 4);
    if (!fields) {
        return DCF_ERR_TRUNCATED;
    }
    t->number = fields[0];
    t->axis = fields[1];
    t->fraction = dcf_i8(fields + 2);
    if ((t->number != DCF_DTYPE_INT8 && t->number != DCF_DTYPE_INT16) ||
        (t->axis != DCF_NO_AXIS && (t->axis >= t->rank || t->fraction != 0))) {
        return DCF_ERR_STRUCTURE;
    }
    if (fields[3] != 0) {
        return DCF_ERR_PADDING;
    }
    t->width = (uint8_t)dcf_dtype_width(t->number);
    t->symbols = t->width;
    t->alphabet = DCF_MAX_SYMBOLS;
    if (t->axis != DCF_NO_AXIS) {
        record->parameters = t->dims[t->axis];
        record->parameter_bytes = 1;
    }
    if (t->width == 1) {
        const int err = dcf_alphabet_fields(record);
        if (err != DCF_OK) {
            return err;
        }
    }
    return dcf_dtype_scaled(t->dtype) ? DCF_OK : DCF_ERR_STRUCTURE;
}

#endif

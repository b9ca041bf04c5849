/* Shared weights: symbols that index a table of levels. Spec: spec/encodings/values_codebook.md.
 * Sister: dcformat/encodings/values_codebook.py. */
#include "dcf_internal.h"

#ifndef DCF_NO_CODEBOOK

/* The table, if it is a codebook whose level type is known. */
static int table_field(dcf_tensor *t, uint32_t index)
{
    const uint8_t *entry;
    const int err = dcf_table_named(t->model, index, 1, &entry);
    if (err != DCF_OK) {
        return err;
    }
    t->number = entry[1];
    t->width = (uint8_t)dcf_dtype_width(t->number);
    t->symbols = 1;
    t->alphabet = (uint16_t)(entry[2] + 1U);
    t->levels = entry + 3;
    return DCF_OK;
}

/* The byte whose meaning hangs on the scale kind. */
static int scale_field(dcf_record *record, const uint8_t *field)
{
    dcf_tensor *t = record->tensor;
    if (t->scale_kind == DCF_SCALE_FRACTION) {
        t->fraction = dcf_i8(field);
        return DCF_OK;
    }
    if (t->scale_kind == DCF_SCALE_AXIS) {
        t->axis = *field;
        if (t->axis >= t->rank) {
            return DCF_ERR_STRUCTURE;
        }
        record->parameters = t->dims[t->axis];
        record->parameter_bytes = 4;
        return DCF_OK;
    }
    return *field == 0 ? DCF_OK : DCF_ERR_STRUCTURE;
}

static int types_agree(const dcf_tensor *t)
{
    if (t->scale_kind == DCF_SCALE_NONE) {
        return t->number == t->dtype;
    }
    return (t->number == DCF_DTYPE_INT8 || t->number == DCF_DTYPE_INT16) &&
           dcf_dtype_scaled(t->dtype);
}

int dcf_codebook_fields(dcf_record *record)
{
    dcf_tensor *t = record->tensor;
    const uint8_t *fields = dcf_take(&record->fields, 4);
    int err;
    if (!fields) {
        return DCF_ERR_TRUNCATED;
    }
    err = table_field(t, dcf_u16(fields));
    if (err != DCF_OK) {
        return err;
    }
    t->scale_kind = fields[2];
    if (t->scale_kind > DCF_SCALE_FRACTION) {
        return DCF_ERR_STRUCTURE;
    }
    err = scale_field(record, fields + 3);
    if (err != DCF_OK) {
        return err;
    }
    if (t->scale_kind == DCF_SCALE_TENSOR) {
        fields = dcf_take(&record->fields, 4);
        if (!fields) {
            return DCF_ERR_TRUNCATED;
        }
        t->scale = dcf_u32(fields);
    }
    return types_agree(t) ? DCF_OK : DCF_ERR_STRUCTURE;
}

#endif

/* Scale and zero point. Spec: spec/encodings/values_affine.md. Sister:
 * dcformat/encodings/values_affine.py. */
#include "dcf_internal.h"

#ifndef DCF_NO_AFFINE

static int first_fields(dcf_tensor *t, const uint8_t *fields)
{
    t->number = fields[0];
    t->axis = fields[1];
    t->affine_flags = fields[2];
    if (t->number < DCF_DTYPE_UINT8 || t->number > DCF_DTYPE_INT16 ||
        (t->axis != DCF_NO_AXIS && t->axis >= t->rank) ||
        (t->affine_flags & ~(uint32_t)(DCF_AFFINE_ZERO_POINTS | DCF_AFFINE_BLOCKED)) ||
        ((t->affine_flags & DCF_AFFINE_BLOCKED) && t->axis == DCF_NO_AXIS)) {
        return DCF_ERR_STRUCTURE;
    }
    return fields[3] == 0 ? DCF_OK : DCF_ERR_PADDING;
}

/* The numbers of INT8, UINT8, INT16 and UINT16. */
static int32_t number_low(uint32_t number)
{
    return number == DCF_DTYPE_INT8 ? -128 : number == DCF_DTYPE_INT16 ? -32768 : 0;
}

static int32_t number_high(uint32_t number)
{
    switch (number) {
    case DCF_DTYPE_INT8: return 127;
    case DCF_DTYPE_UINT8: return 255;
    case DCF_DTYPE_INT16: return 32767;
    default: return 65535;
    }
}

/* Scale and zero point of the whole tensor, or the elements that share them. */
static int scale_fields(dcf_record *record)
{
    dcf_tensor *t = record->tensor;
    const uint8_t *field;
    if (t->axis == DCF_NO_AXIS) {
        field = dcf_take(&record->fields, 4);
        if (!field) {
            return DCF_ERR_TRUNCATED;
        }
        t->scale = dcf_u32(field);
        if (t->affine_flags & DCF_AFFINE_ZERO_POINTS) {
            field = dcf_take(&record->fields, 4);
            if (!field) {
                return DCF_ERR_TRUNCATED;
            }
            t->zero_point = dcf_signed(dcf_u32(field), 32);
            if (t->zero_point < number_low(t->number) || t->zero_point > number_high(t->number)) {
                return DCF_ERR_STRUCTURE;
            }
        }
    }
    if (t->affine_flags & DCF_AFFINE_BLOCKED) {
        field = dcf_take(&record->fields, 4);
        if (!field) {
            return DCF_ERR_TRUNCATED;
        }
        t->scale_block = dcf_u32(field);
        return t->scale_block == 0 ? DCF_ERR_STRUCTURE : DCF_OK;
    }
    return DCF_OK;
}

static void count_parameters(dcf_record *record)
{
    const dcf_tensor *t = record->tensor;
    uint32_t along;
    uint32_t i;
    if (t->axis == DCF_NO_AXIS) {
        return;
    }
    along = t->dims[t->axis];
    record->parameters = along;
    if (t->affine_flags & DCF_AFFINE_BLOCKED) {
        record->parameters = along / t->scale_block + (along % t->scale_block != 0);
        for (i = 0; i < t->rank; i++) {
            record->parameters *= i == t->axis ? 1U : t->dims[i];
        }
    }
    record->parameter_bytes =
        4U + ((t->affine_flags & DCF_AFFINE_ZERO_POINTS) ? (uint32_t)t->width : 0U);
}

int dcf_affine_fields(dcf_record *record)
{
    dcf_tensor *t = record->tensor;
    const uint8_t *fields = dcf_take(&record->fields, 4);
    int err;
    if (!fields) {
        return DCF_ERR_TRUNCATED;
    }
    err = first_fields(t, fields);
    if (err != DCF_OK) {
        return err;
    }
    t->width = (uint8_t)dcf_dtype_width(t->number);
    t->symbols = t->width;
    t->alphabet = DCF_MAX_SYMBOLS;
    err = t->width == 1 ? dcf_alphabet_fields(record) : DCF_OK;
    if (err == DCF_OK) {
        err = scale_fields(record);
    }
    if (err == DCF_OK) {
        count_parameters(record);
        err = dcf_dtype_scaled(t->dtype) ? DCF_OK : DCF_ERR_STRUCTURE;
    }
    return err;
}

#endif

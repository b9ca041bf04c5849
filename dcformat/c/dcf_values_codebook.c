/* Shared weights: symbols that index a table of levels. Spec: spec/encodings/values_codebook.md.
 * Sister: dcformat/encodings/values_codebook.py. */
#include "dcf_internal.h"

#if DCF_WITH_CODEBOOK

DCF_LOCAL int dcf_codebook_fields(dcf_record *r, uint32_t dtype)
{
    dcf_tensor *t = r->tensor;
    const dcf_model *m = t->model;
    uint32_t word;
    uint32_t kind;
    uint32_t field;
    dcf_at entry;
    int err = dcf_word(r, &word);
    if (err == DCF_OK) {
        err = dcf_table_named(m, word & 0xFFFFU, 1, &entry);
    }
    if (err != DCF_OK) {
        return err;
    }
    t->number = DCF_BYTE(m, entry + 1);
    t->width = (uint8_t)dcf_dtype_width(t->number);
    t->symbols = 1;
    t->alphabet = (uint16_t)(DCF_BYTE(m, entry + 2) + 1U);
    t->levels = entry + 3;
    kind = word >> 16 & 0xFFU;
    field = word >> 24;
    if (kind > DCF_SCALE_FRACTION) {
        return DCF_ERR_STRUCTURE;
    }
    if (kind == DCF_SCALE_AXIS) {
        if (field >= r->rank) {
            return DCF_ERR_STRUCTURE;
        }
        r->parameters = 4U * (dcf_size)dcf_dim(t, field);
    } else if (kind != DCF_SCALE_FRACTION && field != 0) {
        return DCF_ERR_STRUCTURE;
    }
    if (kind == DCF_SCALE_TENSOR) {
        err = dcf_word(r, &word);
        if (err != DCF_OK) {
            return err;
        }
    }
    if (kind == DCF_SCALE_NONE) {
        return t->number == dtype ? DCF_OK : DCF_ERR_STRUCTURE;
    }
    return (t->number == DCF_DTYPE_INT8 || t->number == DCF_DTYPE_INT16) && dcf_dtype_scaled(dtype)
               ? DCF_OK
               : DCF_ERR_STRUCTURE;
}

#endif

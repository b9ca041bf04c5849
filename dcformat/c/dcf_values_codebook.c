/* Shared weights: symbols that index a table of levels. Spec: spec/encodings/values_codebook.md.
 * Sister: dcformat/encodings/values_codebook.py. */
#include "dcf_internal.h"

#if DCF_WITH_CODEBOOK

/* The byte whose meaning hangs on the scale kind, and the scale. */
static int scale_read(dcf_record *r, uint32_t kind, uint32_t field)
{
    if (kind == DCF_SCALE_AXIS) {
        if (field >= r->rank) {
            return DCF_ERR_STRUCTURE;
        }
        r->parameters = 4U * (dcf_size)dcf_dim(r->tensor, field);
    } else if (kind != DCF_SCALE_FRACTION && field != 0) {
        return DCF_ERR_STRUCTURE;
    }
    if (kind == DCF_SCALE_TENSOR) {
        dcf_word(r);
    }
    return DCF_OK;
}

DCF_LOCAL int dcf_codebook_fields(dcf_record *r, uint32_t dtype)
{
    dcf_tensor *t = r->tensor;
    const dcf_model *m = t->model;
    const uint32_t word = dcf_word(r);
    const uint32_t kind = word >> 16 & 0xFFU;
    dcf_at entry;
    int err = dcf_table_named(m, word & 0xFFFFU, 1, &entry);
    if (err != DCF_OK) {
        return err;
    }
    t->number = DCF_BYTE(m, entry + 1);
    t->width = (uint8_t)dcf_dtype_width(t->number);
    t->symbols = 1;
    t->alphabet = (uint16_t)(DCF_BYTE(m, entry + 2) + 1U);
    t->levels = entry + 3;
    r->scaled = kind != DCF_SCALE_NONE;
    if (kind > DCF_SCALE_FRACTION) {
        return DCF_ERR_STRUCTURE;
    }
    err = scale_read(r, kind, word >> 24);
    if (err == DCF_OK && (r->scaled ? t->number != DCF_DTYPE_INT8 && t->number != DCF_DTYPE_INT16
                                    : t->number != dtype)) {
        err = DCF_ERR_STRUCTURE;
    }
    return err;
}

#elif !defined(DCF_ONE_FILE)

typedef int dcf_no_codebook; /* ISO C wants something in every file */

#endif

/* Which rooms a record names, and their parameters (checks 9 to 14 of spec/DCF.md, RECORDS). */
#include "dcf_internal.h"

enum { LEGAL = 0x23F /* bit 4 * layout + coder */ };

/* Check 9: is everything known, and in this build? */
static int rooms_here(const dcf_tensor *t, uint32_t dtype)
{
    return dcf_dtype_width(dtype) != 0 && t->layout <= DCF_LAYOUT_RUN &&
           (DCF_WITH_GAP || t->layout != DCF_LAYOUT_GAP) &&
           (DCF_WITH_RUN || t->layout != DCF_LAYOUT_RUN) && t->values <= DCF_VALUES_POW2 &&
           (DCF_WITH_FIXED || t->values != DCF_VALUES_FIXED) &&
           (DCF_WITH_AFFINE || t->values != DCF_VALUES_AFFINE) &&
           (DCF_WITH_CODEBOOK || t->values != DCF_VALUES_CODEBOOK) &&
           (DCF_WITH_POW2 || t->values != DCF_VALUES_POW2) &&
           t->coder <= DCF_CODER_CONTEXT && (DCF_WITH_PACKED || t->coder != DCF_CODER_PACKED) &&
           (DCF_WITH_HUFFMAN || t->coder != DCF_CODER_HUFFMAN) &&
           (DCF_WITH_CONTEXT || t->coder != DCF_CODER_CONTEXT);
}

/* Check 11, step b. */
static int values_read(dcf_record *r, uint32_t dtype)
{
    const uint32_t values = r->tensor->values;
#if DCF_WITH_CODEBOOK
    if (values == DCF_VALUES_CODEBOOK) {
        return dcf_codebook_fields(r, dtype);
    }
#endif
#if DCF_WITH_AFFINE
    if (values == DCF_VALUES_AFFINE) {
        return dcf_affine_fields(r);
    }
#endif
#if DCF_WITH_FIXED
    if (values == DCF_VALUES_FIXED) {
        return dcf_fixed_fields(r);
    }
#endif
#if DCF_WITH_POW2
    if (values == DCF_VALUES_POW2) {
        return dcf_pow2_fields(r);
    }
#endif
    (void)values;
    return dcf_raw_fields(r, dtype);
}

/* Check 11, step a. */
static int layout_read(dcf_record *r)
{
#if DCF_WITH_GAP
    if (r->tensor->layout == DCF_LAYOUT_GAP) {
        return dcf_gap_fields(r);
    }
#endif
#if DCF_WITH_RUN
    if (r->tensor->layout == DCF_LAYOUT_RUN) {
        return dcf_run_fields(r);
    }
#endif
    (void)r;
    return DCF_OK;
}

/* Check 11, step d. */
static int layout_agrees(dcf_record *r)
{
    dcf_tensor *t = r->tensor;
    const uint32_t run = t->layout == DCF_LAYOUT_RUN;
    uint32_t below = 1U - run;
    if (t->layout == DCF_LAYOUT_DENSE) {
        return DCF_OK;
    }
    if (t->symbols == 1) {
        below = t->alphabet;
    }
    if (t->background >= below || (run && below > DCF_MAX_SYMBOLS - 2)) {
        return DCF_ERR_STRUCTURE;
    }
    return DCF_OK;
}

/* Check 11. */
static int parameters_read(dcf_record *r, uint32_t dtype)
{
    dcf_tensor *t = r->tensor;
    int err = layout_read(r);
    if (err == DCF_OK) {
        err = values_read(r, dtype);
    }
    if (err == DCF_OK && r->scaled && !dcf_dtype_scaled(dtype)) {
        err = DCF_ERR_STRUCTURE;
    }
    if (err == DCF_OK) {
        err = layout_agrees(r);
    }
    if (err == DCF_OK && !DCF_WITH_SYMBOLS && t->width > 1) {
        err = DCF_ERR_UNSUPPORTED;
    }
#if DCF_WITH_HUFFMAN
    if (err == DCF_OK && t->coder == DCF_CODER_HUFFMAN) {
        err = dcf_huffman_fields(r);
    }
#endif
#if DCF_WITH_CONTEXT
    if (err == DCF_OK && t->coder == DCF_CODER_CONTEXT) {
        err = dcf_context_fields(r);
    }
#endif
    if (r->truncated) {
        return DCF_ERR_TRUNCATED; /* whatever was made of the fields that are not there */
    }
    return err == DCF_OK && r->at != r->end ? DCF_ERR_STRUCTURE : err;
}

/* Checks 12 to 14: the parts of the payload. `parts` is what stands before the blocks. */
static int parts_check(dcf_record *r, uint32_t blocked, dcf_size payload, dcf_size *parts)
{
    dcf_tensor *t = r->tensor;
    const uint32_t dense_packed = (t->layout | t->coder) == 0;
    const dcf_size decoded = t->elements * t->width;
    dcf_size least;
    *parts = r->parameters;
    t->blocks = 1;
    (void)blocked;
    (void)dense_packed;
#if DCF_WITH_BLOCKS
    if (blocked) {
        if (dense_packed || t->rows <= t->block_rows ||
            (t->classes > 1 && t->coder != DCF_CODER_HUFFMAN)) {
            return DCF_ERR_STRUCTURE;
        }
        t->blocks = dcf_divide(t->rows - 1U, t->block_rows) + 1U;
        *parts += (t->blocks - 1U) * t->offset_width;
        if (t->classes > 1) {
            *parts += (t->blocks + 3U) >> 2;
        }
    }
#endif
    least = (decoded >> 16) + ((decoded & 0xFFFFU) != 0); /* MAX_RATIO is 2^16 */
    if (payload < least && payload + DCF_RATIO_SLACK < least) {
        return DCF_ERR_LIMIT;
    }
    if (*parts > payload) {
        return DCF_ERR_TRUNCATED;
    }
#if DCF_WITH_PACKED
    t->symbol_bits = (uint8_t)dcf_packed_bits(t->alphabet);
    t->gap_bits = (uint8_t)dcf_packed_bits(t->highest_gap + 1U);
    if (dense_packed) {
        return dcf_dense_packed_check(t, payload - *parts);
    }
#endif
    return DCF_OK;
}

DCF_LOCAL int dcf_rooms_read(dcf_record *r, uint32_t kind, dcf_size payload, dcf_size *parts)
{
    dcf_tensor *t = r->tensor;
    const uint32_t dtype = DCF_BYTE(t->model, t->record + 1);
    const uint32_t blocked = kind >> 24 & DCF_RECORD_BLOCKED;
    int err;
    if (!rooms_here(t, dtype) || (!DCF_WITH_BLOCKS && blocked) ||
        (!DCF_WITH_PERMUTED && (kind >> 24 & DCF_RECORD_PERMUTED))) {
        return DCF_ERR_UNSUPPORTED;
    }
    if (!(LEGAL >> (4U * t->layout + t->coder) & 1) ||
        (t->elements == 0 && ((kind & DCF_PLAIN) | blocked | payload) != 0)) {
        return DCF_ERR_STRUCTURE;
    }
    err = parameters_read(r, dtype);
    if (err == DCF_OK) {
        err = parts_check(r, blocked, payload, parts);
    }
    if (err == DCF_OK && t->coder == DCF_CODER_ZSTD) {
        err = DCF_ERR_UNSUPPORTED;
    }
    return err;
}

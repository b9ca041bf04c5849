/* Which rooms a record names, and their parameters (checks 9 to 11 of spec/DCF.md, RECORDS). */
#include "dcf_internal.h"

/* Check 9: is every room known, and in this build? */
int dcf_rooms_here(const dcf_tensor *t)
{
    int here = dcf_dtype_width(t->dtype) != 0 && t->layout <= DCF_LAYOUT_RUN &&
               t->values <= DCF_VALUES_CODEBOOK && t->coder <= DCF_CODER_ZSTD;
#ifdef DCF_NO_GAP
    here = here && t->layout != DCF_LAYOUT_GAP;
#endif
#ifdef DCF_NO_RUN
    here = here && t->layout != DCF_LAYOUT_RUN;
#endif
#ifdef DCF_NO_FIXED
    here = here && t->values != DCF_VALUES_FIXED;
#endif
#ifdef DCF_NO_AFFINE
    here = here && t->values != DCF_VALUES_AFFINE;
#endif
#ifdef DCF_NO_CODEBOOK
    here = here && t->values != DCF_VALUES_CODEBOOK;
#endif
#ifdef DCF_NO_HUFFMAN
    here = here && t->coder != DCF_CODER_HUFFMAN;
#endif
    return here;
}

/* Check 10: registry.md, "Legal combinations". */
int dcf_rooms_legal(const dcf_tensor *t, uint64_t payload)
{
    if ((t->layout == DCF_LAYOUT_GAP && t->coder == DCF_CODER_ZSTD) ||
        (t->layout == DCF_LAYOUT_RUN && t->coder != DCF_CODER_HUFFMAN)) {
        return DCF_ERR_STRUCTURE;
    }
    if (t->elements == 0 &&
        (t->layout != DCF_LAYOUT_DENSE || t->values != DCF_VALUES_RAW ||
         t->coder != DCF_CODER_PACKED || payload != 0 || t->block_rows != 0)) {
        return DCF_ERR_STRUCTURE;
    }
    return DCF_OK;
}

static int layout_fields(dcf_record *r)
{
#ifndef DCF_NO_GAP
    if (r->tensor->layout == DCF_LAYOUT_GAP) {
        return dcf_gap_fields(r);
    }
#endif
#ifndef DCF_NO_RUN
    if (r->tensor->layout == DCF_LAYOUT_RUN) {
        return dcf_run_fields(r);
    }
#endif
    (void)r;
    return DCF_OK;
}

static int values_fields(dcf_record *r)
{
#ifndef DCF_NO_FIXED
    if (r->tensor->values == DCF_VALUES_FIXED) {
        return dcf_fixed_fields(r);
    }
#endif
#ifndef DCF_NO_AFFINE
    if (r->tensor->values == DCF_VALUES_AFFINE) {
        return dcf_affine_fields(r);
    }
#endif
#ifndef DCF_NO_CODEBOOK
    if (r->tensor->values == DCF_VALUES_CODEBOOK) {
        return dcf_codebook_fields(r);
    }
#endif
    return dcf_raw_fields(r);
}

static int layout_agrees(const dcf_tensor *t)
{
#ifndef DCF_NO_GAP
    if (t->layout == DCF_LAYOUT_GAP) {
        return dcf_gap_agrees(t);
    }
#endif
#ifndef DCF_NO_RUN
    if (t->layout == DCF_LAYOUT_RUN) {
        return dcf_run_agrees(t);
    }
#endif
    (void)t;
    return DCF_OK;
}

uint32_t dcf_stream_alphabet(const dcf_tensor *tensor, uint32_t stream)
{
    if (tensor->layout == DCF_LAYOUT_GAP && stream == 0) {
        return tensor->highest_gap + 1U;
    }
    return tensor->alphabet + (tensor->layout == DCF_LAYOUT_RUN ? 2U : 0U);
}

/* Check 11: the parameters of the rooms. */
int dcf_rooms_fields(dcf_record *r)
{
    int err = layout_fields(r);
    if (err == DCF_OK) {
        err = values_fields(r);
    }
    if (err == DCF_OK) {
        err = layout_agrees(r->tensor);
    }
#ifndef DCF_NO_HUFFMAN
    if (err == DCF_OK && r->tensor->coder == DCF_CODER_HUFFMAN) {
        err = dcf_huffman_fields(r);
    }
#endif
    if (err == DCF_OK && r->fields.left != 0) {
        err = DCF_ERR_STRUCTURE;
    }
    return err;
}

/* What decoding needs beside a record: tables, and offsets that were checked. Spec: spec/DCF.md,
 * "Decoding a tensor". */
#include "dcf_internal.h"

#if DCF_WITH_PACKED
/* Stands for codes where there are none. */
static const uint16_t PACKED[3] = {DCF_NO_CODE, DCF_NO_CODE, DCF_NO_CODE};
#endif

#if DCF_WITH_HUFFMAN

static uint32_t code_bytes(const dcf_tensor *t, uint32_t fast_bits)
{
    return (uint32_t)sizeof(dcf_code) + (2U << fast_bits) + ((t->longest_table + 1U) & ~1U);
}

/* Bytes of the codes with the longest prefixes that are worth it and fit in `most` bytes. */
static dcf_size codes_bytes(const dcf_tensor *t, dcf_size most, uint32_t *fast_bits)
{
    dcf_size bytes = 0;
    *fast_bits = 1;
    if (t->table_count) {
        *fast_bits = t->table_count > 1 ? 6 : 8;
        do {
            --*fast_bits;
            bytes = t->table_count * code_bytes(t, *fast_bits) + 1U;
        } while (*fast_bits > 1 && (bytes > most || t->elements >> *fast_bits < 16));
    }
    return bytes;
}

#endif

dcf_size dcf_workspace_bytes(const dcf_tensor *t)
{
#if DCF_WITH_CONTEXT
    if (DCF_BY_CONTEXT(t)) {
        return t->unsupported ? 0 : dcf_context_bytes(t);
    }
#endif
#if DCF_WITH_HUFFMAN
    uint32_t fast_bits;
    if (t->unsupported) {
        return 0;
    }
#if DCF_HOST
    return codes_bytes(t, (dcf_size)-1, &fast_bits) + dcf_lookup_bytes(t);
#else
    return codes_bytes(t, (dcf_size)-1, &fast_bits);
#endif
#else
    (void)t;
    return 0;
#endif
}

int dcf_prepare(dcf_tensor *t, void *workspace, dcf_size bytes)
{
    uint32_t fast_bits = 1;
    int err;
    if (t->unsupported) {
        return DCF_ERR_UNSUPPORTED;
    }
#if DCF_WITH_HUFFMAN
    if (bytes < codes_bytes(t, bytes, &fast_bits)) {
        return DCF_ERR_SPACE;
    }
#endif
#if DCF_WITH_CONTEXT
    if (DCF_BY_CONTEXT(t) && bytes < dcf_context_bytes(t)) {
        return DCF_ERR_SPACE;
    }
#endif
    t->shift = (uint8_t)(32U - fast_bits);
    err = dcf_blocks_check(t);
    if (err == DCF_OK) {
#if !DCF_ALL_MAPPED
        t->mapped = t->table_count && t->symbols == 1 && t->width == 1 &&
                    t->layout != DCF_LAYOUT_RUN;
#endif
        if (DCF_MAPPED(t)) {
            dcf_number(t, t->background, &t->background_number);
        }
        (void)workspace;
        (void)bytes;
#if DCF_WITH_PACKED
        t->codes = PACKED;
        t->code_stride = 1;
#endif
#if DCF_WITH_CONTEXT
        if (DCF_BY_CONTEXT(t)) {
            dcf_context_build(t, workspace);
        }
#endif
#if DCF_WITH_HUFFMAN
        if (t->table_count) {
            t->code_stride = (uint16_t)(code_bytes(t, fast_bits) / 2U);
            uint8_t *memory = (uint8_t *)workspace + ((uintptr_t)workspace & 1U);
            dcf_huffman_build(t, memory);
#if DCF_HOST
            if (bytes >= dcf_workspace_bytes(t) && dcf_lookup_bytes(t) != 0) {
                dcf_lookup_build(t, memory + 2U * (size_t)t->code_stride * t->table_count);
            }
#endif
        }
#endif
    }
    return DCF_RESULT(t->model, err);
}

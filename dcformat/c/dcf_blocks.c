/* Blocks of a payload: where they stand, begin and end. Spec: spec/DCF.md, "Payload" and "Decoding a
 * tensor". */
#include "dcf_internal.h"

/* Start of block `block`, relative to that of block 0. */
static dcf_size block_offset(const dcf_tensor *t, dcf_size block)
{
#if DCF_WITH_BLOCKS
    dcf_at at;
    uint32_t spare;
#endif
    if (block == 0) {
        return 0;
    }
#if DCF_WITH_BLOCKS
    if (block != t->blocks) {
        at = t->offsets + (block - 1U) * t->offset_width;
        spare = 32U - 8U * t->offset_width;
        return DCF_U32(t->model, at) << spare >> spare; /* in the file even behind the last one */
    }
#endif
    return t->coded_size;
}

#if DCF_WITH_BLOCKS

static uint32_t class_of(const dcf_tensor *t, dcf_size block)
{
    const dcf_at classes = t->coded - ((t->blocks + 3U) >> 2);
    return (uint32_t)DCF_BYTE(t->model, classes + (block >> 2)) >> (2U * (uint32_t)(block & 3U)) &
           3U;
}

/* Steps 2 and 3 of "Decoding a tensor". */
DCF_LOCAL int dcf_blocks_check(const dcf_tensor *t)
{
    dcf_size before = 0;
    dcf_size i;
    for (i = 1; i <= t->blocks; i++) {
        const dcf_size offset = block_offset(t, i);
        if (offset < before) {
            return DCF_ERR_STRUCTURE;
        }
        before = offset;
    }
    if (t->classes == 1) {
        return DCF_OK;
    }
    for (i = 0; i < t->blocks; i++) {
        if (class_of(t, i) >= t->classes) {
            return DCF_ERR_STRUCTURE;
        }
    }
    for (; i & 3U; i++) {
        if (class_of(t, i) != 0) {
            return DCF_ERR_PADDING;
        }
    }
    return DCF_OK;
}

#endif

/* Stand at bit `bit` of the block, before an element; in firmware, with Huffman codes, at bit 0:
 * the first look fetches what it needs. */
DCF_LOCAL void dcf_seek(dcf_cursor *c, dcf_at block, dcf_size bit)
{
    c->at = block + (bit >> 3);
    c->bits = 0;
    c->have = -(int32_t)(bit & 7U);
    c->table = c->first;
#if DCF_HOST && DCF_WITH_HUFFMAN
    if (c->tensor->table_count) {
        c->bits = DCF_BITS(c->tensor->model, c->at) << (bit & 7U);
        c->have += 32;
        c->at += 4;
    }
#endif
}

/* Enter block c->block, whose offsets were checked, and step to the next. */
DCF_LOCAL void dcf_block_enter(dcf_cursor *c)
{
    const dcf_tensor *t = c->tensor;
    const dcf_size block = c->block++;
    const dcf_size rows = t->rows - block * t->block_rows;
    const dcf_at at = t->coded + block_offset(t, block);
    uint32_t code = 0;
#if DCF_WITH_BLOCKS
    if (t->classes > 1) {
        code = class_of(t, block) * dcf_streams(t);
    }
#endif
    c->first = t->codes + (size_t)code * t->code_stride;
    c->values = c->first;
    if (t->layout == DCF_LAYOUT_GAP) {
        c->values += t->code_stride;
    }
    c->last = t->coded + block_offset(t, block + 1U);
    c->left = DCF_WITH_BLOCKS ? (rows < t->block_rows ? rows : t->block_rows) * t->columns
                              : t->elements;
    c->run = 0;
#if !DCF_ALL_MAPPED
    c->digit = 0;
    c->part = 0;
#endif
    dcf_seek(c, at, 0);
#if DCF_HOST
    c->data = at;
    c->size = (dcf_size)(c->last - at);
    c->bit = 0;
    c->code = (uint16_t)code;
#endif
#if DCF_WITH_CONTEXT
    if (DCF_BY_CONTEXT(t)) {
        dcf_context_enter(c);
    }
#endif
}

/* Bits of the block that were not read; below 0 where there were fewer. */
DCF_LOCAL dcf_offset dcf_bits_left(const dcf_cursor *c)
{
#if DCF_WITH_READ_CALLBACK
    const int32_t bytes = (int32_t)(c->last - c->at); /* places there have no sign */
#else
    const ptrdiff_t bytes = c->last - c->at;
#endif
    return (dcf_offset)bytes * 8 + c->have;
}

/* "After the last symbol of a block: a whole unused byte, STRUCTURE; spare bits that are not
 * zero, PADDING." */
DCF_LOCAL int dcf_block_end(const dcf_cursor *c)
{
    const dcf_offset left = dcf_bits_left(c);
#if DCF_WITH_CONTEXT
    if (DCF_BY_CONTEXT(c->tensor)) {
        return dcf_context_end(c);
    }
#endif
    if (left >= 8) {
        return DCF_ERR_STRUCTURE;
    }
    if (left > 0) {
        const uint32_t byte = DCF_BYTE(c->tensor->model, c->last - 1);
        const uint32_t used = 8U - (uint32_t)left;
        const uint32_t spare = c->tensor->table_count ? byte << used : byte >> used;
        if (spare & 0xFFU) {
            return DCF_ERR_PADDING;
        }
    }
    return DCF_OK;
}

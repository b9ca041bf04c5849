/* From payload to numbers: blocks, cursors, rows. Spec: spec/DCF.md, "Decoding a tensor".
 * Sister: dcformat/decode.py. */
#include "dcf_internal.h"

/* ---- one element ---- */

void dcf_number(const dcf_tensor *tensor, uint32_t symbol, uint8_t *out)
{
    const int32_t base = tensor->base;
    uint32_t i;
    if (!tensor->levels) {
        *out = (uint8_t)(symbol + (uint32_t)base);
        return;
    }
    for (i = 0; i < tensor->width; i++) {
        out[i] = tensor->levels[symbol * tensor->width + i];
    }
}

int dcf_symbol(dcf_cursor *cursor, uint32_t stream, uint32_t *symbol)
{
#ifndef DCF_NO_HUFFMAN
    if (cursor->tensor->coder == DCF_CODER_HUFFMAN) {
        return dcf_huffman_symbol(cursor, stream, symbol);
    }
#endif
    return dcf_packed_symbol(cursor, stream, symbol);
}

int dcf_element(dcf_cursor *cursor, uint32_t first, uint8_t *out)
{
    const dcf_tensor *t = cursor->tensor;
    uint32_t i;
    for (i = 0; i < t->symbols; i++) {
        uint32_t symbol;
        const int err = dcf_symbol(cursor, first + i, &symbol);
        if (err != DCF_OK) {
            return err;
        }
        if (out && t->symbols == 1) {
            dcf_number(t, symbol, out);
        } else if (out) {
            out[i] = (uint8_t)symbol;
        }
    }
    return DCF_OK;
}

void dcf_fill(const dcf_tensor *tensor, uint8_t *out, size_t count)
{
#if DCF_HOST
    dcf_host_fill(tensor, out, count);
#else
    size_t i;
    if (tensor->symbols == 1) {
        for (i = 0; i < count; i++) {
            dcf_number(tensor, tensor->background, out + i * tensor->width);
        }
        return;
    }
    for (i = 0; i < count * tensor->width; i++) {
        out[i] = 0;
    }
#endif
}

static int elements(dcf_cursor *cursor, uint8_t *out, size_t count)
{
#ifndef DCF_NO_GAP
    if (cursor->tensor->layout == DCF_LAYOUT_GAP) {
        return dcf_gap_elements(cursor, out, count);
    }
#endif
#ifndef DCF_NO_RUN
    if (cursor->tensor->layout == DCF_LAYOUT_RUN) {
        return dcf_run_elements(cursor, out, count);
    }
#endif
    return dcf_dense_elements(cursor, out, count);
}

/* ---- preparing a tensor ---- */

/* Start of block `block`, relative to that of block 0. */
static size_t block_offset(const dcf_tensor *t, size_t block)
{
    const uint8_t *at;
    uint32_t offset = 0;
    uint32_t i;
    if (block == 0) {
        return 0;
    }
    if (block == t->blocks) {
        return t->coded_size;
    }
    at = t->offsets + (block - 1U) * t->offset_width;
    for (i = 0; i < t->offset_width; i++) {
        offset |= (uint32_t)at[i] << (8 * i);
    }
    return offset;
}

static uint32_t class_of(const dcf_tensor *t, size_t block)
{
    return ((uint32_t)t->block_class[block >> 2] >> (2U * (uint32_t)(block & 3U))) & 3U;
}

/* Steps 2 and 3 of "Decoding a tensor". */
static int blocks_check(const dcf_tensor *t)
{
    size_t before = 0;
    size_t i;
    for (i = 1; i < t->blocks; i++) {
        const size_t offset = block_offset(t, i);
        if (offset < before || offset > t->coded_size) {
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

static size_t code_bytes(const dcf_tensor *t)
{
    return (sizeof(dcf_code) + t->longest_table + 3U) & ~(size_t)3U;
}

/* Bytes for the codes, wherever the workspace begins. */
static size_t codes_bytes(const dcf_tensor *t)
{
    return t->table_count ? t->table_count * code_bytes(t) + 3U : 0;
}

size_t dcf_workspace_bytes(const dcf_tensor *tensor)
{
    if (tensor->unsupported) {
        return 0;
    }
#if DCF_HOST
    return codes_bytes(tensor) + dcf_lookup_bytes(tensor);
#else
    return codes_bytes(tensor);
#endif
}

static void build_codes(dcf_tensor *t, void *workspace, size_t bytes)
{
#ifndef DCF_NO_HUFFMAN
    uint8_t *memory = (uint8_t *)workspace;
    uint32_t i;
    memory += (4U - ((uintptr_t)workspace & 3U)) & 3U;
    t->codes = memory;
    t->code_bytes = code_bytes(t);
    for (i = 0; i < t->table_count; i++) {
        size_t size;
        const uint8_t *entry = dcf_table_entry(t->model, dcf_u16(t->table_ids + 2 * i), &size);
        dcf_huffman_build((dcf_code *)(void *)memory, entry, size);
        memory += t->code_bytes;
    }
#if DCF_HOST
    if (bytes >= dcf_workspace_bytes(t) && dcf_lookup_bytes(t) != 0) {
        dcf_lookup_build(t, memory);
    }
#endif
#endif
    (void)t;
    (void)workspace;
    (void)bytes;
}

int dcf_prepare(dcf_tensor *tensor, void *workspace, size_t bytes)
{
    int err;
    if (tensor->unsupported || tensor->coder == DCF_CODER_ZSTD) {
        return DCF_ERR_UNSUPPORTED;
    }
    if (bytes < codes_bytes(tensor)) {
        return DCF_ERR_SPACE;
    }
    err = blocks_check(tensor);
    if (err == DCF_OK) {
        if (tensor->table_count) {
            build_codes(tensor, workspace, bytes);
        }
        tensor->prepared = 1;
    }
    return err;
}

/* ---- cursors ---- */

void dcf_block_enter(dcf_cursor *cursor)
{
    const dcf_tensor *t = cursor->tensor;
    const size_t block = cursor->block;
    const size_t start = block_offset(t, block);
    size_t rows = t->rows;
    uint32_t table = 0;
    if (t->block_rows) {
        rows -= block * t->block_rows;
        rows = rows < t->block_rows ? rows : t->block_rows;
    }
    if (t->classes > 1) {
        table = class_of(t, block) * dcf_streams(t);
    }
    cursor->codes = t->codes ? t->codes + table * t->code_bytes : NULL;
    cursor->lookup_table = table;
    cursor->bits.data = t->coded + start;
    cursor->bits.size = block_offset(t, block + 1U) - start;
    cursor->bits.pos = 0;
    cursor->bits.acc = 0;
    cursor->bits.have = 0;
    cursor->left = rows * t->columns;
    cursor->run = 0;
    cursor->digit = 0;
    cursor->stored = 0;
    cursor->block++;
}

/* "After the last symbol of a block: a whole unused byte, STRUCTURE; spare bits that are not
 * zero, PADDING." */
static int block_end(const dcf_bits *b)
{
    if (b->pos < b->size || b->have >= 8) {
        return DCF_ERR_STRUCTURE;
    }
    return b->acc != 0 ? DCF_ERR_PADDING : DCF_OK;
}

/* Move over elements of a packed dense tensor: each takes the same bits. */
static void packed_seek(dcf_cursor *cursor, size_t skip)
{
    const dcf_tensor *t = cursor->tensor;
    const uint64_t bit = (uint64_t)skip * t->symbols * t->symbol_bits;
    dcf_bits *b = &cursor->bits;
    const uint32_t part = (uint32_t)(bit & 7U);
    cursor->left -= skip;
    b->pos = bit >> 3 < b->size ? (size_t)(bit >> 3) : b->size;
    if (part != 0 && b->pos < b->size) {
        b->acc = (uint32_t)b->data[b->pos++] >> part;
        b->have = 8U - part;
    }
}

int dcf_cursor_init(dcf_cursor *cursor, const dcf_tensor *tensor, size_t row0)
{
    size_t skip;
    if (!tensor->prepared || row0 > tensor->rows) {
        return DCF_ERR_ARGUMENT;
    }
    cursor->tensor = tensor;
    cursor->block = tensor->blocks;
    cursor->left = 0;
    if (row0 == tensor->rows || tensor->elements == 0) {
        return DCF_OK;
    }
    cursor->block = tensor->block_rows ? row0 / tensor->block_rows : 0;
    skip = (row0 - cursor->block * tensor->block_rows) * tensor->columns;
    if (DCF_HOST && skip == 0) {
        return DCF_OK; /* dcf_cursor_next enters the block, or decodes several */
    }
    dcf_block_enter(cursor);
    if (tensor->layout == DCF_LAYOUT_DENSE && tensor->coder == DCF_CODER_PACKED) {
        packed_seek(cursor, skip);
        return DCF_OK;
    }
    return elements(cursor, NULL, skip);
}

int dcf_cursor_next(dcf_cursor *cursor, uint8_t *out, size_t bytes, size_t *got)
{
    const dcf_tensor *t = cursor->tensor;
    const size_t room = bytes / t->width;
#if DCF_HOST
    int plain = 0; /* until the end, once anything was wrong: no block is tried more than twice */
#endif
    *got = 0;
    while (*got < room) {
        size_t count = room - *got;
        int err;
        if (cursor->left == 0) {
            if (cursor->block == t->blocks) {
                break;
            }
#if DCF_HOST
            if (!plain) {
                count = dcf_host_blocks(cursor, out + *got * t->width, count);
                *got += count;
                plain = count == 0;
                continue;
            }
#endif
            dcf_block_enter(cursor);
        }
        count = count < cursor->left ? count : cursor->left;
        err = elements(cursor, out + *got * t->width, count);
        if (err == DCF_OK && cursor->left == 0) {
            err = block_end(&cursor->bits);
        }
        if (err != DCF_OK) {
            return err;
        }
        *got += count;
    }
    return DCF_OK;
}

/* ---- whole tensors and rows ---- */

int dcf_decode(const dcf_tensor *tensor, uint8_t *out, size_t bytes)
{
    dcf_cursor cursor;
    size_t got;
    int err;
    if (!tensor->prepared) {
        return DCF_ERR_ARGUMENT;
    }
    if (bytes < tensor->elements * tensor->width) {
        return DCF_ERR_SPACE;
    }
    err = dcf_cursor_init(&cursor, tensor, 0);
    return err == DCF_OK ? dcf_cursor_next(&cursor, out, bytes, &got) : err;
}

int dcf_block_finish(dcf_cursor *cursor, uint8_t *out)
{
    const int err = elements(cursor, out, cursor->left);
    return err == DCF_OK ? block_end(&cursor->bits) : err;
}

int dcf_rows(const dcf_tensor *tensor, size_t row0, size_t count, uint8_t *out, size_t bytes)
{
    dcf_cursor cursor;
    size_t need;
    size_t got;
    int err;
    if (!tensor->prepared || row0 > tensor->rows || count > tensor->rows - row0) {
        return DCF_ERR_ARGUMENT;
    }
    if (count == 0 || tensor->elements == 0) {
        return DCF_OK;
    }
    need = count * tensor->columns * tensor->width;
    if (bytes < need) {
        return DCF_ERR_SPACE;
    }
    err = dcf_cursor_init(&cursor, tensor, row0);
    if (err == DCF_OK) {
        err = dcf_cursor_next(&cursor, out, need, &got);
    }
    if (err == DCF_OK && cursor.left != 0 &&
        (tensor->layout != DCF_LAYOUT_DENSE || tensor->coder != DCF_CODER_PACKED)) {
        err = dcf_block_finish(&cursor, NULL);
    }
    return err;
}

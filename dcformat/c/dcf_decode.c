/* From payload to numbers: blocks, cursors, rows. Spec: spec/DCF.md, "Decoding a tensor".
 * Sister: dcformat/decode.py. */
#include "dcf_internal.h"

#if DCF_WITH_PACKED
/* Stands for codes where there are none: each prefix is too long to be looked up. */
static const uint16_t PACKED[3] = {DCF_LONG, DCF_LONG, DCF_LONG};
#endif

DCF_LOCAL void dcf_number(const dcf_tensor *t, uint32_t symbol, uint8_t *out)
{
    uint32_t i;
    for (i = 0; i < t->width; i++) {
        uint32_t number = symbol + t->base;
#if DCF_WITH_CODEBOOK
        if (t->levels) {
            number = DCF_BYTE(t->model, t->levels + (dcf_size)symbol * t->width + i);
        }
#endif
        out[i] = (uint8_t)number;
    }
}

/* ---- preparing a tensor ---- */

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
static int blocks_check(const dcf_tensor *t)
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

#else
#define blocks_check(t) DCF_OK
#endif

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
    t->shift = (uint8_t)(32U - fast_bits);
    err = blocks_check(t);
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

/* ---- blocks ---- */

/* Stand at bit `bit` of the block, before an element; in firmware, with Huffman codes, at bit 0:
 * the first look fetches what it needs. */
static void seek(dcf_cursor *c, dcf_at block, dcf_size bit)
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
    seek(c, at, 0);
#if DCF_HOST
    c->data = at;
    c->size = (dcf_size)(c->last - at);
    c->bit = 0;
    c->code = (uint16_t)code;
#endif
}

/* Bits of the block that were not read; below 0 where there were fewer. */
static dcf_offset bits_left(const dcf_cursor *c)
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
static int block_end(const dcf_cursor *c)
{
    const dcf_offset left = bits_left(c);
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

/* ---- elements ---- */

#if DCF_WITH_HUFFMAN

/* More bits behind those that there are, fewer than a code may have. */
DCF_IN_PLACE static inline uint32_t more_bits(dcf_cursor *c, uint32_t bits, int32_t have)
{
    bits |= DCF_BITS(c->tensor->model, c->at) >> have;
    c->at += (31U - (uint32_t)have) >> 3;
    return bits;
}

/* `elements` for what most tensors are: numbers of one byte that the tables give, dense or with
 * gaps. What the loop needs stays in registers: bytes that are written might alias the cursor. */
DCF_APART static int quick(dcf_cursor *c, uint8_t *out, dcf_size count, uint32_t step)
{
    const uint32_t shift = c->tensor->shift;
    const uint16_t *table = c->table;
    uint32_t bits = c->bits;
    int32_t have = c->have;
    dcf_size run = c->run;
    int err = DCF_OK;
    for (;;) {
        if (run != 0) {
            const uint8_t number = c->tensor->background_number;
            dcf_size n = run < count ? run : count;
            run -= n;
            count -= n;
            do {
                *out = number;
                out += step;
            } while (--n > 0);
        }
        if (count == 0) {
            break;
        }
        run = 0; /* as it is: one register less */
        for (;;) {
            uint32_t item = table[bits >> shift];
            int32_t length = (int32_t)(item & DCF_LENGTH);
            if (have < length) {
                if (have < DCF_MAX_CODE_BITS) {
                    if (c->at > c->last + 1) { /* so more was taken than there is */
                        goto stop;
                    }
                    bits = more_bits(c, bits, have);
                    have |= 24;
                    continue;
                }
                item = dcf_huffman_search(table, bits >> 20, 32U - shift, 33U - shift);
                length = (int32_t)(item & DCF_LENGTH);
            }
            have -= length;
            bits <<= length;
            item >>= 8;
            if (table == c->values) {
                *out = (uint8_t)item;
                out += step;
                table = c->first;
                if (--count == 0) {
                    goto stop;
                }
                continue;
            }
            if (item < count + c->left && item < c->tensor->filler) {
                table = c->values;
            } else if (item > count + c->left) {
                err = DCF_ERR_RANGE;
                goto stop;
            }
            run = item;
            break;
        }
    }
stop:
    c->table = table;
    c->bits = bits;
    c->have = have;
    c->left += count;
    c->run = run;
    return bits_left(c) < 0 ? DCF_ERR_TRUNCATED : err;
}

#endif

#if !DCF_ALL_MAPPED

#if DCF_WITH_HUFFMAN
static int huffman_symbol(dcf_cursor *c, uint32_t *symbol)
{
    const uint32_t fast_bits = 32U - c->tensor->shift;
    uint32_t item;
    if (c->have < DCF_MAX_CODE_BITS) {
        if (bits_left(c) < 0) {
            return DCF_ERR_TRUNCATED;
        }
        c->bits = more_bits(c, c->bits, c->have);
        c->have |= 24;
    }
    item = c->table[c->bits >> (32U - fast_bits)];
    if (item == DCF_LONG) {
        item = dcf_huffman_search(c->table, c->bits >> 20, fast_bits, fast_bits + 1U);
    }
    c->have -= (int32_t)(item & DCF_LENGTH);
    c->bits <<= item & DCF_LENGTH;
    *symbol = item >> 8;
    return DCF_OK;
}
#endif

#if DCF_WITH_PACKED
static int packed_symbol(dcf_cursor *c, uint32_t *symbol)
{
    const dcf_tensor *t = c->tensor;
    const int is_gap = c->table != c->values;
    const uint32_t width = is_gap ? t->gap_bits : t->symbol_bits;
    const uint32_t below = is_gap ? t->highest_gap + 1U : t->alphabet;
    const uint32_t used = width - (uint32_t)c->have;
    if (bits_left(c) < 0) {
        return DCF_ERR_TRUNCATED;
    }
    *symbol = DCF_U16(t->model, c->at) >> -c->have & ((1U << width) - 1U);
    c->at += used >> 3;
    c->have = -(int32_t)(used & 7U);
    return *symbol < below ? DCF_OK : DCF_ERR_RANGE;
}
#endif

static int next_symbol(dcf_cursor *c, uint32_t *symbol)
{
#if DCF_WITH_HUFFMAN
    if (c->tensor->table_count) {
        return huffman_symbol(c, symbol);
    }
#endif
#if DCF_WITH_PACKED
    return packed_symbol(c, symbol);
#else
    (void)c;
    (void)symbol;
    return DCF_ERR_UNSUPPORTED;
#endif
}

/* Give of the announced background what is wanted: an element, and copies of it. */
static void background(dcf_cursor *c)
{
    const dcf_size n = c->run < c->count ? c->run : c->count;
    if (n > 0) {
        dcf_size bytes = (n - 1U) * c->step;
        dcf_number(c->tensor, c->tensor->background, c->out);
        for (; bytes > 0; bytes--) {
            c->out[c->step] = c->out[0];
            c->out++;
        }
        c->out += c->step;
        c->count -= n;
        c->run -= n;
    }
}

/* What `symbol` says: an element, a part of one, or a run of background. */
static int symbol_use(dcf_cursor *c, uint32_t symbol)
{
    const dcf_tensor *t = c->tensor;
#if DCF_WITH_GAP
    if (c->table < c->values) {
        const dcf_size left = c->count + c->left;
        c->run = symbol;
        if (symbol < left && symbol != t->filler) {
            c->table = c->values;
        }
        return symbol > left ? DCF_ERR_RANGE : DCF_OK;
    }
#endif
#if DCF_WITH_RUN
    if (t->layout == DCF_LAYOUT_RUN) {
        const uint32_t digit = c->digit;
        c->digit = 0;
        if (symbol >= t->alphabet) {
            symbol -= t->alphabet - 1U;
            c->digit = (uint8_t)(digit + 1U);
            c->run = (dcf_size)symbol << digit;
            /* in this form, because the run could overflow; digit stays below the bits of a size,
             * as each digit that passes takes at least 2^digit elements */
            return symbol > (c->count + c->left) >> digit ? DCF_ERR_RANGE : DCF_OK;
        }
    }
#endif
#if DCF_WITH_SYMBOLS
    if (t->symbols > 1) {
        c->out[c->part++] = (uint8_t)symbol;
        c->table += t->table_count ? t->code_stride : 0;
        if (c->part < t->symbols) {
            return DCF_OK;
        }
        c->part = 0;
    } else
#endif
    {
        dcf_number(t, symbol, c->out);
    }
    c->out += c->step;
    c->count--;
    c->table = c->first;
    return DCF_OK;
}

/* `elements` for all tensors. */
DCF_APART static int plain(dcf_cursor *c, uint8_t *out, dcf_size count, uint32_t step)
{
    int err = DCF_OK;
#if DCF_WITH_PACKED
    if (step == 0 && (c->tensor->layout | c->tensor->coder) == 0) {
        /* DENSE, PACKED: each element takes the same bits */
        seek(c, c->at, count * ((uint32_t)c->tensor->symbols * c->tensor->symbol_bits));
        return DCF_OK;
    }
#endif
    c->out = out;
    c->step = step;
    c->count = count;
    while (err == DCF_OK) {
        uint32_t symbol;
        background(c);
        if (c->count == 0) {
            break;
        }
        err = next_symbol(c, &symbol);
        if (err == DCF_OK) {
            err = symbol_use(c, symbol);
        }
    }
    c->left += c->count;
    return bits_left(c) < 0 ? DCF_ERR_TRUNCATED : err;
}

#endif

/* Decode `count` (at most c->left) elements to `out`, `step` bytes apart: 0 drops them, each over
 * the one before. */
static inline int elements(dcf_cursor *c, uint8_t *out, dcf_size count, uint32_t step)
{
    c->left -= count;
#if DCF_ALL_MAPPED
    return quick(c, out, count, step);
#else
#if DCF_WITH_HUFFMAN
    if (c->tensor->mapped) {
        return quick(c, out, count, step);
    }
#endif
    return plain(c, out, count, step);
#endif
}

#if DCF_HOST
/* Elements of the width, mostly through lookup tables or by eight packed symbols. */
static int host_elements(dcf_cursor *c, uint8_t *out, dcf_size count)
{
    const dcf_tensor *t = c->tensor;
    dcf_size n = 0;
    while (count > 0 && (c->run != 0 || c->table != c->first)) { /* what is pending, by itself */
        int err;
        n = c->run == 0 ? 1 : c->run < count ? c->run : count;
        err = elements(c, out, n, t->width);
        if (err != DCF_OK) {
            return err;
        }
        out += n * t->width;
        count -= n;
    }
    c->bit = (dcf_size)(8 * (c->at - c->data) - c->have);
    n = 0;
    if (count > 0 && t->lookup) {
        n = dcf_host_elements(c, out, count);
    } else if (count > 0 && t->layout == DCF_LAYOUT_DENSE) {
        n = dcf_host_packed(c, out, count);
    }
    if (n > 0) {
        seek(c, c->data, c->bit);
    }
    return n < count ? elements(c, out + n * t->width, count - n, t->width) : DCF_OK;
}

int dcf_block_finish(dcf_cursor *c, uint8_t *out)
{
    int err;
    seek(c, c->data, c->bit);
    err = host_elements(c, out, c->left);
    return err == DCF_OK ? block_end(c) : err;
}
#endif

/* ---- cursors ---- */

int dcf_cursor_init(dcf_cursor *c, const dcf_tensor *t, dcf_size row0)
{
    if (!t->codes || row0 > t->rows) {
        return DCF_ERR_ARGUMENT;
    }
    c->tensor = t;
    c->block = t->blocks;
    c->left = 0;
    c->skip = 0;
    if (row0 < t->rows && t->elements != 0) {
        c->block = DCF_WITH_BLOCKS ? dcf_divide(row0, t->block_rows) : 0;
        c->skip = (row0 - c->block * t->block_rows) * t->columns;
    }
    return DCF_OK;
}

int dcf_cursor_next(dcf_cursor *c, void *to, dcf_size count, dcf_size *got)
{
    const dcf_tensor *t = c->tensor;
    uint8_t *out = (uint8_t *)to;
    dcf_size wanted = count;
    int err = DCF_OK;
#if DCF_HOST
    int plain = 0; /* until the end, once anything was wrong: no block is tried more than twice */
#endif
    while (err == DCF_OK && wanted > 0) {
        dcf_size n = wanted;
        uint32_t step;
        if (c->left == 0) {
            if (c->block == t->blocks) {
                break;
            }
#if DCF_HOST
            if (!plain && c->skip == 0) {
                n = dcf_host_blocks(c, out, n);
                out += n * t->width;
                wanted -= n;
                plain = n == 0;
                continue;
            }
#endif
            dcf_block_enter(c);
        }
        n = n < c->left ? n : c->left;
        step = t->width;
        if (c->skip) { /* over elements that nobody wants; there is room for one */
            n = c->skip;
            c->skip = 0;
            step = 0;
            wanted += n;
        }
#if DCF_HOST
        err = step ? host_elements(c, out, n) : elements(c, out, n, 0);
#else
        err = elements(c, out, n, step);
#endif
        out += n * step;
        wanted -= n;
        if (err == DCF_OK && c->left == 0) {
            err = block_end(c);
        }
    }
    *got = count - wanted;
    return DCF_RESULT(t->model, err);
}

int dcf_cursor_finish(dcf_cursor *c)
{
    uint8_t number[16];
    int err = DCF_OK;
    if (c->left != 0 && (c->tensor->layout | c->tensor->coder) != 0) { /* not DENSE, PACKED */
        err = elements(c, number, c->left, 0);
        if (err == DCF_OK) {
            err = block_end(c);
        }
    }
    return DCF_RESULT(c->tensor->model, err);
}

int dcf_rows(const dcf_tensor *t, dcf_size row0, dcf_size count, void *out, dcf_size bytes)
{
    dcf_cursor c;
    dcf_size got;
    int err = dcf_cursor_init(&c, t, row0);
    if (err != DCF_OK || count > t->rows - row0) {
        return DCF_ERR_ARGUMENT;
    }
    count *= t->columns;
    if (bytes < count * t->width) {
        return DCF_ERR_SPACE;
    }
    return dcf_cursor_next(&c, out, count, &got);
}

int dcf_decode(const dcf_tensor *t, void *out, dcf_size bytes)
{
    return dcf_rows(t, 0, t->rows, out, bytes);
}

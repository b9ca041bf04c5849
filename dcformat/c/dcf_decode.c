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
    dcf_at at;
    uint32_t spare;
    if (block == 0) {
        return 0;
    }
    if (block == t->blocks) {
        return t->coded_size;
    }
    at = t->offsets + (block - 1U) * t->offset_width;
    spare = 32U - 8U * t->offset_width;
    return DCF_U32(t->model, at) << spare >> spare; /* in the file even behind the last offset */
}

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
    t->fast_bits = (uint8_t)fast_bits;
    err = blocks_check(t);
    if (err == DCF_OK) {
        t->mapped = t->table_count && t->symbols == 1 && t->width == 1 &&
                    t->layout != DCF_LAYOUT_RUN;
        t->prepared = 1;
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

DCF_LOCAL void dcf_block_enter(dcf_cursor *c)
{
    const dcf_tensor *t = c->tensor;
    const dcf_size block = c->block++;
    const dcf_size start = block_offset(t, block);
    const dcf_size rows = t->rows - block * t->block_rows;
    c->data = t->coded + start;
    c->size = block_offset(t, block + 1U) - start;
    c->bit = 0;
    c->run = 0;
    c->digit = 0;
    c->stored = 0;
    c->table = 0;
    if (t->classes > 1) {
        c->table = (uint16_t)(class_of(t, block) * dcf_streams(t));
    }
    c->left = (rows < t->block_rows ? rows : t->block_rows) * t->columns;
}

/* "After the last symbol of a block: a whole unused byte, STRUCTURE; spare bits that are not
 * zero, PADDING." */
static int block_end(const dcf_cursor *c)
{
    const uint32_t used = c->bit & 7U;
    if ((c->bit + 7U) >> 3 != c->size) {
        return DCF_ERR_STRUCTURE;
    }
    if (used != 0) {
        const uint32_t byte = DCF_BYTE(c->tensor->model, c->data + (c->bit >> 3));
        const uint32_t spare = c->tensor->coder == DCF_CODER_PACKED ? byte >> used : byte << used;
        if (spare & 0xFFU) {
            return DCF_ERR_PADDING;
        }
    }
    return DCF_OK;
}

/* ---- elements ---- */

/* Write `count` background elements, `step` bytes apart. */
static uint8_t *fill(const dcf_tensor *t, uint8_t *out, dcf_size count, uint32_t step)
{
    uint8_t number[16];
    if (t->width == 1) {
        dcf_number(t, t->background, number);
        for (; count > 0; count--) {
            *out = number[0];
            out += step;
        }
    }
    for (; count > 0; count--) {
        dcf_number(t, t->background, out);
        out += step;
    }
    return out;
}

/* Where a block's symbols are read. */
typedef struct reader {
    dcf_at at;     /* the next byte that is not in `bits` */
    uint32_t bits; /* Huffman: the next ones, at the top; packed: how many of the byte at `at` are used */
    int32_t have;  /* of the bits; packed: 0 */
} reader;

static void reader_begin(const dcf_cursor *c, reader *r)
{
    r->at = c->data + (c->bit >> 3);
    r->bits = (uint32_t)c->bit & 7U;
    r->have = 0;
    if (c->tensor->coder != DCF_CODER_PACKED) {
        r->have = 32 - (int32_t)r->bits;
        r->bits = DCF_BITS(c->tensor->model, r->at) << r->bits;
        r->at += 4;
    }
}

/* The bit of the block that comes next. */
static dcf_size reader_bit(const dcf_cursor *c, const reader *r)
{
    const dcf_size bit = (dcf_size)(r->at - c->data) * 8U;
    return c->tensor->coder == DCF_CODER_PACKED ? bit + r->bits : bit - (dcf_size)r->have;
}

#if DCF_WITH_PACKED
/* Read a packed symbol, and give it as an item of a table. */
static int packed_item(const dcf_cursor *c, reader *r, uint32_t is_gap, uint32_t *item)
{
    const dcf_tensor *t = c->tensor;
    const uint32_t width = is_gap ? t->gap_bits : t->symbol_bits;
    const uint32_t below = is_gap ? t->highest_gap + 1U : t->alphabet;
    const uint32_t symbol = DCF_U16(t->model, r->at) >> r->bits & ((1U << width) - 1U);
    r->bits += width;
    r->at += r->bits >> 3;
    r->bits &= 7U;
    if (reader_bit(c, r) > c->size * 8U || symbol >= below) {
        return DCF_ERR_RANGE;
    }
    *item = symbol << 8;
    return DCF_OK;
}
#endif

/* Decode `count` (at most c->left) elements to `out`, `step` bytes apart: 0 drops them, each over
 * the one before. */
static int elements(dcf_cursor *c, uint8_t *out, dcf_size count, uint32_t step)
{
    const dcf_tensor *t = c->tensor;
    const uint32_t shift = 32U - t->fast_bits;
    const uint16_t *const first = t->codes + (size_t)c->table * t->code_stride;
    const uint16_t *const gaps = t->layout == DCF_LAYOUT_GAP ? first : NULL;
    const uint16_t *const values = gaps ? first + t->code_stride : first;
    const uint16_t *const direct = t->mapped ? values : NULL;
    const uint16_t *fast = c->stored ? values : first;
    const dcf_size beyond = c->left - count;
    dcf_size run = c->run;
    reader r;
    uint32_t i = 0;
    int err = DCF_OK;
    reader_begin(c, &r);
    do {
        const dcf_size n = run < count ? run : count;
        out = fill(t, out, n, step);
        run -= n;
        count -= n;
        while (count > 0) {
            uint32_t item = fast[r.bits >> shift];
            r.have -= (int32_t)(item & DCF_LENGTH);
            if (r.have >= 0) {
                r.bits <<= item & DCF_LENGTH;
            } else {
                r.have += (int32_t)(item & DCF_LENGTH);
#if DCF_WITH_PACKED
                if (t->coder == DCF_CODER_PACKED) {
                    err = packed_item(c, &r, fast == gaps, &item);
                    if (err != DCF_OK) {
                        break;
                    }
                } else
#endif
#if DCF_WITH_HUFFMAN
                if (r.have >= DCF_MAX_CODE_BITS) {
                    item = dcf_huffman_search(fast, t->fast_bits, r.bits >> 20);
                    r.have -= (int32_t)(item & DCF_LENGTH);
                    r.bits <<= item & DCF_LENGTH;
                } else
#endif
                {
                    /* the bytes behind a block are taken for its bits; behind these it is over */
                    if (reader_bit(c, &r) > c->size * 8U) {
                        err = DCF_ERR_TRUNCATED;
                        break;
                    }
                    r.bits |= DCF_BITS(t->model, r.at) >> r.have;
                    r.at += (31U - (uint32_t)r.have) >> 3;
                    r.have |= 24;
                    continue;
                }
            }
            item >>= 8;
            if (fast == direct) {
                *out = (uint8_t)item;
                out += step;
                count--;
                fast = first;
                continue;
            }
#if DCF_WITH_GAP
            if (fast == gaps) {
                if (item > count + beyond) {
                    err = DCF_ERR_RANGE;
                } else if (item < count + beyond &&
                           (item != t->highest_gap || (t->gap_flags & DCF_GAP_FILLER_STORES))) {
                    fast = values;
                }
                run = item;
                break;
            }
#endif
#if DCF_WITH_RUN
            if (t->layout == DCF_LAYOUT_RUN && item >= t->alphabet) {
                item -= t->alphabet - 1U;
                /* in this form, because item << digit could overflow; digit stays below the bits
                 * of a size, as each digit that passes takes at least 2^digit elements */
                if (item > (count + beyond) >> c->digit) {
                    err = DCF_ERR_RANGE;
                }
                run = (dcf_size)item << c->digit;
                c->digit++;
                break;
            }
            c->digit = 0;
#endif
            if (t->symbols > 1) {
                out[i++] = (uint8_t)item;
                if (t->coder == DCF_CODER_HUFFMAN) {
                    fast += t->code_stride;
                }
                if (i < t->symbols) {
                    continue;
                }
                i = 0;
            } else {
                dcf_number(t, item, out);
            }
            out += step;
            count--;
            fast = first;
        }
    } while (count > 0 && err == DCF_OK);
    c->left = beyond + count;
    c->run = run;
    c->stored = fast != first;
    c->bit = reader_bit(c, &r);
    return c->bit > c->size * 8U ? DCF_ERR_TRUNCATED : err;
}

#if DCF_HOST
/* The same `step` as the width, mostly through lookup tables or by eight packed symbols. */
static int host_elements(dcf_cursor *c, uint8_t *out, dcf_size count)
{
    const dcf_tensor *t = c->tensor;
    while (count > 0 && (c->run != 0 || c->stored)) { /* what is pending, by itself */
        const dcf_size n = c->run == 0 ? 1 : c->run < count ? c->run : count;
        const int err = elements(c, out, n, t->width);
        if (err != DCF_OK) {
            return err;
        }
        out += n * t->width;
        count -= n;
    }
    if (count > 0) {
        dcf_size n = 0;
        if (t->lookup) {
            n = dcf_host_elements(c, out, count);
        } else if (t->layout == DCF_LAYOUT_DENSE) {
            n = dcf_host_packed(c, out, count);
        }
        out += n * t->width;
        count -= n;
    }
    return count > 0 ? elements(c, out, count, t->width) : DCF_OK;
}

int dcf_block_finish(dcf_cursor *c, uint8_t *out)
{
    const int err = host_elements(c, out, c->left);
    return err == DCF_OK ? block_end(c) : err;
}
#endif

/* ---- cursors ---- */

int dcf_cursor_init(dcf_cursor *c, const dcf_tensor *t, dcf_size row0)
{
    if (!t->prepared || row0 > t->rows) {
        return DCF_ERR_ARGUMENT;
    }
    c->tensor = t;
    c->block = t->blocks;
    c->left = 0;
    c->skip = 0;
    if (row0 < t->rows && t->elements != 0) {
        c->block = dcf_divide(row0, t->block_rows);
        c->skip = (row0 - c->block * t->block_rows) * t->columns;
    }
    return DCF_OK;
}

/* Move over the elements that nobody wants; `out` has room for one. */
static int skip(dcf_cursor *c, uint8_t *out)
{
    const dcf_size count = c->skip;
    c->skip = 0;
#if DCF_WITH_PACKED
    const dcf_tensor *t = c->tensor;
    if ((t->layout | t->coder) == 0) { /* DENSE, PACKED: each element takes the same bits */
        c->bit += count * ((uint32_t)t->symbols * t->symbol_bits);
        c->left -= count;
        return DCF_OK;
    }
#endif
    return elements(c, out, count, 0);
}

int dcf_cursor_next(dcf_cursor *c, void *to, dcf_size count, dcf_size *got)
{
    const dcf_tensor *t = c->tensor;
    uint8_t *out = (uint8_t *)to;
    int err = DCF_OK;
#if DCF_HOST
    int plain = 0; /* until the end, once anything was wrong: no block is tried more than twice */
#endif
    *got = 0;
    while (err == DCF_OK && *got < count) {
        dcf_size n = count - *got;
        if (c->left == 0) {
            if (c->block == t->blocks) {
                break;
            }
#if DCF_HOST
            if (!plain && c->skip == 0) {
                n = dcf_host_blocks(c, out, n);
                out += n * t->width;
                *got += n;
                plain = n == 0;
                continue;
            }
#endif
            dcf_block_enter(c);
        }
        if (c->skip) {
            err = skip(c, out);
            continue;
        }
        n = n < c->left ? n : c->left;
#if DCF_HOST
        err = host_elements(c, out, n);
#else
        err = elements(c, out, n, t->width);
#endif
        out += n * t->width;
        *got += n;
        if (err == DCF_OK && c->left == 0) {
            err = block_end(c);
        }
    }
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

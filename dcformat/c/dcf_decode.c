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

enum { NO_SYMBOL = 256 };

/* A block while it is read. */
typedef struct reader {
#if DCF_WITH_READ_CALLBACK
    const dcf_model *model;
#endif
    dcf_at at;           /* the next byte */
    dcf_at last;         /* behind it there may be nothing to read */
    uint32_t bits;       /* Huffman: the next ones, at the top; those of the file behind the block too */
    int32_t have;        /* bits before `at`; packed: none or less, where the byte is used in part */
    uint8_t *out;
    uint32_t shift;      /* of the bits, for a look at the table */
    uint32_t step;       /* bytes from an element to the next; 0: all are dropped */
    dcf_size count;      /* elements that are wanted */
    dcf_size beyond;     /* and those of the block behind them */
    const uint16_t *first;  /* table of the first stream */
    const uint16_t *values; /* and of the element's first symbol */
    const uint16_t *table;  /* of the next symbol */
    uint16_t filler;        /* a gap that no element follows, or more than any gap */
    uint8_t background;     /* a number of one byte */
    uint8_t part;           /* symbols of an element that were read */
} reader;

static void reader_begin(const dcf_cursor *c, reader *r)
{
    const dcf_tensor *t = c->tensor;
    const uint32_t used = (uint32_t)c->bit & 7U;
#if DCF_WITH_READ_CALLBACK
    r->model = t->model;
#endif
    r->at = c->data + (c->bit >> 3);
    r->last = c->data + c->size;
    r->have = -(int32_t)used;
    r->shift = 32U - t->fast_bits;
    r->first = t->codes + (size_t)c->table * t->code_stride;
    r->values = r->first;
    if (t->layout == DCF_LAYOUT_GAP) {
        r->values += t->code_stride;
    }
    r->filler = (t->gap_flags & DCF_GAP_FILLER_STORES) ? DCF_MAX_SYMBOLS : t->highest_gap;
    if (t->mapped) {
        dcf_number(t, t->background, &r->background);
    }
    r->table = c->stored ? r->values : r->first;
    r->part = 0;
#if DCF_WITH_HUFFMAN
    if (t->table_count) {
        r->bits = DCF_BITS(t->model, r->at) << used;
        r->have += 32;
        r->at += 4;
    }
#endif
}

/* Is what comes next behind the block's end? */
static int reader_over(const reader *r)
{
    return r->at >= r->last && (int32_t)(r->at - r->last) * 8 > r->have;
}

#if DCF_WITH_HUFFMAN

static uint32_t reader_bits(const reader *r)
{
#if DCF_WITH_READ_CALLBACK
    return DCF_BITS(r->model, r->at);
#else
    return dcf_load_bits(r->at);
#endif
}

static int huffman_symbol(const dcf_tensor *t, reader *r, uint32_t *symbol)
{
    uint32_t item;
    if (r->have < DCF_MAX_CODE_BITS) {
        if (reader_over(r)) {
            return DCF_ERR_TRUNCATED;
        }
        r->bits |= DCF_BITS(t->model, r->at) >> r->have;
        r->at += (31U - (uint32_t)r->have) >> 3;
        r->have |= 24;
    }
    item = r->table[r->bits >> (32U - t->fast_bits)];
    if (item == DCF_LONG) {
        item = dcf_huffman_search(r->table, t->fast_bits, r->bits >> 20, t->fast_bits + 1U);
    }
    r->have -= (int32_t)(item & DCF_LENGTH);
    r->bits <<= item & DCF_LENGTH;
    *symbol = item >> 8;
    return DCF_OK;
}

/* Decode what is most of most tensors: elements of one byte that the tables give, dense or with gaps.
 * Gives a gap that must be looked at, or NO_SYMBOL where there is nothing quick to do. */
DCF_APART static uint32_t quick(reader *r)
{
    const uint32_t shift = r->shift;
    const uint32_t step = r->step;
    const uint16_t *table = r->table;
    uint32_t symbol = NO_SYMBOL;
    uint32_t bits = r->bits;
    int32_t have = r->have;
    uint8_t *out = r->out;
    dcf_size count = r->count;
    while (count > 0) {
        uint32_t item = table[bits >> shift];
        have -= (int32_t)(item & DCF_LENGTH);
        if (have < 0) {
            have += (int32_t)(item & DCF_LENGTH);
            if (have < DCF_MAX_CODE_BITS) {
                if (r->at > r->last) {
                    break;
                }
                bits |= reader_bits(r) >> have;
                r->at += (31U - (uint32_t)have) >> 3;
                have |= 24;
                continue;
            }
            item = dcf_huffman_search(table, 32U - shift, bits >> 20, 33U - shift);
            have -= (int32_t)(item & DCF_LENGTH);
        }
        bits <<= item & DCF_LENGTH;
        item >>= 8;
        if (table == r->values) {
            *out = (uint8_t)item;
            out += step;
            table = r->first;
            count--;
        } else if (item < count && item < r->filler) {
            const uint8_t background = r->background;
            count -= item;
            for (; item > 0; item--) {
                *out = background;
                out += step;
            }
            table = r->values;
        } else {
            symbol = item;
            break;
        }
    }
    r->table = table;
    r->bits = bits;
    r->have = have;
    r->out = out;
    r->count = count;
    return symbol;
}

#endif

#if DCF_WITH_PACKED
static int packed_symbol(const dcf_tensor *t, reader *r, uint32_t *symbol)
{
    const int is_gap = r->table != r->values;
    const uint32_t width = is_gap ? t->gap_bits : t->symbol_bits;
    const uint32_t below = is_gap ? t->highest_gap + 1U : t->alphabet;
    const uint32_t used = width - (uint32_t)r->have;
    if (reader_over(r)) {
        return DCF_ERR_TRUNCATED;
    }
    *symbol = DCF_U16(t->model, r->at) >> -r->have & ((1U << width) - 1U);
    r->at += used >> 3;
    r->have = -(int32_t)(used & 7U);
    return *symbol < below ? DCF_OK : DCF_ERR_RANGE;
}
#endif

static int next_symbol(const dcf_tensor *t, reader *r, uint32_t *symbol)
{
#if DCF_WITH_HUFFMAN
    if (t->table_count) {
        return huffman_symbol(t, r, symbol);
    }
#endif
#if DCF_WITH_PACKED
    return packed_symbol(t, r, symbol);
#else
    return DCF_ERR_UNSUPPORTED;
#endif
}

/* Give of the announced background what is wanted: an element, and copies of it. */
static void background(dcf_cursor *c, reader *r)
{
    const dcf_size n = c->run < r->count ? c->run : r->count;
    if (n > 0) {
        dcf_size bytes = (n - 1U) * r->step;
        dcf_number(c->tensor, c->tensor->background, r->out);
        for (; bytes > 0; bytes--) {
            r->out[r->step] = r->out[0];
            r->out++;
        }
        r->out += r->step;
        r->count -= n;
        c->run -= n;
    }
}

/* What `symbol` says: an element, a part of one, or a run of background. */
static int symbol_use(dcf_cursor *c, reader *r, uint32_t symbol)
{
    const dcf_tensor *t = c->tensor;
    const dcf_size left = r->count + r->beyond;
#if DCF_WITH_GAP
    if (r->table < r->values) {
        c->run = symbol;
        if (symbol < left && symbol != r->filler) {
            r->table = r->values;
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
            return symbol > left >> digit ? DCF_ERR_RANGE : DCF_OK;
        }
    }
#endif
#if DCF_WITH_WIDE_NUMBERS
    if (t->symbols > 1) {
        r->out[r->part++] = (uint8_t)symbol;
        r->table += t->table_count ? t->code_stride : 0;
        if (r->part < t->symbols) {
            return DCF_OK;
        }
        r->part = 0;
    } else
#endif
    if (t->mapped) {
        *r->out = (uint8_t)symbol;
    } else {
        dcf_number(t, symbol, r->out);
    }
    r->out += r->step;
    r->count--;
    r->table = r->first;
    return DCF_OK;
}

/* Decode `count` (at most c->left) elements to `out`, `step` bytes apart: 0 drops them, each over
 * the one before. */
static int elements(dcf_cursor *c, uint8_t *out, dcf_size count, uint32_t step)
{
    const dcf_tensor *t = c->tensor;
    reader r;
    int err = DCF_OK;
    r.out = out;
    r.step = step;
    r.count = count;
    r.beyond = c->left - count;
    reader_begin(c, &r);
    for (;;) {
        uint32_t symbol = NO_SYMBOL;
        background(c, &r);
        if (err != DCF_OK || r.count == 0) {
            break;
        }
#if DCF_WITH_HUFFMAN
        if (t->mapped) {
            symbol = quick(&r);
        }
#endif
        if (symbol == NO_SYMBOL) {
            if (r.count == 0) {
                break;
            }
            err = next_symbol(t, &r, &symbol);
        }
        if (err == DCF_OK) {
            err = symbol_use(c, &r, symbol);
        }
    }
    c->left = r.beyond + r.count;
    c->stored = r.table != r.first;
    c->bit = (dcf_size)(r.at - c->data) * 8U - (dcf_size)r.have;
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

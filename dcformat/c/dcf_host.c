/* Fast loops for hosts: lookup tables, and four blocks in flight. They give what the careful
 * loops give, and stop before anything that those would have to judge.
 *
 * Spec: spec/encodings/coder_huffman.md. Only built with DCF_HOST=1.
 */
#include "dcf_internal.h"

#if DCF_HOST

#include <string.h>

enum {
    PREFIXES = 1 << DCF_MAX_CODE_BITS,
    ONE_BYTES = PREFIXES * 2,  /* a lookup table that gives one symbol */
    MANY_BYTES = PREFIXES * 8, /* one that gives up to seven */
    MANY_MOST = 7,
    LOADED = 57,      /* bits that load_msb gives at least */
    FEW = 1024,       /* elements below which tables cost more than they save */
    MANY_FROM = 16384 /* and for the larger tables */
};

/* ---- tables ----
 *
 * One symbol: symbol, then length. Several: seven numbers, then count and 8 times the bits that
 * they take. An entry is a string of bytes, so that byte order does not matter. */

static int wants_many(const dcf_tensor *t)
{
    return t->layout == DCF_LAYOUT_DENSE && t->symbols == 1 && t->width == 1 &&
           t->elements >= MANY_FROM;
}

size_t dcf_lookup_bytes(const dcf_tensor *tensor)
{
    size_t bytes;
    if (tensor->table_count == 0 || tensor->elements < FEW) {
        return 0;
    }
    bytes = (size_t)tensor->table_count * ONE_BYTES;
    if (wants_many(tensor)) {
        bytes += (size_t)tensor->table_count * MANY_BYTES;
    }
    return bytes;
}

static void build_one(uint8_t *table, const dcf_code *code)
{
    uint32_t length = code->shortest;
    uint32_t prefix;
    for (prefix = 0; prefix < PREFIXES; prefix++) {
        while (prefix >= code->limit[length]) {
            length++;
        }
        table[2 * prefix] = dcf_ranks(code)[((prefix >> (DCF_MAX_CODE_BITS - length)) +
                                             code->shift[length]) & 0xFFFFU];
        table[2 * prefix + 1] = (uint8_t)length;
    }
}

/* Each prefix gives the numbers of as many whole codes as it holds; at least one. */
static void build_many(uint8_t *table, const uint8_t *one, const dcf_tensor *t)
{
    uint32_t prefix;
    for (prefix = 0; prefix < PREFIXES; prefix++) {
        uint8_t *entry = table + 8 * prefix;
        uint32_t count = 0;
        uint32_t used = 0;
        while (count < MANY_MOST) {
            const uint8_t *next = one + 2 * ((prefix << used) & (PREFIXES - 1U));
            if (used + next[1] > DCF_MAX_CODE_BITS) {
                break;
            }
            used += next[1];
            dcf_number(t, next[0], entry + count);
            count++;
        }
        memset(entry + count, 0, MANY_MOST - count);
        entry[MANY_MOST] = (uint8_t)(count | (used << 3));
    }
}

void dcf_lookup_build(dcf_tensor *tensor, uint8_t *memory)
{
    uint8_t *many = memory + (size_t)tensor->table_count * ONE_BYTES;
    uint32_t i;
    for (i = 0; i < tensor->table_count; i++) {
        const uint8_t *at = tensor->codes + i * tensor->code_bytes;
        uint8_t *one = memory + (size_t)i * ONE_BYTES;
        build_one(one, (const dcf_code *)(const void *)at);
        if (wants_many(tensor)) {
            build_many(many + (size_t)i * MANY_BYTES, one, tensor);
        }
    }
    tensor->lookup = memory;
}

static const uint8_t *one_of(const dcf_cursor *cursor, uint32_t stream)
{
    return cursor->tensor->lookup + (size_t)(cursor->lookup_table + stream) * ONE_BYTES;
}

static const uint8_t *many_of(const dcf_cursor *cursor)
{
    return cursor->tensor->lookup + (size_t)cursor->tensor->table_count * ONE_BYTES +
           (size_t)cursor->lookup_table * MANY_BYTES;
}

/* ---- bits ---- */

/* A stream by its next bit. `last` is the last bit at which eight bytes are still left. */
typedef struct stream {
    const uint8_t *data;
    uint64_t bit;
    uint64_t last;
    int some; /* there are eight bytes at all */
} stream;

static stream stream_begin(const dcf_cursor *cursor)
{
    const dcf_bits *b = &cursor->bits;
    stream s;
    s.data = b->data;
    s.bit = (uint64_t)b->pos * 8U - b->have;
    s.some = b->size >= 8;
    s.last = s.some ? (uint64_t)(b->size - 8U) * 8U + 7U : 0;
    return s;
}

static int stream_ready(const stream *s)
{
    return s->some && s->bit <= s->last;
}

/* Give the place back to the careful reader of codes. */
static void stream_end_msb(dcf_cursor *cursor, const stream *s)
{
    dcf_bits *b = &cursor->bits;
    const uint32_t part = (uint32_t)(s->bit & 7U);
    b->pos = (size_t)(s->bit >> 3);
    b->acc = 0;
    b->have = 0;
    if (part != 0) {
        b->acc = (uint32_t)b->data[b->pos++] << (24U + part);
        b->have = 8U - part;
    }
}

/* The next 57 bits or more, from the top. */
static uint64_t load_msb(const stream *s)
{
    const uint8_t *p = s->data + (s->bit >> 3);
    const uint64_t word = (uint64_t)p[7] | (uint64_t)p[6] << 8 | (uint64_t)p[5] << 16 |
                          (uint64_t)p[4] << 24 | (uint64_t)p[3] << 32 | (uint64_t)p[2] << 40 |
                          (uint64_t)p[1] << 48 | (uint64_t)p[0] << 56;
    return word << (s->bit & 7U);
}

/* Take one symbol from `bits` at the top. */
static uint32_t take_one(const uint8_t *table, uint64_t *bits, uint64_t *used)
{
    const uint8_t *entry = table + 2U * (size_t)(*bits >> (64 - DCF_MAX_CODE_BITS));
    *bits <<= entry[1];
    *used += entry[1];
    return entry[0];
}

/* Write numbers; with constant widths, as compilers make one store of a copy of known size. */
static void put(const dcf_tensor *t, uint32_t symbol, uint8_t *out)
{
    if (t->levels && t->width == 4) {
        memcpy(out, t->levels + 4 * (size_t)symbol, 4);
    } else if (t->levels && t->width == 2) {
        memcpy(out, t->levels + 2 * (size_t)symbol, 2);
    } else {
        dcf_number(t, symbol, out);
    }
}

void dcf_host_fill(const dcf_tensor *tensor, uint8_t *out, size_t count)
{
    uint8_t number[16] = {0};
    const uint32_t width = tensor->width;
    size_t i;
    if (tensor->symbols == 1) {
        dcf_number(tensor, tensor->background, number);
    }
    for (i = 1; i < width && number[i] == number[0]; i++) {
    }
    if (i >= width) {
        memset(out, number[0], count * width);
        return;
    }
    for (i = 0; i < count; i++) {
        memcpy(out + i * width, number, width);
    }
}

/* ---- layout_dense ---- */

enum { ROUND = 4, ROUND_MOST = ROUND * 8 }; /* lookups of 12 bits in 57; bytes they may write */

/* One load and four lookups; the caller made sure of eight bytes and ROUND_MOST elements. */
static uint8_t *many_round(stream *s, const uint8_t *table, uint8_t *out)
{
    uint64_t bits = load_msb(s);
    int i;
    for (i = 0; i < ROUND; i++) {
        const uint8_t *entry = table + 8U * (size_t)(bits >> (64 - DCF_MAX_CODE_BITS));
        const uint32_t tail = entry[MANY_MOST];
        memcpy(out, entry, 8);
        out += tail & 7U;
        bits <<= tail >> 3;
        s->bit += tail >> 3;
    }
    return out;
}

static size_t dense_many(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const uint8_t *table = many_of(cursor);
    const uint8_t *begin = out;
    stream s = stream_begin(cursor);
    while (stream_ready(&s) && count - (size_t)(out - begin) >= ROUND_MOST) {
        out = many_round(&s, table, out);
    }
    stream_end_msb(cursor, &s);
    return (size_t)(out - begin);
}

/* Symbols of one stream, one lookup each. */
static size_t dense_one(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const dcf_tensor *t = cursor->tensor;
    const uint8_t *table = one_of(cursor, 0);
    size_t i = 0;
    stream s = stream_begin(cursor);
    while (stream_ready(&s) && count - i >= ROUND) {
        uint64_t bits = load_msb(&s);
        int j;
        for (j = 0; j < ROUND; j++) {
            put(t, take_one(table, &bits, &s.bit), out + (i + (size_t)j) * t->width);
        }
        i += ROUND;
    }
    stream_end_msb(cursor, &s);
    return i;
}

/* Elements of several symbols: a table for each byte. */
static size_t dense_wide(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const uint32_t width = cursor->tensor->symbols;
    const uint8_t *table = one_of(cursor, 0);
    size_t i;
    stream s = stream_begin(cursor);
    for (i = 0; i < count; i++) {
        uint64_t bits = 0;
        uint64_t before = s.bit;
        uint32_t j;
        for (j = 0; j < width; j++) {
            if (j % ROUND == 0) {
                if (!stream_ready(&s)) {
                    s.bit = before;
                    stream_end_msb(cursor, &s);
                    return i;
                }
                bits = load_msb(&s);
            }
            *out++ = (uint8_t)take_one(table + (size_t)j * ONE_BYTES, &bits, &s.bit);
        }
    }
    stream_end_msb(cursor, &s);
    return i;
}

size_t dcf_host_dense(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const dcf_tensor *t = cursor->tensor;
    size_t done;
    if (t->symbols > 1) {
        done = dense_wide(cursor, out, count);
    } else if (wants_many(t)) {
        done = dense_many(cursor, out, count);
    } else {
        done = dense_one(cursor, out, count);
    }
    cursor->left -= done;
    return done;
}

/* ---- layout_dense, four blocks in flight ---- */

enum { LANES = 4 };

int dcf_host_can_blocks(const dcf_tensor *tensor)
{
    return tensor->lookup != NULL && wants_many(tensor) && tensor->blocks >= LANES;
}

/* Run four cursors side by side until one of them comes near its end. */
static void lanes_run(dcf_cursor *cursors, uint8_t **outs)
{
    const uint8_t *tables[LANES];
    uint8_t *at[LANES];
    uint8_t *stop[LANES];
    stream s[LANES];
    int i;
    for (i = 0; i < LANES; i++) {
        if (cursors[i].left < ROUND_MOST) {
            return;
        }
        tables[i] = many_of(&cursors[i]);
        s[i] = stream_begin(&cursors[i]);
        at[i] = outs[i];
        stop[i] = outs[i] + cursors[i].left - ROUND_MOST;
    }
    while (stream_ready(&s[0]) && stream_ready(&s[1]) && stream_ready(&s[2]) &&
           stream_ready(&s[3]) && at[0] <= stop[0] && at[1] <= stop[1] && at[2] <= stop[2] &&
           at[3] <= stop[3]) {
        uint64_t bits[LANES];
        int j;
        for (i = 0; i < LANES; i++) {
            bits[i] = load_msb(&s[i]);
        }
        for (j = 0; j < ROUND; j++) {
            for (i = 0; i < LANES; i++) {
                const uint8_t *entry =
                    tables[i] + 8U * (size_t)(bits[i] >> (64 - DCF_MAX_CODE_BITS));
                const uint32_t tail = entry[MANY_MOST];
                memcpy(at[i], entry, 8);
                at[i] += tail & 7U;
                bits[i] <<= tail >> 3;
                s[i].bit += tail >> 3;
            }
        }
    }
    for (i = 0; i < LANES; i++) {
        stream_end_msb(&cursors[i], &s[i]);
        cursors[i].left -= (size_t)(at[i] - outs[i]);
        outs[i] = at[i];
    }
}

/* Enter block `block` and no other. */
static void lane_begin(dcf_cursor *cursor, const dcf_tensor *tensor, size_t block)
{
    cursor->tensor = tensor;
    cursor->block = block;
    dcf_block_enter(cursor);
}

int dcf_host_blocks(const dcf_tensor *tensor, uint8_t *out)
{
    const size_t step = (size_t)tensor->block_rows * tensor->columns;
    size_t block = 0;
    while (block < tensor->blocks) {
        dcf_cursor cursors[LANES];
        uint8_t *outs[LANES];
        const size_t there = tensor->blocks - block;
        const int lanes = there < LANES ? (int)there : LANES;
        int i;
        for (i = 0; i < lanes; i++) {
            lane_begin(&cursors[i], tensor, block + (size_t)i);
            outs[i] = out + (block + (size_t)i) * step;
        }
        if (lanes == LANES) {
            lanes_run(cursors, outs);
        }
        /* in the order of the blocks, so that the first error is the one that is given */
        for (i = 0; i < lanes; i++) {
            const int err = dcf_block_finish(&cursors[i], outs[i]);
            if (err != DCF_OK) {
                return err;
            }
        }
        block += (size_t)lanes;
    }
    return DCF_OK;
}

/* ---- layout_gap ---- */

size_t dcf_host_gap(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const dcf_tensor *t = cursor->tensor;
    const uint8_t *gaps = one_of(cursor, 0);
    const uint8_t *values = one_of(cursor, 1);
    const uint32_t filler =
        (t->gap_flags & DCF_GAP_FILLER_STORES) ? DCF_MAX_SYMBOLS : t->highest_gap;
    size_t i = 0;
    stream s = stream_begin(cursor);
    if (t->symbols > ROUND || !stream_ready(&s)) {
        return 0;
    }
    dcf_fill(t, out, count);
    while (stream_ready(&s)) {
        uint64_t bits = load_msb(&s);
        uint64_t used = 0;
        const uint32_t gap = take_one(gaps, &bits, &used);
        if (gap >= count - i) {
            break;
        }
        i += gap;
        s.bit += used;
        if (gap == filler) {
            continue;
        }
        if (t->symbols == 1) {
            put(t, take_one(values, &bits, &s.bit), out + i * t->width);
        } else {
            uint32_t j;
            if (!stream_ready(&s)) {
                cursor->stored = 1;
                break;
            }
            bits = load_msb(&s);
            for (j = 0; j < t->symbols; j++) {
                out[i * t->width + j] =
                    (uint8_t)take_one(values + (size_t)j * ONE_BYTES, &bits, &s.bit);
            }
        }
        i++;
    }
    stream_end_msb(cursor, &s);
    cursor->left -= i;
    return i;
}

/* ---- layout_run ---- */

size_t dcf_host_run(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const dcf_tensor *t = cursor->tensor;
    const uint8_t *table = one_of(cursor, 0);
    const uint32_t alphabet = t->alphabet;
    uint32_t digit = cursor->digit;
    size_t i = 0;
    stream s = stream_begin(cursor);
    while (i < count && stream_ready(&s)) {
        uint64_t bits = load_msb(&s);
        uint64_t used = 0;
        int j;
        for (j = 0; j < ROUND && i < count; j++) {
            const uint32_t symbol = take_one(table, &bits, &used);
            if (symbol < alphabet) {
                put(t, symbol, out + i * t->width);
                i++;
                digit = 0;
            } else {
                const size_t times = symbol - alphabet + 1U;
                if (times > (count - i) >> digit) {
                    stream_end_msb(cursor, &s);
                    cursor->digit = digit;
                    cursor->left -= i;
                    return i;
                }
                dcf_fill(t, out + i * t->width, times << digit);
                i += times << digit;
                digit++;
            }
            s.bit += used;
            used = 0;
        }
    }
    stream_end_msb(cursor, &s);
    cursor->digit = digit;
    cursor->left -= i;
    return i;
}

/* ---- layout_dense, coder_packed ---- */

/* Whole bytes. */
static size_t packed_bytes(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const dcf_tensor *t = cursor->tensor;
    dcf_bits *b = &cursor->bits;
    const size_t there = (b->size - b->pos) / t->width;
    const size_t n = count < there ? count : there;
    if (b->have != 0 || t->levels || t->alphabet != DCF_MAX_SYMBOLS ||
        (t->symbols == 1 && t->base != 0 && t->base != -128)) {
        return 0;
    }
    memcpy(out, b->data + b->pos, n * t->width);
    if (t->symbols == 1 && t->base != 0) {
        size_t i;
        for (i = 0; i < n; i++) {
            out[i] ^= 0x80;
        }
    }
    b->pos += n * t->width;
    return n;
}

/* Symbols of fewer bits, as far as they are inside the alphabet. */
static size_t packed_some(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const dcf_tensor *t = cursor->tensor;
    dcf_bits *b = &cursor->bits;
    const uint32_t bits = t->symbol_bits;
    const uint64_t mask = ((uint64_t)1 << bits) - 1U;
    uint64_t bit = (uint64_t)b->pos * 8U - b->have;
    size_t i = 0;
    while (count - i >= 7 && b->size >= 8 && bit <= (uint64_t)(b->size - 8U) * 8U + 7U) {
        const uint8_t *p = b->data + (bit >> 3);
        uint64_t word = (dcf_u64(p) >> (bit & 7U));
        int j;
        for (j = 0; j < 7; j++) {
            const uint32_t symbol = (uint32_t)(word & mask);
            if (symbol >= t->alphabet) {
                count = 0;
                break;
            }
            put(t, symbol, out + i * t->width);
            word >>= bits;
            bit += bits;
            i++;
        }
        if (count == 0) {
            break;
        }
    }
    b->pos = (size_t)(bit >> 3);
    b->acc = 0;
    b->have = 0;
    if (bit & 7U) {
        b->acc = (uint32_t)b->data[b->pos++] >> (bit & 7U);
        b->have = 8U - (uint32_t)(bit & 7U);
    }
    return i;
}

size_t dcf_host_packed(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const dcf_tensor *t = cursor->tensor;
    size_t done = 0;
    if (t->coder == DCF_CODER_PACKED) {
        done = packed_bytes(cursor, out, count);
        if (done == 0 && t->symbols == 1) {
            done = packed_some(cursor, out, count);
        }
    }
    cursor->left -= done;
    return done;
}

#endif

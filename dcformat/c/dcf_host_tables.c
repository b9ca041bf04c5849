/* Lookup tables for hosts. Only built with DCF_HOST=1.
 *
 * Spec: spec/encodings/coder_huffman.md, layout_gap.md, layout_run.md. What uses the tables:
 * dcf_host_lanes.c those of one symbol, dcf_host_blocks.c those of several.
 */
#include "dcf_internal.h"

#if DCF_HOST

enum {
    FEW = 256,        /* elements below which tables cost more than they save */
    FAST_FROM = 2048, /* and for those of several symbols */
    DIGITS_MOST = 7   /* of a run: up to 254 elements, which fit a byte */
};

/* ---- one symbol ---- */

static void build_one(const dcf_tensor *t, uint8_t *table, const uint16_t *fast)
{
    uint32_t prefix = 0;
    while (prefix < DCF_PREFIXES) {
        uint32_t item = fast[prefix << (32U - DCF_MAX_CODE_BITS) >> t->shift];
        uint32_t end;
        uint8_t entry[2];
        if ((item & DCF_LENGTH) == DCF_LONG) {
            item = dcf_huffman_search(fast, prefix, item >> 8);
        }
        entry[0] = (uint8_t)(item >> 8);
        entry[1] = (uint8_t)(item & DCF_LENGTH);
        for (end = prefix + ((uint32_t)DCF_PREFIXES >> entry[1]); prefix < end; prefix++) {
            memcpy(table + 2 * (size_t)prefix, entry, 2);
        }
    }
}

/* ---- several symbols ----
 *
 * What an entry gives is found for prefixes of `bits` bits, fewer for small tensors, and holds
 * for all that begin so. A code that is longer has entries of its own. */

typedef struct source {
    const dcf_tensor *t;
    const uint8_t *one;     /* the tables of one symbol of this class */
    uint32_t bits;
    uint32_t filler;        /* a gap that no number follows, or none */
    uint8_t background;     /* a number */
} source;

static uint32_t bits_for(size_t elements)
{
    uint32_t bits = 8;
    while (bits < DCF_MAX_CODE_BITS && elements >> (bits + 6) != 0) {
        bits++;
    }
    return bits;
}

/* Number (or symbol) and length of the code that begins at bit `from` of the prefix. */
static const uint8_t *code_at(const uint8_t *one, uint32_t prefix, uint32_t from)
{
    return one + 2U * (size_t)((prefix << from) & (DCF_PREFIXES - 1U));
}

/* Dense: up to seven numbers of `bits` bits together, at least one. */
static uint64_t many_entry(const source *s, uint32_t prefix, uint32_t bits)
{
    const uint8_t *code = code_at(s->one, prefix, 0);
    uint64_t entry = 0;
    uint32_t count = 0;
    uint32_t used = 0;
    do {
        entry |= (uint64_t)code[0] << (8 * count);
        count++;
        used += code[1];
        code = code_at(s->one, prefix, used);
    } while (count < DCF_MANY_MOST && used + code[1] <= bits);
    return entry | (uint64_t)(count | used << 3) << 56;
}

static uint32_t item(uint32_t bits, uint32_t number, uint32_t distance, uint32_t flags)
{
    return bits | number << 8 | distance << 16 | flags << 24;
}

/* A gap and the number after it, or only the gap, after which the second half of the table goes
 * on. */
static uint32_t gap_entry(const source *s, uint32_t prefix, uint32_t bits)
{
    const uint8_t *gap = code_at(s->one, prefix, 0);
    const uint8_t *number = code_at(s->one + DCF_ONE_BYTES, prefix, gap[1]);
    const uint32_t both = (uint32_t)gap[1] + number[1];
    if (gap[0] == s->filler) {
        return item(gap[1], s->background, gap[0], 0);
    }
    if (both > bits) {
        return item(gap[1] | DCF_ITEM_PENDING, s->background, gap[0], 0);
    }
    return item(both, number[0], gap[0], DCF_ITEM_STORED);
}

/* Digits of a run and the number after it, as many as there are bits. */
static uint32_t run_entry(const source *s, uint32_t prefix, uint32_t bits)
{
    const uint32_t alphabet = s->t->alphabet;
    const uint8_t *code = code_at(s->one, prefix, 0);
    uint32_t used = 0;
    uint32_t digits = 0;
    uint32_t run = 0;
    while (code[0] >= alphabet && digits < DIGITS_MOST && used + code[1] <= bits) {
        run += (code[0] - alphabet + 1U) << digits;
        digits++;
        used += code[1];
        code = code_at(s->one, prefix, used);
    }
    if (code[0] < alphabet && used + code[1] <= bits) {
        const uint32_t number = dcf_lookup_byte(s->t, code[0]);
        return item(used + code[1], number, run, DCF_ITEM_STORED | digits << 1);
    }
    return item(used, s->background, run, digits << 1);
}

/* Entry by entry; inlined with a constant layout. */
static inline void build_entries(const source *s, void *table, uint32_t layout)
{
    uint32_t prefix = 0;
    while (prefix < DCF_PREFIXES) {
        const int is_long = code_at(s->one, prefix, 0)[1] > s->bits;
        const uint32_t bits = is_long ? DCF_MAX_CODE_BITS : s->bits;
        const uint32_t end = prefix + ((uint32_t)1 << (DCF_MAX_CODE_BITS - bits));
        if (layout == DCF_LAYOUT_DENSE) {
            const uint64_t entry = many_entry(s, prefix, bits);
            for (; prefix < end; prefix++) {
                ((uint64_t *)table)[prefix] = entry;
            }
        } else {
            const uint32_t entry = layout == DCF_LAYOUT_GAP ? gap_entry(s, prefix, bits)
                                                            : run_entry(s, prefix, bits);
            for (; prefix < end; prefix++) {
                ((uint32_t *)table)[prefix] = entry;
            }
        }
    }
}

/* The half of a gap table for numbers whose gap is behind. */
static void build_pending(const source *s, uint32_t *table)
{
    uint32_t prefix;
    for (prefix = 0; prefix < DCF_PREFIXES; prefix++) {
        const uint8_t *number = code_at(s->one + DCF_ONE_BYTES, prefix, 0);
        table[prefix] = item(number[1], number[0], 0, DCF_ITEM_STORED);
    }
}

static void build_fast(const source *s, void *table)
{
    if (s->t->layout == DCF_LAYOUT_GAP) {
        build_entries(s, table, DCF_LAYOUT_GAP);
        build_pending(s, (uint32_t *)table + DCF_PREFIXES);
    } else if (s->t->layout == DCF_LAYOUT_RUN) {
        build_entries(s, table, DCF_LAYOUT_RUN);
    } else {
        build_entries(s, table, DCF_LAYOUT_DENSE);
    }
}

/* ---- all tables of a tensor ---- */

static int wants_fast(const dcf_tensor *t)
{
    return DCF_LITTLE_ENDIAN && t->symbols == 1 && t->elements >= FAST_FROM;
}

size_t dcf_lookup_bytes(const dcf_tensor *t)
{
    size_t bytes = (size_t)t->table_count * DCF_ONE_BYTES;
    if (t->table_count == 0 || t->elements < FEW) {
        return 0;
    }
    if (wants_fast(t)) {
        bytes += (size_t)t->classes * DCF_FAST_BYTES + DCF_FAST_ALIGN;
    }
    return bytes;
}

static void build_all_fast(const dcf_tensor *t)
{
    source s;
    uint32_t i;
    s.t = t;
    s.bits = bits_for(t->elements);
    s.filler = t->filler;
    s.background = dcf_lookup_byte(t, t->background);
    for (i = 0; i < t->classes; i++) {
        s.one = t->lookup + (size_t)i * dcf_streams(t) * DCF_ONE_BYTES;
        build_fast(&s, dcf_fast_tables(t) + (size_t)i * DCF_FAST_BYTES);
    }
}

void dcf_lookup_build(dcf_tensor *tensor, uint8_t *memory)
{
    uint32_t i;
    for (i = 0; i < tensor->table_count; i++) {
        build_one(tensor, memory + (size_t)i * DCF_ONE_BYTES,
                  tensor->codes + (size_t)i * tensor->code_stride);
    }
    tensor->lookup = memory;
    tensor->lookup_fast = (uint8_t)wants_fast(tensor);
    if (tensor->lookup_fast) {
        build_all_fast(tensor);
    }
}

#endif

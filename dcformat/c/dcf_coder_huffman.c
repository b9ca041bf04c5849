/* Canonical Huffman codes, most significant bit first. Spec: spec/encodings/coder_huffman.md.
 * Sister: dcformat/encodings/coder_huffman.py. */
#include "dcf_internal.h"

#if DCF_WITH_HUFFMAN

enum { WHOLE = 1 << DCF_MAX_CODE_BITS, HEADER_BITS = 24, ZEROS_MOST = 4 };

/* ---- tables ---- */

/* Code lengths while they are read; bits count from the entry's begin. Of a byte, NIBBLES begins
 * at the low half, DELTA at the top. */
typedef struct lengths {
    uint32_t bit; /* the next one */
    uint32_t bits;
    uint32_t last;
} lengths;

/* Exp-Golomb: z zero bits, then the z + 1 bits of value + 1. The length is 0 of a symbol that is
 * not in use. */
static int delta_length(const dcf_model *m, dcf_at entry, lengths *l, uint32_t *length)
{
    uint32_t word = DCF_BITS(m, entry + (l->bit >> 3)) << (l->bit & 7U);
    uint32_t zeros = 0;
    while (zeros <= ZEROS_MOST && !(word >> 31)) {
        word <<= 1;
        zeros++;
    }
    l->bit += zeros > ZEROS_MOST ? zeros : 2 * zeros + 1U;
    if (l->bit > l->bits) {
        return DCF_ERR_TRUNCATED;
    }
    if (zeros > ZEROS_MOST) {
        return DCF_ERR_CODE;
    }
    word >>= 31U - zeros;
    *length = 0;
    if (word == 2) {
        return DCF_OK;
    }
    /* below 1 wraps to a large number */
    l->last += (word & 1U) ? word >> 1 : 1U - (word >> 1);
    *length = l->last;
    return l->last - 1U < DCF_MAX_CODE_BITS ? DCF_OK : DCF_ERR_CODE;
}

static int nibble_length(const dcf_model *m, dcf_at entry, lengths *l, uint32_t *length)
{
    if (l->bit >= l->bits) {
        return DCF_ERR_TRUNCATED;
    }
    *length = (uint32_t)DCF_BYTE(m, entry + (l->bit >> 3)) >> (l->bit & 7U) & 15U;
    l->bit += 4;
    return *length <= DCF_MAX_CODE_BITS ? DCF_OK : DCF_ERR_CODE;
}

/* What stands before the lengths. */
static int lengths_begin(const dcf_model *m, dcf_at entry, dcf_at end, lengths *l)
{
    const uint32_t kind = DCF_BYTE(m, entry);
    uint32_t count;
    l->bits = (uint32_t)(end - entry) * 8U;
    l->bit = HEADER_BITS;
    l->last = 0;
    if (l->bits < HEADER_BITS) {
        return DCF_ERR_TRUNCATED;
    }
    count = DCF_BYTE(m, entry + 2) + 1U;
    if (DCF_BYTE(m, entry + 1) + count > DCF_MAX_SYMBOLS) {
        return DCF_ERR_STRUCTURE;
    }
    if (kind == DCF_TABLE_HUFFMAN_FLAT) {
        l->last = dcf_packed_bits(count);
        return ((uint32_t)1 << l->last) == count ? DCF_OK : DCF_ERR_CODE;
    }
    if (kind == DCF_TABLE_HUFFMAN_DELTA) {
        if (l->bits == HEADER_BITS) {
            return DCF_ERR_TRUNCATED;
        }
        l->bit += 8;
        l->last = DCF_BYTE(m, entry + 3);
        return l->last - 1U < DCF_MAX_CODE_BITS ? DCF_OK : DCF_ERR_CODE;
    }
    return DCF_OK;
}

/* What stands behind the lengths: zero bits up to a byte, and nothing else. */
static int lengths_end(const dcf_model *m, dcf_at entry, const lengths *l)
{
    const uint32_t used = l->bit & 7U;
    if (used != 0) {
        const uint32_t byte = DCF_BYTE(m, entry + (l->bit >> 3));
        const int delta = DCF_BYTE(m, entry) == DCF_TABLE_HUFFMAN_DELTA;
        if (((delta ? byte << used : byte >> used) & 0xFFU) != 0) {
            return DCF_ERR_PADDING;
        }
    }
    return ((l->bit + 7U) & ~7U) == l->bits ? DCF_OK : DCF_ERR_STRUCTURE;
}

DCF_LOCAL int dcf_huffman_lengths(const dcf_model *m, dcf_at entry, dcf_at end, uint16_t *counter,
                                  uint8_t *ranks, const dcf_tensor *map)
{
    lengths l;
    uint32_t symbol;
    uint32_t count;
    int err = lengths_begin(m, entry, end, &l);
    if (err != DCF_OK) {
        return err;
    }
    symbol = DCF_BYTE(m, entry + 1);
    for (count = DCF_BYTE(m, entry + 2) + 1U; count > 0; count--) {
        const uint32_t kind = DCF_BYTE(m, entry);
        uint32_t length = l.last;
        uint32_t at;
        if (kind == DCF_TABLE_HUFFMAN_NIBBLES) {
            err = nibble_length(m, entry, &l, &length);
        } else if (kind == DCF_TABLE_HUFFMAN_DELTA) {
            err = delta_length(m, entry, &l, &length);
        }
        if (err != DCF_OK) {
            return err;
        }
        if (length != 0 || kind == DCF_TABLE_HUFFMAN_FLAT) {
            at = counter[length]++;
            if (map) {
                dcf_number(map, symbol, ranks + at);
            } else if (ranks) {
                ranks[at] = (uint8_t)symbol;
            }
        }
        symbol++;
    }
    return lengths_end(m, entry, &l);
}

DCF_LOCAL int dcf_huffman_check(const dcf_model *m, dcf_at entry, dcf_at end)
{
    uint16_t counter[DCF_MAX_CODE_BITS + 1];
    uint32_t sum = 0;
    uint32_t i;
    int err;
    dcf_clear(counter, sizeof counter);
    err = dcf_huffman_lengths(m, entry, end, counter, NULL, NULL);
    for (i = 0; i <= DCF_MAX_CODE_BITS; i++) {
        sum += (uint32_t)counter[i] << (DCF_MAX_CODE_BITS - i);
    }
    return err == DCF_OK && sum != WHOLE ? DCF_ERR_CODE : err;
}

/* ---- codes ---- */

DCF_LOCAL uint32_t dcf_huffman_search(const uint16_t *fast, uint32_t prefix, uint32_t length)
{
    const dcf_code *code = (const dcf_code *)(const void *)fast - 1;
    while (prefix >= code->limit[length - 1U]) {
        length++;
    }
    prefix = (prefix >> (DCF_MAX_CODE_BITS - length)) + code->shift[length - 1U];
    return length | (uint32_t)((const uint8_t *)fast)[prefix & 0xFFFFU] << 8;
}

/* Turn counts of lengths into where the ranks of each begin; the first is `place` bytes behind. */
DCF_APART static void limits(dcf_code *code, uint16_t *counter, uint32_t place)
{
    uint32_t first = 0;
    uint32_t rank = 0;
    uint32_t i;
    for (i = 1; i <= DCF_MAX_CODE_BITS; i++) {
        const uint32_t count = counter[i];
        code->limit[i - 1U] = (uint16_t)((first + count) << (DCF_MAX_CODE_BITS - i));
        code->shift[i - 1U] = (uint16_t)(place + rank - first);
        counter[i] = (uint16_t)rank;
        rank += count;
        first = (first + count) << 1;
    }
}

static void build(const dcf_tensor *t, uint32_t index, uint8_t *memory)
{
    const uint32_t fast_bits = 32U - t->shift;
    dcf_code *code = (dcf_code *)(void *)memory;
    uint16_t *fast = (uint16_t *)(void *)(code + 1);
    uint8_t *ranks = (uint8_t *)(fast + ((size_t)1 << fast_bits));
    uint16_t counter[DCF_MAX_CODE_BITS + 1];
    const dcf_tensor *map = DCF_MAPPED(t) && (t->layout != DCF_LAYOUT_GAP || (index & 1U)) ? t : NULL;
    dcf_at end;
    const dcf_at entry = dcf_table_entry(t->model, DCF_U16(t->model, t->table_ids + 2 * index), &end);
    uint32_t length = 1;
    uint32_t one;
    uint32_t i;
    dcf_clear(counter, sizeof counter);
    dcf_huffman_lengths(t->model, entry, end, counter, NULL, NULL);
    one = counter[0]; /* a symbol without bits */
    counter[0] = 0;
    limits(code, counter, 2U << fast_bits);
    dcf_huffman_lengths(t->model, entry, end, counter, ranks, map);
    for (i = 0; i >> fast_bits == 0; i++) {
        uint32_t item = (uint32_t)ranks[0] << 8;
        if (!one) {
            item = dcf_huffman_search(fast, i << (DCF_MAX_CODE_BITS - fast_bits), length);
            length = item & DCF_LENGTH; /* of the next one no less */
            if (length > fast_bits) {
                item = DCF_LONG | length << 8;
            }
        }
        fast[i] = (uint16_t)item;
    }
}

DCF_LOCAL void dcf_huffman_build(dcf_tensor *t, uint8_t *memory)
{
    uint32_t i;
    t->codes = (const uint16_t *)(const void *)(memory + sizeof(dcf_code));
    for (i = 0; i < t->table_count; i++) {
        build(t, i, memory);
        memory += 2U * (size_t)t->code_stride;
    }
}

/* ---- fields ---- */

DCF_LOCAL int dcf_huffman_fields(dcf_record *r)
{
    dcf_tensor *t = r->tensor;
    const uint32_t gap = t->layout == DCF_LAYOUT_GAP;
    const uint32_t streams = t->symbols + gap;
    uint32_t stream = 0;
    uint32_t word = 0;
    uint32_t i;
    t->table_ids = r->at;
    t->table_count = (uint8_t)(streams * t->classes);
    for (i = 0; i < t->table_count; i++) {
        uint32_t below = t->alphabet;
        uint32_t last;
        dcf_at entry;
        int err;
        word >>= 16;
        if ((i & 1U) == 0) {
            word = dcf_word(r);
        }
        err = dcf_table_named(t->model, word & 0xFFFFU, 0, &entry);
        if (err != DCF_OK) {
            return err;
        }
        if (t->layout == DCF_LAYOUT_RUN) {
            below += 2;
        }
        if (stream < gap) {
            below = t->highest_gap + 1U;
        }
        last = DCF_BYTE(t->model, entry + 1) + (uint32_t)DCF_BYTE(t->model, entry + 2);
        if (last >= below) {
            return DCF_ERR_STRUCTURE;
        }
        if (t->longest_table <= DCF_BYTE(t->model, entry + 2)) {
            t->longest_table = (uint16_t)(DCF_BYTE(t->model, entry + 2) + 1U);
        }
        stream = stream + 1U == streams ? 0 : stream + 1U;
    }
    return (i & 1U) && word >> 16 != 0 ? DCF_ERR_PADDING : DCF_OK;
}

#elif !defined(DCF_ONE_FILE)

typedef int dcf_no_coder_huffman; /* ISO C wants something in every file */

#endif

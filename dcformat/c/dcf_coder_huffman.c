/* Canonical Huffman codes, most significant bit first. Spec: spec/encodings/coder_huffman.md.
 * Sister: dcformat/encodings/coder_huffman.py. */
#include "dcf_internal.h"

#ifndef DCF_NO_HUFFMAN

enum { NOT_IN_USE = 0xFF, WHOLE = 1 << DCF_MAX_CODE_BITS };

/* DCF_WORKSPACE_BYTES counts with this size. */
typedef char dcf_code_has_its_size[sizeof(dcf_code) == DCF_CODE_HEADER ? 1 : -1];

/* Code lengths of an entry, one symbol after the other. */
typedef struct lengths {
    const uint8_t *data; /* behind the entry's header */
    size_t size;
    size_t bit; /* the next one; of a byte, NIBBLES begins at the low half, DELTA at the top */
    uint32_t kind;
    uint32_t last;
} lengths;

static int delta_bit(lengths *l, uint32_t *bit)
{
    if (l->bit >> 3 >= l->size) {
        return DCF_ERR_TRUNCATED;
    }
    *bit = ((uint32_t)l->data[l->bit >> 3] >> (7U - (l->bit & 7U))) & 1U;
    l->bit++;
    return DCF_OK;
}

/* Exp-Golomb: z zero bits, then the z + 1 bits of value + 1. */
static int delta_value(lengths *l, uint32_t *value)
{
    uint32_t zeros = 0;
    uint32_t bit;
    uint32_t bits = 1;
    int err = delta_bit(l, &bit);
    while (err == DCF_OK && bit == 0) {
        zeros++;
        if (zeros > 4) {
            return DCF_ERR_CODE;
        }
        err = delta_bit(l, &bit);
    }
    for (; err == DCF_OK && zeros > 0; zeros--) {
        err = delta_bit(l, &bit);
        bits = (bits << 1) | bit;
    }
    *value = bits - 1U;
    return err;
}

static int delta_length(lengths *l, uint32_t *length)
{
    uint32_t value;
    const int err = delta_value(l, &value);
    if (err != DCF_OK) {
        return err;
    }
    if (value == 1) {
        *length = NOT_IN_USE;
        return DCF_OK;
    }
    /* below 1 wraps to a large number */
    l->last += (value & 1U) ? 0U - (value - 1U) / 2U : value / 2U;
    *length = l->last;
    return l->last - 1U < DCF_MAX_CODE_BITS ? DCF_OK : DCF_ERR_CODE;
}

static int nibble_length(lengths *l, uint32_t *length)
{
    if (l->bit >> 3 >= l->size) {
        return DCF_ERR_TRUNCATED;
    }
    *length = ((uint32_t)l->data[l->bit >> 3] >> (l->bit & 7U)) & 15U;
    l->bit += 4;
    if (*length == 0) {
        *length = NOT_IN_USE;
        return DCF_OK;
    }
    return *length <= DCF_MAX_CODE_BITS ? DCF_OK : DCF_ERR_CODE;
}

static int next_length(lengths *l, uint32_t *length)
{
    if (l->kind == DCF_TABLE_HUFFMAN_NIBBLES) {
        return nibble_length(l, length);
    }
    if (l->kind == DCF_TABLE_HUFFMAN_DELTA) {
        return delta_length(l, length);
    }
    *length = l->last;
    return DCF_OK;
}

/* Read the header of an entry, which has at least three bytes. */
static int lengths_begin(lengths *l, const uint8_t *entry, size_t bytes)
{
    const uint32_t count = entry[2] + 1U;
    l->kind = entry[0];
    l->data = entry + 3;
    l->size = bytes - 3;
    l->bit = 0;
    l->last = 0;
    if (l->kind == DCF_TABLE_HUFFMAN_FLAT) {
        l->last = dcf_packed_bits(count);
        return ((uint32_t)1 << l->last) == count ? DCF_OK : DCF_ERR_CODE;
    }
    if (l->kind == DCF_TABLE_HUFFMAN_DELTA) {
        if (l->size < 1) {
            return DCF_ERR_TRUNCATED;
        }
        l->last = entry[3];
        l->data++;
        l->size--;
        return l->last - 1U < DCF_MAX_CODE_BITS ? DCF_OK : DCF_ERR_CODE;
    }
    return DCF_OK;
}

/* What stands behind the lengths: zero bits up to a byte, and nothing else. */
static int lengths_end(const lengths *l)
{
    const uint32_t used = (uint32_t)(l->bit & 7U);
    if (used != 0) {
        const uint32_t byte = l->data[l->bit >> 3];
        const uint32_t spare = l->kind == DCF_TABLE_HUFFMAN_DELTA ? byte << used : byte >> used;
        if ((spare & 0xFFU) != 0) {
            return DCF_ERR_PADDING;
        }
    }
    return (l->bit + 7U) >> 3 == l->size ? DCF_OK : DCF_ERR_STRUCTURE;
}

int dcf_huffman_entry_check(const uint8_t *entry, size_t bytes)
{
    lengths l;
    uint32_t sum = 0;
    uint32_t i;
    int err;
    if (bytes < 3) {
        return DCF_ERR_TRUNCATED;
    }
    if (entry[1] + entry[2] + 1U > DCF_MAX_SYMBOLS) {
        return DCF_ERR_STRUCTURE;
    }
    err = lengths_begin(&l, entry, bytes);
    for (i = 0; err == DCF_OK && i <= entry[2]; i++) {
        uint32_t length;
        err = next_length(&l, &length);
        if (err == DCF_OK && length != NOT_IN_USE) {
            sum += (uint32_t)WHOLE >> length;
        }
    }
    if (err == DCF_OK) {
        err = lengths_end(&l);
    }
    if (err == DCF_OK && sum != WHOLE) {
        err = DCF_ERR_CODE;
    }
    return err;
}

/* Count the symbols of each length. The entry was checked: an error only ends the loop. */
static void count_lengths(const uint8_t *entry, size_t bytes, uint16_t *count)
{
    lengths l;
    uint32_t i;
    int err = lengths_begin(&l, entry, bytes);
    for (i = 0; i <= DCF_MAX_CODE_BITS; i++) {
        count[i] = 0;
    }
    for (i = 0; err == DCF_OK && i <= entry[2]; i++) {
        uint32_t length;
        err = next_length(&l, &length);
        if (err == DCF_OK && length != NOT_IN_USE) {
            count[length]++;
        }
    }
}

void dcf_huffman_build(dcf_code *code, const uint8_t *entry, size_t bytes)
{
    uint16_t next[DCF_MAX_CODE_BITS + 1];
    uint8_t *ranks = (uint8_t *)(code + 1);
    lengths l;
    uint32_t first = 0;
    uint32_t rank = 0;
    uint32_t i;
    int err;
    count_lengths(entry, bytes, next);
    code->shortest = DCF_MAX_CODE_BITS + 1;
    code->spare = 0;
    for (i = 0; i <= DCF_MAX_CODE_BITS; i++) {
        const uint32_t count = next[i];
        if (count != 0 && code->shortest > i) {
            code->shortest = (uint16_t)i;
        }
        code->limit[i] = (uint16_t)((first + count) << (DCF_MAX_CODE_BITS - i));
        code->shift[i] = (uint16_t)(rank - first);
        next[i] = (uint16_t)rank;
        rank += count;
        first = (first + count) << 1;
    }
    err = lengths_begin(&l, entry, bytes);
    for (i = 0; err == DCF_OK && i <= entry[2]; i++) {
        uint32_t length;
        err = next_length(&l, &length);
        if (err == DCF_OK && length != NOT_IN_USE) {
            ranks[next[length]++] = (uint8_t)(entry[1] + i);
        }
    }
}

/* One table index of a record. */
static int table_field(dcf_tensor *t, uint32_t index, uint32_t stream)
{
    const uint8_t *entry;
    const int err = dcf_table_named(t->model, index, 0, &entry);
    if (err != DCF_OK) {
        return err;
    }
    if (entry[1] + (uint32_t)entry[2] >= dcf_stream_alphabet(t, stream)) {
        return DCF_ERR_STRUCTURE;
    }
    if (entry[2] + 1U > t->longest_table) {
        t->longest_table = (uint16_t)(entry[2] + 1U);
    }
    return DCF_OK;
}

int dcf_huffman_fields(dcf_record *record)
{
    dcf_tensor *t = record->tensor;
    const uint32_t streams = dcf_streams(t);
    const uint8_t *field;
    uint32_t i;
    t->table_ids = record->fields.data;
    t->table_count = (uint16_t)(streams * t->classes);
    for (i = 0; i < t->table_count; i++) {
        int err;
        field = dcf_take(&record->fields, 2);
        if (!field) {
            return DCF_ERR_TRUNCATED;
        }
        err = table_field(t, dcf_u16(field), i % streams);
        if (err != DCF_OK) {
            return err;
        }
    }
    if (t->table_count & 1U) {
        field = dcf_take(&record->fields, 2);
        if (!field) {
            return DCF_ERR_TRUNCATED;
        }
        return dcf_u16(field) == 0 ? DCF_OK : DCF_ERR_PADDING;
    }
    return DCF_OK;
}

int dcf_huffman_symbol(dcf_cursor *cursor, uint32_t stream, uint32_t *symbol)
{
    const uint8_t *at = cursor->codes + stream * cursor->tensor->code_bytes;
    const dcf_code *code = (const dcf_code *)(const void *)at;
    dcf_bits *b = &cursor->bits;
    uint32_t prefix;
    uint32_t length = code->shortest;
    if (b->have < DCF_MAX_CODE_BITS) {
        while (b->have <= 24 && b->pos < b->size) {
            b->acc |= (uint32_t)b->data[b->pos++] << (24U - b->have);
            b->have += 8;
        }
    }
    /* past the block's end the prefix is filled with zeros: a code that needs them is longer
     * than what is left */
    prefix = b->acc >> (32 - DCF_MAX_CODE_BITS);
    while (prefix >= code->limit[length]) {
        length++;
    }
    if (length > b->have) {
        return DCF_ERR_TRUNCATED;
    }
    *symbol = dcf_ranks(code)[((prefix >> (DCF_MAX_CODE_BITS - length)) + code->shift[length]) &
                              0xFFFFU];
    b->acc <<= length;
    b->have -= length;
    return DCF_OK;
}

#endif

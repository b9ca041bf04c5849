/* Lookup tables and long steps for hosts. Only built with DCF_HOST=1.
 *
 * Spec: spec/encodings/coder_huffman.md, spec/encodings/coder_packed.md. What uses the tables:
 * dcf_host_lanes.c.
 */
#include "dcf_internal.h"

#if DCF_HOST

enum {
    FEW = 1024,        /* elements below which tables cost more than they save */
    MANY_FROM = 16384, /* and for the larger tables */
    MANY_BITS = 6      /* mean bits of a code up to which they are faster */
};

/* ---- tables ---- */

/* May tables that give several numbers at once serve? */
static int may_want_many(const dcf_tensor *t)
{
    return t->layout == DCF_LAYOUT_DENSE && dcf_lookup_direct(t) && t->elements >= MANY_FROM;
}

size_t dcf_lookup_bytes(const dcf_tensor *tensor)
{
    size_t bytes;
    if (tensor->table_count == 0 || tensor->elements < FEW) {
        return 0;
    }
    bytes = (size_t)tensor->table_count * DCF_ONE_BYTES;
    if (may_want_many(tensor)) {
        bytes += (size_t)tensor->table_count * DCF_MANY_BYTES;
    }
    return bytes;
}

/* Returns the mean length of a code, in 1 / 4096 bits. */
static uint32_t build_one(uint8_t *table, const dcf_code *code)
{
    uint32_t length = code->shortest;
    uint32_t sum = 0;
    uint32_t prefix;
    for (prefix = 0; prefix < DCF_PREFIXES; prefix++) {
        while (prefix >= code->limit[length]) {
            length++;
        }
        table[2 * prefix] = dcf_ranks(code)[((prefix >> (DCF_MAX_CODE_BITS - length)) +
                                             code->shift[length]) & 0xFFFFU];
        table[2 * prefix + 1] = (uint8_t)length;
        sum += length;
    }
    return sum;
}

/* Replace symbols by numbers, where these are bytes too. */
static void make_direct(uint8_t *table, const dcf_tensor *t)
{
    uint32_t prefix;
    for (prefix = 0; prefix < DCF_PREFIXES; prefix++) {
        dcf_number(t, table[2 * prefix], table + 2 * prefix);
    }
}

/* Each prefix gives the numbers of as many whole codes as it holds; at least one. */
static void build_many(uint8_t *table, const uint8_t *one)
{
    uint32_t prefix;
    for (prefix = 0; prefix < DCF_PREFIXES; prefix++) {
        uint8_t *entry = table + 8 * prefix;
        uint32_t count = 0;
        uint32_t used = 0;
        while (count < DCF_MANY_MOST) {
            const uint8_t *next = one + 2 * ((prefix << used) & (DCF_PREFIXES - 1U));
            if (used + next[1] > DCF_MAX_CODE_BITS) {
                break;
            }
            used += next[1];
            entry[count] = next[0];
            count++;
        }
        memset(entry + count, 0, DCF_MANY_MOST - count);
        entry[DCF_MANY_MOST] = (uint8_t)(count | (used << 3));
    }
}

void dcf_lookup_build(dcf_tensor *tensor, uint8_t *memory)
{
    uint8_t *many = memory + (size_t)tensor->table_count * DCF_ONE_BYTES;
    const uint32_t streams = dcf_streams(tensor);
    uint32_t sum = 0;
    uint32_t i;
    for (i = 0; i < tensor->table_count; i++) {
        const uint8_t *at = tensor->codes + i * tensor->code_bytes;
        uint8_t *one = memory + (size_t)i * DCF_ONE_BYTES;
        sum += build_one(one, (const dcf_code *)(const void *)at);
        if (dcf_lookup_direct(tensor) && i % streams == streams - 1U) {
            make_direct(one, tensor);
        }
    }
    tensor->lookup = memory;
    tensor->lookup_many =
        may_want_many(tensor) && sum <= MANY_BITS * DCF_PREFIXES * (uint32_t)tensor->table_count;
    for (i = 0; tensor->lookup_many && i < tensor->table_count; i++) {
        build_many(many + (size_t)i * DCF_MANY_BYTES, memory + (size_t)i * DCF_ONE_BYTES);
    }
}

/* ---- background ---- */

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

/* ---- layout_dense, coder_packed ---- */

/* Numbers of several bytes stand in the block as they are. */
static size_t packed_wide(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const uint32_t width = cursor->tensor->width;
    dcf_bits *b = &cursor->bits;
    const size_t there = (b->size - b->pos) / width;
    const size_t n = count < there ? count : there;
    memcpy(out, b->data + b->pos, n * width);
    b->pos += n * width;
    return n;
}

/* Eight symbols at a time take as many bytes as one takes bits; `number` maps them. A symbol
 * outside the alphabet is left to the careful loop. */
static size_t packed_narrow(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const dcf_tensor *t = cursor->tensor;
    dcf_bits *b = &cursor->bits;
    const uint32_t bits = t->symbol_bits;
    const uint32_t mask = ((uint32_t)1 << bits) - 1U;
    const int32_t base = t->base;
    size_t i = 0;
    while (count - i >= 8 && b->size - b->pos >= 8) {
        uint64_t word = dcf_u64(b->data + b->pos);
        uint32_t most = 0;
        int j;
        for (j = 0; j < 8; j++) {
            const uint32_t symbol = (uint32_t)word & mask;
            most = symbol > most ? symbol : most;
            out[i + (size_t)j] = (uint8_t)(symbol + (uint32_t)base);
            word >>= bits;
        }
        if (most >= t->alphabet) {
            break;
        }
        b->pos += bits;
        i += 8;
    }
    return i;
}

static size_t packed_levels(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const dcf_tensor *t = cursor->tensor;
    dcf_bits *b = &cursor->bits;
    const uint32_t bits = t->symbol_bits;
    const uint32_t mask = ((uint32_t)1 << bits) - 1U;
    size_t i = 0;
    while (count - i >= 8 && b->size - b->pos >= 8) {
        uint64_t word = dcf_u64(b->data + b->pos);
        int j;
        for (j = 0; j < 8; j++) {
            const uint32_t symbol = (uint32_t)word & mask;
            if (symbol >= t->alphabet) {
                return i;
            }
            dcf_put(t, symbol, out + (i + (size_t)j) * t->width);
            word >>= bits;
        }
        b->pos += bits;
        i += 8;
    }
    return i;
}

size_t dcf_host_packed(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const dcf_tensor *t = cursor->tensor;
    size_t done = 0;
    if (t->coder != DCF_CODER_PACKED || cursor->bits.have != 0) {
        return 0;
    }
    if (t->symbols > 1) {
        done = packed_wide(cursor, out, count);
    } else if (t->levels) {
        done = packed_levels(cursor, out, count);
    } else {
        done = packed_narrow(cursor, out, count);
    }
    cursor->left -= done;
    return done;
}

#endif

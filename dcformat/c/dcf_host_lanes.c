/* Fast loops for hosts, a symbol at a time: for what a cursor asks for, and for elements of several
 * symbols, of these four blocks in flight. They give what the careful loops give, and stop before
 * anything that those would have to judge: the last eight bytes of a block, and distances that
 * reach its end. Whole tensors of one symbol are in dcf_host_blocks.c. Only built with DCF_HOST=1.
 *
 * Spec: spec/encodings/coder_huffman.md and those of the layouts.
 */
#include "dcf_internal.h"

#if DCF_HOST

enum {
    LANES = 4,
    ROUND = 4 /* codes of 12 bits in the 57 that a load gives at least */
};

typedef enum kind { DIRECT, NUMBERS, WIDE, GAP, GAP_WIDE, RUN } kind;

/* A block while it is decoded fast. `last` is the last bit at which eight bytes are left, and
 * `bit` that of the next code; `filler` a gap that no element follows, or none. */
typedef struct lane {
    const uint8_t *data;
    uint64_t bit;
    uint64_t last;
    int some; /* there are eight bytes at all */
    const uint8_t *tables;
    uint8_t *out;
    size_t left;
    uint32_t filler;
    uint32_t digit;
} lane;

static kind kind_of(const dcf_tensor *t)
{
    if (t->layout == DCF_LAYOUT_RUN) {
        return RUN;
    }
    if (t->layout == DCF_LAYOUT_GAP) {
        return t->symbols == 1 ? GAP : GAP_WIDE;
    }
    if (t->symbols > 1) {
        return WIDE;
    }
    return t->mapped ? DIRECT : NUMBERS;
}

/* ---- bits ---- */

static inline int ready(const lane *l)
{
    return l->some && l->bit <= l->last;
}

/* The next 57 bits or more, from the top. */
static inline uint64_t load(const lane *l, uint64_t bit)
{
    const uint8_t *p = l->data + (bit >> 3);
    const uint64_t word = (uint64_t)p[7] | (uint64_t)p[6] << 8 | (uint64_t)p[5] << 16 |
                          (uint64_t)p[4] << 24 | (uint64_t)p[3] << 32 | (uint64_t)p[2] << 40 |
                          (uint64_t)p[1] << 48 | (uint64_t)p[0] << 56;
    return word << (bit & 7U);
}

/* Take one symbol from `bits` at the top. */
static inline uint32_t take(const uint8_t *table, uint64_t *bits, uint64_t *used)
{
    const uint8_t *entry = table + 2U * (size_t)(*bits >> (64 - DCF_MAX_CODE_BITS));
    *bits <<= entry[1];
    *used += entry[1];
    return entry[0];
}

/* ---- rounds: a few symbols; 0 where the careful loop must go on ---- */

static inline int dense_round(lane *l, const dcf_tensor *t, int direct)
{
    uint64_t bits;
    int i;
    if (l->left < ROUND || !ready(l)) {
        return 0;
    }
    bits = load(l, l->bit);
    for (i = 0; i < ROUND; i++) {
        const uint32_t symbol = take(l->tables, &bits, &l->bit);
        if (direct) {
            *l->out++ = (uint8_t)symbol;
        } else {
            dcf_put(t, symbol, l->out);
            l->out += t->width;
        }
    }
    l->left -= ROUND;
    return 1;
}

/* The symbols of one element to l->out, from `bit` on; 0 and no change where bytes run out. */
static inline int wide_element(lane *l, const uint8_t *tables, uint64_t bit, uint32_t symbols)
{
    const uint64_t before = l->bit;
    uint64_t bits = 0;
    uint32_t j;
    l->bit = bit;
    for (j = 0; j < symbols; j++) {
        if (j % ROUND == 0) {
            if (!ready(l)) {
                l->bit = before;
                return 0;
            }
            bits = load(l, l->bit);
        }
        l->out[j] = (uint8_t)take(tables + (size_t)j * DCF_ONE_BYTES, &bits, &l->bit);
    }
    l->out += symbols;
    l->left--;
    return 1;
}

static inline int wide_round(lane *l, const dcf_tensor *t)
{
    if (l->left == 0) {
        return 0;
    }
    /* constants, so that the common widths become straight code */
    if (t->symbols == 4) {
        return wide_element(l, l->tables, l->bit, 4);
    }
    return wide_element(l, l->tables, l->bit, t->symbols == 2 ? 2U : t->symbols);
}

/* Two gaps and their elements. */
static inline int gap_round(lane *l, const dcf_tensor *t, int direct)
{
    uint64_t bits;
    int i;
    if (!ready(l)) {
        return 0;
    }
    bits = load(l, l->bit);
    for (i = 0; i < ROUND / 2; i++) {
        uint64_t used = 0;
        const uint32_t gap = take(l->tables, &bits, &used);
        uint32_t symbol;
        if (gap >= l->left) {
            return 0;
        }
        l->bit += used;
        l->left -= gap;
        l->out += (size_t)gap * t->width;
        if (gap == l->filler) {
            continue;
        }
        symbol = take(l->tables + DCF_ONE_BYTES, &bits, &l->bit);
        if (direct) {
            *l->out++ = (uint8_t)symbol;
        } else {
            dcf_put(t, symbol, l->out);
            l->out += t->width;
        }
        l->left--;
    }
    return 1;
}

static inline int gap_wide_round(lane *l, const dcf_tensor *t)
{
    const uint64_t before = l->bit;
    uint64_t bits;
    uint64_t used = 0;
    uint32_t gap;
    if (!ready(l)) {
        return 0;
    }
    bits = load(l, before);
    gap = take(l->tables, &bits, &used);
    if (gap >= l->left) {
        return 0;
    }
    l->left -= gap;
    l->out += (size_t)gap * t->width;
    if (gap == l->filler) {
        l->bit += used;
        return 1;
    }
    if (!wide_element(l, l->tables + DCF_ONE_BYTES, before + used, t->symbols)) {
        l->left += gap;
        l->out -= (size_t)gap * t->width;
        return 0;
    }
    return 1;
}

static inline int run_round(lane *l, const dcf_tensor *t)
{
    uint64_t bits;
    int i;
    if (!ready(l)) {
        return 0;
    }
    bits = load(l, l->bit);
    for (i = 0; i < ROUND; i++) {
        uint64_t used = 0;
        const uint32_t symbol = take(l->tables, &bits, &used);
        size_t times;
        if (symbol < t->alphabet) {
            if (l->left == 0) {
                return 0;
            }
            dcf_put(t, symbol, l->out);
            times = 1;
            l->digit = 0;
        } else {
            times = symbol - t->alphabet + 1U;
            if (times > l->left >> l->digit) {
                return 0;
            }
            times <<= l->digit;
            l->digit++;
        }
        l->bit += used;
        l->out += times * t->width;
        l->left -= times;
    }
    return 1;
}

static inline int a_round(lane *l, const dcf_tensor *t, kind k, int direct)
{
    switch (k) {
    case DIRECT:
    case NUMBERS:
        return dense_round(l, t, direct);
    case WIDE:
        return wide_round(l, t);
    case GAP:
        return gap_round(l, t, direct);
    case GAP_WIDE:
        return gap_wide_round(l, t);
    case RUN:
        return run_round(l, t);
    }
    return 0;
}

/* ---- lanes ---- */

/* Run lanes until one must stop. Inlined with constants, a loop for each kind and number. */
static inline void drive(lane *l, const dcf_tensor *t, int lanes, kind k, int direct)
{
    /* copies, which a compiler can keep in registers: bytes that are written may alias *l */
    lane a = l[0];
    if (lanes == 1) {
        while (a_round(&a, t, k, direct)) {
        }
    } else {
        lane b = l[1];
        lane c = l[2];
        lane d = l[3];
        while (a_round(&a, t, k, direct) && a_round(&b, t, k, direct) &&
               a_round(&c, t, k, direct) && a_round(&d, t, k, direct)) {
        }
        l[1] = b;
        l[2] = c;
        l[3] = d;
    }
    l[0] = a;
}

static void drive_kind(lane *l, const dcf_tensor *t)
{
    const int direct = t->mapped;
    switch (kind_of(t)) {
    case DIRECT:
        drive(l, t, 1, DIRECT, 1);
        break;
    case NUMBERS:
        drive(l, t, 1, NUMBERS, 0);
        break;
    case WIDE:
        drive(l, t, 1, WIDE, 0);
        break;
    case GAP:
        if (direct) {
            drive(l, t, 1, GAP, 1);
        } else {
            drive(l, t, 1, GAP, 0);
        }
        break;
    case GAP_WIDE:
        drive(l, t, 1, GAP_WIDE, 0);
        break;
    case RUN:
        drive(l, t, 1, RUN, 0);
        break;
    }
}

static void lane_begin(lane *l, const dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const dcf_tensor *t = cursor->tensor;
    l->data = cursor->data;
    l->bit = cursor->bit;
    l->some = cursor->size >= 8;
    l->last = l->some ? (uint64_t)(cursor->size - 8U) * 8U + 7U : 0;
    l->tables = t->lookup + (size_t)cursor->code * DCF_ONE_BYTES;
    l->out = out;
    l->left = count;
    l->filler = t->filler;
    l->digit = cursor->digit;
    if (t->layout != DCF_LAYOUT_DENSE && ready(l)) {
        dcf_host_fill(t, out, count);
    }
}

/* Give the place back to the careful reader; returns how many of `count` elements are done. */
static size_t lane_end(const lane *l, dcf_cursor *cursor, size_t count)
{
    const size_t done = count - l->left;
    cursor->bit = (dcf_size)l->bit;
    cursor->digit = (uint8_t)l->digit;
    cursor->left -= done;
    return done;
}

size_t dcf_host_elements(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    lane l;
    lane_begin(&l, cursor, out, count);
    drive_kind(&l, cursor->tensor);
    return lane_end(&l, cursor, count);
}

/* Decode blocks `block` to `block` + 3 side by side until one of them comes near its end, then
 * each to its end. */
static int four_blocks(const dcf_tensor *tensor, size_t block, uint8_t *out)
{
    const size_t step = (size_t)tensor->block_rows * tensor->columns * tensor->width;
    dcf_cursor cursors[LANES];
    lane lanes[LANES];
    size_t i;
    for (i = 0; i < LANES; i++) {
        cursors[i].tensor = tensor;
        cursors[i].block = block + i;
        dcf_block_enter(&cursors[i]);
        lane_begin(&lanes[i], &cursors[i], out + i * step, cursors[i].left);
    }
    if (tensor->layout == DCF_LAYOUT_GAP) {
        drive(lanes, tensor, LANES, GAP_WIDE, 0);
    } else {
        drive(lanes, tensor, LANES, WIDE, 0);
    }
    for (i = 0; i < LANES; i++) {
        const size_t done = lane_end(&lanes[i], &cursors[i], cursors[i].left);
        if (dcf_block_finish(&cursors[i], out + i * step + done * tensor->width) != DCF_OK) {
            return 0;
        }
    }
    return 1;
}

int dcf_host_wide(const dcf_tensor *tensor, size_t block, size_t stop, uint8_t *out)
{
    const size_t step = (size_t)tensor->block_rows * tensor->columns * tensor->width;
    for (; stop - block >= LANES; block += LANES) {
        if (!four_blocks(tensor, block, out)) {
            return 0;
        }
        out += LANES * step;
    }
    for (; block < stop; block++) {
        dcf_cursor cursor;
        cursor.tensor = tensor;
        cursor.block = block;
        dcf_block_enter(&cursor);
        if (dcf_block_finish(&cursor, out) != DCF_OK) {
            return 0;
        }
        out += step;
    }
    return 1;
}

#endif

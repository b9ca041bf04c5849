/* Blocks of elements of one symbol, four in flight. Only built with DCF_HOST=1.
 *
 * A lane decodes a block through tables that give several symbols at once. It judges nothing: at
 * anything that is not as it should be the blocks are given up, and the plain decoder says what is
 * wrong. A load takes eight bytes from inside a block or from its end on; that many follow every
 * block in the file. Spec: spec/encodings/coder_huffman.md and those of the layouts.
 */
#include "dcf_internal.h"

#if DCF_HOST && DCF_LITTLE_ENDIAN

enum {
    LANES = 4,
    ROUND = 4,                               /* codes of 12 bits in the 57 that a load gives */
    ROUND_MOST = 7 * (ROUND - 1) + 8,        /* bytes that a round of dense numbers may write */
    TOP = 64 - DCF_MAX_CODE_BITS
};

/* A block while it is decoded. Bits count from the tensor's first block, bytes from `out`. */
typedef struct lane {
    uint64_t bit;
    uint64_t end_bit;
    uint64_t at;
    uint64_t end;
    uint32_t digit;   /* layout_run: weight of the next digit */
    uint32_t pending; /* layout_gap: 0, or where the half of the table is that comes next */
    const uint8_t *one;
    const uint8_t *fast;
} lane;

/* A tensor while it is decoded: a byte for each element, a number or the symbol of a level. */
typedef struct job {
    const dcf_tensor *t;
    const uint8_t *coded;
    uint8_t *out;
    size_t block;    /* the next one */
    size_t stop;     /* the one after the last */
    uint64_t before; /* elements before `out` */
    uint8_t background;
} job;

/* ---- bits ---- */

/* The next 57 bits or more, from the top. */
static inline uint64_t load(const uint8_t *coded, uint64_t bit)
{
    const uint8_t *p = coded + (bit >> 3);
    const uint64_t word = (uint64_t)p[7] | (uint64_t)p[6] << 8 | (uint64_t)p[5] << 16 |
                          (uint64_t)p[4] << 24 | (uint64_t)p[3] << 32 | (uint64_t)p[2] << 40 |
                          (uint64_t)p[1] << 48 | (uint64_t)p[0] << 56;
    return word << (bit & 7U);
}

/* Take one symbol; 0 where the block's bits have run out. */
static int take(const job *j, lane *l, const uint8_t *one, uint32_t *symbol)
{
    const uint8_t *entry;
    if (l->bit > l->end_bit) {
        return 0;
    }
    entry = one + 2U * (size_t)(load(j->coded, l->bit) >> TOP);
    l->bit += entry[1];
    *symbol = entry[0];
    return l->bit <= l->end_bit;
}

/* ---- rounds: a few symbols; 0 where the lane's end must be done with care ---- */

static inline int dense_round(const job *j, lane *l)
{
    uint64_t bits;
    int i;
    if (l->end - l->at < ROUND_MOST || l->bit > l->end_bit) {
        return 0;
    }
    bits = load(j->coded, l->bit);
    for (i = 0; i < ROUND; i++) {
        uint64_t entry;
        memcpy(&entry, l->fast + 8U * (size_t)(bits >> TOP), 8);
        memcpy(j->out + l->at, &entry, 8);
        l->at += (entry >> 56) & 7U;
        bits <<= entry >> 59;
        l->bit += entry >> 59;
    }
    return 1;
}

static inline int gap_round(const job *j, lane *l)
{
    uint64_t bits;
    int i;
    if (l->bit > l->end_bit) {
        return 0;
    }
    bits = load(j->coded, l->bit);
    for (i = 0; i < ROUND; i++) {
        uint32_t entry;
        uint64_t at;
        memcpy(&entry, l->fast + l->pending + 4U * (size_t)(bits >> TOP), 4);
        at = l->at + ((entry >> 16) & 0xFFU);
        if (at >= l->end) {
            return 0;
        }
        j->out[at] = (uint8_t)(entry >> 8);
        l->at = at + (entry >> 24);
        l->pending = (entry & DCF_ITEM_PENDING) << (DCF_MAX_CODE_BITS + 2 - 7);
        bits <<= entry & 63U;
        l->bit += entry & 63U;
    }
    return 1;
}

static inline int run_round(const job *j, lane *l)
{
    uint64_t bits;
    int i;
    if (l->bit > l->end_bit) {
        return 0;
    }
    bits = load(j->coded, l->bit);
    for (i = 0; i < ROUND; i++) {
        uint32_t entry;
        uint64_t at;
        memcpy(&entry, l->fast + 4U * (size_t)(bits >> TOP), 4);
        /* a digit that passed covered 2^digit elements at least: nothing is shifted out */
        at = l->at + ((uint64_t)((entry >> 16) & 0xFFU) << l->digit);
        if (at >= l->end) {
            return 0;
        }
        j->out[at] = (uint8_t)(entry >> 8);
        l->at = at + ((entry >> 24) & 1U);
        l->digit = (l->digit + (entry >> 25)) & (((entry >> 24) & 1U) - 1U);
        bits <<= entry & 63U;
        l->bit += entry & 63U;
    }
    return 1;
}

static inline int a_round(const job *j, lane *l, uint32_t layout)
{
    if (layout == DCF_LAYOUT_GAP) {
        return gap_round(j, l);
    }
    return layout == DCF_LAYOUT_RUN ? run_round(j, l) : dense_round(j, l);
}

/* ---- the ends of blocks; 0 where something is wrong ---- */

static int dense_end(const job *j, lane *l)
{
    while (l->at < l->end) {
        uint64_t entry;
        uint32_t symbol;
        size_t count;
        if (l->bit > l->end_bit) {
            return 0;
        }
        memcpy(&entry, l->fast + 8U * (size_t)(load(j->coded, l->bit) >> TOP), 8);
        count = (entry >> 56) & 7U;
        if (count <= l->end - l->at && l->end - l->at >= 8) {
            memcpy(j->out + l->at, &entry, 8);
            l->at += count;
            l->bit += entry >> 59;
            continue;
        }
        if (!take(j, l, l->one, &symbol)) {
            return 0;
        }
        j->out[l->at++] = (uint8_t)symbol;
    }
    return 1;
}

static int gap_end(const job *j, lane *l)
{
    const dcf_tensor *t = j->t;
    while (l->at < l->end) {
        uint32_t symbol;
        if (!l->pending) {
            if (!take(j, l, l->one, &symbol) || symbol > l->end - l->at) {
                return 0;
            }
            l->at += symbol;
            if (l->at == l->end ||
                symbol == t->filler) {
                continue;
            }
        }
        if (!take(j, l, l->one + DCF_ONE_BYTES, &symbol)) {
            return 0;
        }
        j->out[l->at++] = (uint8_t)symbol;
        l->pending = 0;
    }
    return 1;
}

static int run_end(const job *j, lane *l)
{
    const dcf_tensor *t = j->t;
    while (l->at < l->end) {
        uint32_t symbol;
        if (!take(j, l, l->one, &symbol)) {
            return 0;
        }
        if (symbol < t->alphabet) {
            j->out[l->at++] = dcf_lookup_byte(t, symbol);
            l->digit = 0;
            continue;
        }
        symbol -= t->alphabet - 1U;
        if (symbol > (l->end - l->at) >> l->digit) {
            return 0;
        }
        l->at += (uint64_t)symbol << l->digit;
        l->digit++;
    }
    return 1;
}

/* Decode what the rounds have left of a block and look at its last bits. */
static int finish(const job *j, lane *l)
{
    int good;
    uint32_t spare;
    if (j->t->layout == DCF_LAYOUT_GAP) {
        good = gap_end(j, l);
    } else {
        good = j->t->layout == DCF_LAYOUT_RUN ? run_end(j, l) : dense_end(j, l);
    }
    if (!good || l->bit > l->end_bit || l->end_bit - l->bit >= 8) {
        return 0;
    }
    spare = (uint32_t)(l->end_bit - l->bit);
    return spare == 0 || (j->coded[l->bit >> 3] & ((1U << spare) - 1U)) == 0;
}

/* ---- lanes ---- */

/* Enter the next block; 0 where there is none. */
static int enter(job *j, lane *l)
{
    const dcf_tensor *t = j->t;
    const uint64_t step = (uint64_t)t->block_rows * t->columns;
    dcf_cursor cursor;
    if (j->block == j->stop) {
        return 0;
    }
    cursor.tensor = t;
    cursor.block = j->block;
    dcf_block_enter(&cursor);
    l->bit = (uint64_t)(cursor.data - t->coded) * 8U;
    l->end_bit = l->bit + (uint64_t)cursor.size * 8U;
    l->at = j->block * step - j->before;
    l->end = l->at + cursor.left;
    l->digit = 0;
    l->pending = 0;
    l->one = t->lookup + (size_t)cursor.code * DCF_ONE_BYTES;
    l->fast = dcf_fast_tables(t) + (size_t)(cursor.code / dcf_streams(t)) * DCF_FAST_BYTES;
    if (t->layout != DCF_LAYOUT_DENSE) {
        memset(j->out + l->at, j->background, (size_t)(l->end - l->at));
    }
    j->block++;
    return 1;
}

static inline void drive_one(const job *j, lane *l, uint32_t layout)
{
    lane a = *l;
    while (a_round(j, &a, layout)) {
    }
    *l = a;
}

/* Run all lanes until one comes near its end; returns which. Copies can stay in registers: bytes
 * that are written might alias *l. */
static inline int drive_all(const job *j, lane *l, uint32_t layout)
{
    const job k = *j;
    lane a = l[0];
    lane b = l[1];
    lane c = l[2];
    lane d = l[3];
    int which = 0;
    for (;;) {
        if (!a_round(&k, &a, layout)) {
            which = 0;
            break;
        }
        if (!a_round(&k, &b, layout)) {
            which = 1;
            break;
        }
        if (!a_round(&k, &c, layout)) {
            which = 2;
            break;
        }
        if (!a_round(&k, &d, layout)) {
            which = 3;
            break;
        }
    }
    l[0] = a;
    l[1] = b;
    l[2] = c;
    l[3] = d;
    return which;
}

/* Decode all blocks, each layout with loops of its own. */
static inline int run_job(job *j, uint32_t layout)
{
    lane lanes[LANES];
    int here = 0;
    int i;
    while (here < LANES && enter(j, &lanes[here])) {
        here++;
    }
    while (here == LANES) {
        const int which = drive_all(j, lanes, layout);
        if (!finish(j, &lanes[which])) {
            return 0;
        }
        if (!enter(j, &lanes[which])) {
            lanes[which] = lanes[--here];
        }
    }
    for (i = 0; i < here; i++) {
        drive_one(j, &lanes[i], layout);
        if (!finish(j, &lanes[i])) {
            return 0;
        }
    }
    return 1;
}

/* Decode blocks up to `stop`, a byte for each element, to `out`. */
static int narrow_blocks(const dcf_tensor *t, size_t block, size_t stop, uint8_t *out)
{
    job j;
    j.t = t;
    j.coded = t->coded;
    j.out = out;
    j.block = block;
    j.stop = stop;
    j.before = (uint64_t)block * t->block_rows * t->columns;
    j.background = dcf_lookup_byte(t, t->background);
    if (t->layout == DCF_LAYOUT_GAP) {
        return run_job(&j, DCF_LAYOUT_GAP);
    }
    return t->layout == DCF_LAYOUT_RUN ? run_job(&j, DCF_LAYOUT_RUN)
                                       : run_job(&j, DCF_LAYOUT_DENSE);
}

int dcf_host_narrow(const dcf_tensor *tensor, size_t block, size_t stop, uint8_t *out,
                    size_t count)
{
    const size_t front = (tensor->width - 1U) * count;
    const int good = narrow_blocks(tensor, block, stop, out + front);
    if (good && tensor->width > 1) {
        dcf_host_levels(tensor, out, count);
    }
    return good;
}

#elif DCF_HOST

int dcf_host_narrow(const dcf_tensor *tensor, size_t block, size_t stop, uint8_t *out,
                    size_t count)
{
    (void)tensor;
    (void)block;
    (void)stop;
    (void)out;
    (void)count;
    return 0;
}

#endif

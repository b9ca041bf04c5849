/* The model of coder_context, which decoder and encoder share. Spec:
 * spec/encodings/coder_context.md. */
#ifndef DCF_CONTEXT_H
#define DCF_CONTEXT_H

#include "dcf.h"

#if DCF_WITH_CONTEXT

/* Where the contexts of each decision begin, and how many there are in all. */
enum {
    DCF_CONTEXT_BUCKETS = 11,
    DCF_CONTEXT_ZERO = 0,
    DCF_CONTEXT_SIGN = DCF_CONTEXT_ZERO + 8 * DCF_CONTEXT_BUCKETS,
    DCF_CONTEXT_LENGTH = DCF_CONTEXT_SIGN + 81,
    DCF_CONTEXT_SECOND = DCF_CONTEXT_LENGTH + 7 * DCF_CONTEXT_BUCKETS,
    DCF_CONTEXT_THIRD = DCF_CONTEXT_SECOND + 7,
    DCF_CONTEXT_COUNT = DCF_CONTEXT_THIRD + 12
};

enum { DCF_CONTEXT_KNOWN = 90 };

/* What is known of a block, but for the scales of the columns and the signs of a row. Scales are
 * magnitudes in sixteenths. */
typedef struct dcf_context_model {
    uint32_t chance[DCF_CONTEXT_COUNT]; /* the fast average, and 2^16 times the slow one */
    uint8_t seen[DCF_CONTEXT_COUNT];
    uint16_t left; /* the element before */
    uint16_t row_scale;
    uint16_t mean;
} dcf_context_model;

static inline void dcf_context_clear(dcf_context_model *m)
{
    uint32_t i;
    for (i = 0; i < DCF_CONTEXT_COUNT; i++) {
        m->chance[i] = 0x80008000U;
        m->seen[i] = 0;
    }
    m->left = 0;
    m->row_scale = 0;
    m->mean = 0;
}

/* Of 4096, how likely the decision is 1. */
static inline uint32_t dcf_context_chance(const dcf_context_model *m, uint32_t context)
{
    return ((m->chance[context] & 0xFFFFU) + (m->chance[context] >> 16)) >> 5;
}

/* Make `bit` more likely. */
static inline void dcf_context_learn(dcf_context_model *m, uint32_t context, uint32_t bit)
{
    static const uint8_t DCF_PROGMEM SHIFT[DCF_CONTEXT_KNOWN] = {
        1, 2, 2, 2, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5,
        5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6,
        6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6};
    const uint32_t turn = 0U - bit;
    const uint32_t seen = m->seen[context];
    uint32_t other = m->chance[context] ^ turn; /* how likely the other one is */
    if (seen == DCF_CONTEXT_KNOWN) {
        other -= (other >> 5 & 0x7FFU) + (other >> 7 & 0x1FF0000U);
    } else {
        const uint32_t slow = DCF_READ8(SHIFT + seen);
        const uint32_t fast = slow < 5 ? slow : 5;
        m->seen[context] = (uint8_t)(seen + 1U);
        other -= ((other & 0xFFFFU) >> fast) + (other >> 16 >> slow << 16);
    }
    m->chance[context] = other ^ turn;
}

/* The bucket of an expected magnitude, in sixteenths. */
static inline uint32_t dcf_context_bucket(uint32_t expected)
{
    static const uint8_t DCF_PROGMEM BUCKET[86] = {
        0, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 6, 6, 6, 6,
        6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
        7, 7, 7, 7, 7, 7, 8, 8, 8, 8, 8, 8, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 10};
    const uint32_t coarse = 60U + ((expected < 400 ? expected : 400U) >> 4);
    return DCF_READ8(BUCKET + (expected < 64 ? expected : coarse));
}

/* The bits of a number below 256. */
static inline uint32_t dcf_context_bits(uint32_t number)
{
    uint32_t bits = 0;
    while (number >> bits) {
        bits++;
    }
    return bits;
}

/* Move a scale towards `target` by a part of 2^shift of the difference, rounding down. */
static inline uint16_t dcf_context_follow(uint32_t scale, uint32_t target, uint32_t shift)
{
    return (uint16_t)(scale + ((target - scale + 0x10000U) >> shift) - (0x10000U >> shift));
}

/* What a scale shifts by at the n-th of its numbers, from 0. */
static inline uint32_t dcf_context_shift(uint32_t n, uint32_t most)
{
    const uint32_t bits = n < 15 ? dcf_context_bits(n + 1U) : 5;
    return bits < most ? bits : most;
}

/* The bucket of the next element, from the scales of its left neighbour (or, where there is none,
 * the row), the row, and its column (or, in the first row, the row). */
static inline uint32_t dcf_context_expect(uint32_t left, uint32_t row, uint32_t column)
{
    return dcf_context_bucket((6U * left + 5U * row + 5U * column) >> 4);
}

/* How many decisions tell the length of a magnitude of at most `most`. */
static inline uint32_t dcf_context_depth(uint32_t most)
{
    const uint32_t lengths = dcf_context_bits(most);
    return lengths > 4 ? 3 : lengths > 2 ? 2 : lengths > 1;
}

#endif

#endif

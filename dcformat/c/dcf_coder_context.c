/* A binary range coder whose chances follow the neighbours. Spec: spec/encodings/coder_context.md.
 * Sister: dcformat/encodings/coder_context.py. */
#include "dcf_internal.h"

#if DCF_WITH_CONTEXT
#include "dcf_context.h"

/* In the workspace; behind it u16 scales of the columns and the signs of a row. */
typedef struct dcf_context {
    uint32_t range;
    uint32_t code;
    uint32_t stamp; /* of the block that was entered last: only its cursor may go on */
    uint32_t past;  /* bytes that were taken behind the block, up to 4 */
    uint32_t depth;
    dcf_size line;  /* elements of the last axis */
    dcf_size lines; /* of the axis before it */
    dcf_size step;  /* scales: from an element to the next, */
    dcf_size step_line; /* from a line to the next, */
    dcf_size step_plane; /* from that many lines to the next */
    dcf_size scales;
    dcf_size row;   /* of the block */
    dcf_size column;
    dcf_size at;    /* of `line` */
    dcf_size at_line; /* of `lines` */
    dcf_size scale; /* of the next element */
    dcf_context_model model;
} dcf_context;

enum { CONTEXT_PAST = 3, CONTEXT_TOP = 24, CONTEXT_ALIGN = sizeof(dcf_size) };

/* ---- signs of a row: 0 none, 1 above the centre, 2 below ---- */

#if DCF_HOST
#define SIGNS_BYTES(columns) (columns)
static inline uint32_t sign_at(const uint8_t *signs, dcf_size i)
{
    return signs[i];
}
static inline void sign_set(uint8_t *signs, dcf_size i, uint32_t sign)
{
    signs[i] = (uint8_t)sign;
}
#else
#define SIGNS_BYTES(columns) (((columns) >> 2) + 1U)
static inline uint32_t sign_at(const uint8_t *signs, dcf_size i)
{
    return (uint32_t)signs[i >> 2] >> (2U * (uint32_t)(i & 3U)) & 3U;
}
static inline void sign_set(uint8_t *signs, dcf_size i, uint32_t sign)
{
    const uint32_t shift = 2U * (uint32_t)(i & 3U);
    signs[i >> 2] = (uint8_t)((signs[i >> 2] & ~(3U << shift)) | sign << shift);
}
#endif

/* ---- memory ---- */

/* Lengths of the last two column axes. */
static void line_lengths(const dcf_tensor *t, dcf_size *line, dcf_size *lines)
{
    const uint32_t rank = DCF_BYTE(t->model, t->record + 2);
    const uint32_t row_axes = DCF_BYTE(t->model, t->record + 3);
    *line = rank > row_axes ? dcf_dim(t, rank - 1U) : 1;
    *lines = rank > row_axes + 1U ? dcf_dim(t, rank - 2U) : 1;
}

static dcf_size scales_of(const dcf_tensor *t)
{
    dcf_size line;
    dcf_size lines;
    dcf_size scales = 1;
    line_lengths(t, &line, &lines);
    if (t->axes & 1U) {
        scales = line;
    }
    if (t->axes & 2U) {
        scales *= lines;
    }
    if (t->axes & 4U) {
        scales *= dcf_divide(t->columns, line * lines);
    }
    return scales;
}

DCF_LOCAL dcf_size dcf_context_bytes(const dcf_tensor *t)
{
    return CONTEXT_ALIGN - 1U + (dcf_size)sizeof(dcf_context) + 2U * scales_of(t) +
           SIGNS_BYTES(t->columns);
}

DCF_LOCAL void dcf_context_build(dcf_tensor *t, void *memory)
{
    uint8_t *at = (uint8_t *)memory + ((0U - (uintptr_t)memory) & (CONTEXT_ALIGN - 1U));
    dcf_context *s = (dcf_context *)(void *)at;
    line_lengths(t, &s->line, &s->lines);
    s->scales = scales_of(t);
    s->step = t->axes & 1U;
    s->step_line = t->axes & 2U ? (s->step ? s->line : 1U) : 0;
    s->step_plane = t->axes & 4U ? s->scales / dcf_divide(t->columns, s->line * s->lines) : 0;
    s->depth = dcf_context_depth(t->centre > t->alphabet - 1U - t->centre
                                     ? t->centre
                                     : t->alphabet - 1U - t->centre);
    s->stamp = 0;
    t->codes = (const uint16_t *)(const void *)s;
}

static dcf_context *state_of(const dcf_tensor *t)
{
    return (dcf_context *)(uintptr_t)(const void *)t->codes; /* the caller's memory, not constant */
}

static uint16_t *scales_at(dcf_context *s)
{
    return (uint16_t *)(void *)(s + 1);
}

/* ---- bits ---- */

/* The part of the state that a loop keeps in registers. */
typedef struct dcf_context_coder {
    uint32_t range;
    uint32_t code;
    dcf_at at;
    dcf_at last;
    uint32_t past;
} dcf_context_coder;

static inline void normalise(const dcf_model *file, dcf_context_coder *b)
{
    (void)file;
    while (b->range >> CONTEXT_TOP == 0) {
        b->range <<= 8;
        b->code <<= 8;
        if (b->at != b->last) {
            b->code |= DCF_BYTE(file, b->at);
            b->at++;
        } else {
            b->past += b->past <= CONTEXT_PAST;
        }
    }
}

static inline uint32_t decision(const dcf_model *file, dcf_context_coder *b, dcf_context_model *m,
                                uint32_t context)
{
    const uint32_t bound = (b->range >> 12) * dcf_context_chance(m, context);
    const uint32_t bit = b->code < bound;
    const uint32_t taken = 0U - bit; /* no branch: nobody can foresee it */
    const uint32_t rest = b->range - bound;
    b->range = rest + ((bound - rest) & taken);
    b->code -= bound & ~taken;
    dcf_context_learn(m, context, bit);
    normalise(file, b);
    return bit;
}

/* `count` bits, all equally likely. */
static inline uint32_t plain_bits(const dcf_model *file, dcf_context_coder *b, uint32_t count)
{
    uint32_t value = 0;
    b->range >>= count;
    while (count-- > 0) {
        const uint32_t part = b->range << count;
        const uint32_t bit = b->code >= part;
        b->code -= part & (0U - bit);
        value += value + bit;
    }
    normalise(file, b);
    return value;
}

/* A magnitude that is not 0. */
static inline uint32_t magnitude(const dcf_model *file, dcf_context_coder *b, dcf_context_model *m,
                                 uint32_t depth, uint32_t bucket)
{
    const uint32_t tree = DCF_CONTEXT_LENGTH + 7U * bucket - 1U;
    uint32_t node = 1;
    uint32_t value = 1;
    uint32_t i;
    for (i = 0; i < depth; i++) {
        node += node + decision(file, b, m, tree + node);
    }
    node -= 1U << depth; /* the bits behind the first one */
    if (node > 0) {
        value = 2U + decision(file, b, m, DCF_CONTEXT_SECOND + node - 1U);
    }
    if (node > 1) {
        value += value + decision(file, b, m, DCF_CONTEXT_THIRD + 2U * (node - 2U) + (value & 1U));
    }
    if (node > 2) {
        value = value << (node - 2U) | plain_bits(file, b, node - 2U);
    }
    return value;
}

/* ---- blocks ---- */

DCF_LOCAL void dcf_context_enter(dcf_cursor *c)
{
    dcf_context *s = state_of(c->tensor);
    const uint32_t stamp = s->stamp + 1U;
    uint16_t *scales = scales_at(s);
    dcf_context_coder b = {1, 0, c->at, c->last, 0};
    dcf_size i;
    dcf_context_clear(&s->model);
    for (i = 0; i < s->scales; i++) {
        scales[i] = 0;
    }
    for (i = 0; i < SIGNS_BYTES(c->tensor->columns); i++) {
        ((uint8_t *)(scales + s->scales))[i] = 0;
    }
    s->row = 0;
    s->column = 0;
    s->at = 0;
    s->at_line = 0;
    s->scale = 0;
    for (i = 0; i < 4; i++) {
        b.range = 1U << (CONTEXT_TOP - 8); /* take one byte */
        normalise(c->tensor->model, &b);
    }
    s->range = 0xFFFFFFFFU;
    s->code = b.code;
    s->past = b.past;
    s->stamp = stamp;
    c->at = b.at;
    c->bits = stamp;
}

DCF_LOCAL int dcf_context_end(const dcf_cursor *c)
{
    const dcf_context *s = state_of(c->tensor);
    if (s->past > CONTEXT_PAST) {
        return DCF_ERR_TRUNCATED;
    }
    if (s->past < CONTEXT_PAST) {
        return DCF_ERR_STRUCTURE;
    }
    return s->code >> CONTEXT_TOP ? DCF_ERR_CODE : DCF_OK;
}

/* Behind the last element of a line: go to the next, perhaps of the next row. */
static void next_line(dcf_context *s, dcf_size columns)
{
    s->scale -= s->line * s->step;
    s->scale += s->step_line;
    s->at = 0;
    s->at_line++;
    if (s->at_line == s->lines) {
        s->at_line = 0;
        s->scale -= s->lines * s->step_line;
        s->scale += s->step_plane;
    }
    if (s->column == columns) {
        const uint32_t shift = dcf_context_shift(s->row < 15 ? (uint32_t)s->row : 15U, 5);
        s->model.mean = dcf_context_follow(s->model.mean, s->model.row_scale, shift - 1U);
        s->model.row_scale = s->model.mean;
        s->column = 0;
        s->scale = 0;
        s->row++;
    }
}

/* Decode `count` elements of the present line. */
static int line_part(dcf_cursor *c, dcf_context *s, uint8_t *out, dcf_size count, uint32_t step)
{
    const dcf_tensor *t = c->tensor;
    const dcf_model *file = t->model;
    const uint32_t depth = s->depth;
    const uint32_t below = t->centre;
    const uint32_t above = t->alphabet - 1U - below;
    const dcf_size line = s->at_line ? s->line : 0;
    const dcf_size plane = s->column >= s->line * s->lines ? s->line * s->lines : 0;
    const int first_row = s->row == 0;
    const uint32_t column_shift = dcf_context_shift(s->row < 15 ? (uint32_t)s->row : 15U, 3);
    const dcf_at levels = t->levels;
    const uint32_t base = t->base;
    dcf_context_model *m = &s->model;
    uint32_t row_scale = m->row_scale;
    const dcf_size scale_step = s->step;
    uint16_t *scale = scales_at(s) + s->scale;
    uint8_t *signs = (uint8_t *)(scales_at(s) + s->scales);
    dcf_size column = s->column;
    const dcf_size stop = column + count;
    uint32_t left_scale = s->at == 0 ? row_scale : m->left;
    uint32_t left = s->at == 0 ? 0 : sign_at(signs, column - 1U);
    dcf_context_coder b = {s->range, s->code, c->at, c->last, s->past};
    int err = DCF_OK;
    for (; column < stop; column++) {
        const uint32_t up = line ? sign_at(signs, column - line) : 0;
        const uint32_t over = plane ? sign_at(signs, column - plane) : 0;
        const uint32_t before = sign_at(signs, column);
        const uint32_t bucket =
            dcf_context_expect(left_scale, row_scale, first_row ? row_scale : *scale);
        const uint32_t near = (left != 0) + 2U * (before != 0) + 4U * (up != 0);
        uint32_t value = 0;
        uint32_t sign = 0;
        if (below + above != 0 &&
            decision(file, &b, m, DCF_CONTEXT_ZERO + DCF_CONTEXT_BUCKETS * near + bucket)) {
            value = magnitude(file, &b, m, depth, bucket);
            if (value <= above && value <= below) {
                sign = 1U + decision(file, &b, m,
                                     DCF_CONTEXT_SIGN + left + 3U * up + 9U * over + 27U * before);
            } else if (value <= above || value <= below) {
                sign = value <= above ? 1 : 2;
            } else {
                err = DCF_ERR_RANGE;
                break;
            }
        }
        if (levels) {
            dcf_number(t, sign == 2 ? below - value : below + value, out);
        } else {
            *out = (uint8_t)((sign == 2 ? below - value : below + value) + base);
        }
        out += step;
        sign_set(signs, column, sign);
        left = sign;
        left_scale = 16U * value;
        row_scale = dcf_context_follow(
            row_scale, left_scale, dcf_context_shift(column < 15 ? (uint32_t)column : 15U, 5));
        *scale = dcf_context_follow(*scale, left_scale, column_shift);
        scale += scale_step;
    }
    m->left = (uint16_t)left_scale;
    m->row_scale = (uint16_t)row_scale;
    s->range = b.range;
    s->code = b.code;
    s->past = b.past;
    c->at = b.at;
    s->at += count;
    s->column = stop;
    s->scale += count * s->step;
    return b.past > CONTEXT_PAST ? DCF_ERR_TRUNCATED : err;
}

DCF_LOCAL int dcf_context_elements(dcf_cursor *c, uint8_t *out, dcf_size count, uint32_t step)
{
    dcf_context *s = state_of(c->tensor);
    int err = DCF_OK;
    if (c->bits != s->stamp) {
        return DCF_ERR_ARGUMENT;
    }
    while (err == DCF_OK && count > 0) {
        const dcf_size rest = s->line - s->at;
        const dcf_size n = count < rest ? count : rest;
        err = line_part(c, s, out, n, step);
        out += n * step;
        count -= n;
        c->left -= n;
        if (n == rest) {
            next_line(s, c->tensor->columns);
        }
    }
    return err;
}

/* ---- fields ---- */

DCF_LOCAL int dcf_context_fields(dcf_record *r)
{
    dcf_tensor *t = r->tensor;
    const uint32_t word = dcf_word(r);
    t->centre = (uint8_t)word;
    t->axes = (uint8_t)(word >> 8);
    if (t->symbols != 1 || t->centre >= t->alphabet || t->axes > 7) {
        return DCF_ERR_STRUCTURE;
    }
    return word >> 16 ? DCF_ERR_PADDING : DCF_OK;
}

#elif !defined(DCF_ONE_FILE)

typedef int dcf_no_coder_context; /* ISO C wants something in every file */

#endif

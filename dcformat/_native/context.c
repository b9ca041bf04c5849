/* Writing blocks of coder_context. Python side: dcformat/kernels.py; the decoder is
 * dcformat/c/dcf_coder_context.c, the model that both share dcformat/c/dcf_context.h.
 */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#include "dcf_context.h"

/* The extents of a row: planes of lines of elements; how far scales are apart along each. */
typedef struct {
    int64_t planes, lines, line;
    int64_t step_plane, step_line, step, scales;
    uint32_t centre, depth;
} shape;

typedef struct {
    uint8_t *out; /* NULL: only count */
    uint64_t low;
    uint32_t range;
    Py_ssize_t size;
    Py_ssize_t room;
    dcf_context_model model;
    uint16_t *scales;
    uint8_t *signs;
} writer;

/* Room for the bytes of a few more decisions. */
static int grow(writer *w)
{
    enum { MARGIN = 64 };
    uint8_t *larger;
    if (w->room - w->size >= MARGIN) {
        return 0;
    }
    larger = realloc(w->out, (size_t)(2 * w->room + MARGIN));
    if (!larger) {
        return -1;
    }
    w->out = larger;
    w->room = 2 * w->room + MARGIN;
    return 0;
}

static void carry(writer *w)
{
    Py_ssize_t at = w->size;
    while (w->low >> 32 && at > 0 && ++w->out[--at] == 0) {
    }
    w->low &= 0xFFFFFFFFU;
}

static void put_byte(writer *w)
{
    w->out[w->size++] = (uint8_t)(w->low >> 24);
    w->low = w->low << 8 & 0xFFFFFFFFU;
}

static void normalise(writer *w)
{
    carry(w);
    while (w->range >> 24 == 0) {
        put_byte(w);
        w->range <<= 8;
    }
}

static void decide(writer *w, uint32_t context, uint32_t bit)
{
    const uint32_t bound = (w->range >> 12) * dcf_context_chance(&w->model, context);
    w->low += bit ? 0 : bound;
    w->range = bit ? bound : w->range - bound;
    dcf_context_learn(&w->model, context, bit);
    normalise(w);
}

static void put_magnitude(writer *w, uint32_t value, uint32_t depth, uint32_t bucket)
{
    const uint32_t rest = dcf_context_bits(value) - 1U;
    const uint32_t tree = DCF_CONTEXT_LENGTH + 7U * bucket - 1U;
    uint32_t node = 1;
    uint32_t i;
    for (i = depth; i-- > 0;) {
        const uint32_t bit = rest >> i & 1U;
        decide(w, tree + node, bit);
        node += node + bit;
    }
    if (rest > 0) {
        decide(w, DCF_CONTEXT_SECOND + rest - 1U, value >> (rest - 1U) & 1U);
    }
    if (rest > 1) {
        const uint32_t second = value >> (rest - 1U) & 1U;
        decide(w, DCF_CONTEXT_THIRD + 2U * (rest - 2U) + second, value >> (rest - 2U) & 1U);
    }
    if (rest > 2) {
        const uint32_t plain = rest - 2U;
        w->range >>= plain;
        w->low += (uint64_t)w->range * (value & ((1U << plain) - 1U));
        normalise(w);
    }
}

/* One row; `last` is the largest symbol. Returns -1 if memory ran out. */
static int put_row(writer *w, const shape *s, const uint8_t *symbols, uint32_t last, int64_t row)
{
    const uint32_t above = last - s->centre;
    const uint32_t shift = dcf_context_shift(row < 15 ? (uint32_t)row : 15U, 3);
    dcf_context_model *m = &w->model;
    uint8_t *sign = w->signs;
    int64_t x, y, z, column = 0;
    for (x = 0; x < s->planes; x++) {
        for (y = 0; y < s->lines; y++) {
            uint16_t *scale = w->scales + x * s->step_plane + y * s->step_line;
            uint32_t left = 0;
            for (z = 0; z < s->line; z++, column++, scale += s->step) {
                const int32_t number = (int32_t)*symbols++ - (int32_t)s->centre;
                const uint32_t value = (uint32_t)(number < 0 ? -number : number);
                const uint32_t up = y ? sign[column - s->line] : 0;
                const uint32_t over = x ? sign[column - s->line * s->lines] : 0;
                const uint32_t before = sign[column];
                const uint32_t near = (left != 0) + 2U * (before != 0) + 4U * (up != 0);
                const uint32_t bucket = dcf_context_expect(z ? m->left : m->row_scale, m->row_scale,
                                                           row ? *scale : m->row_scale);
                if (grow(w) != 0) {
                    return -1;
                }
                if (last != 0) {
                    decide(w, DCF_CONTEXT_ZERO + DCF_CONTEXT_BUCKETS * near + bucket, value != 0);
                }
                if (value != 0) {
                    put_magnitude(w, value, s->depth, bucket);
                }
                if (value != 0 && value <= above && value <= s->centre) {
                    decide(w, DCF_CONTEXT_SIGN + left + 3U * up + 9U * over + 27U * before,
                           number < 0);
                }
                left = value == 0 ? 0 : number < 0 ? 2 : 1;
                sign[column] = (uint8_t)left;
                m->left = (uint16_t)(16U * value);
                m->row_scale = dcf_context_follow(
                    m->row_scale, 16U * value,
                    dcf_context_shift(column < 15 ? (uint32_t)column : 15U, 5));
                *scale = dcf_context_follow(*scale, 16U * value, shift);
            }
        }
    }
    m->mean = dcf_context_follow(
        m->mean, m->row_scale, dcf_context_shift(row < 15 ? (uint32_t)row : 15U, 5) - 1U);
    m->row_scale = m->mean;
    return 0;
}

/* One block of `rows` rows. Returns -1 if memory ran out. */
static int put_block(writer *w, const shape *s, const uint8_t *symbols, uint32_t last, int64_t rows)
{
    const int64_t columns = s->planes * s->lines * s->line;
    int64_t row;
    dcf_context_clear(&w->model);
    memset(w->scales, 0, 2 * (size_t)s->scales);
    memset(w->signs, 0, (size_t)columns);
    w->low = 0;
    w->range = 0xFFFFFFFFU;
    for (row = 0; row < rows; row++) {
        if (put_row(w, s, symbols + row * columns, last, row) != 0) {
            return -1;
        }
    }
    if (grow(w) != 0) {
        return -1;
    }
    w->low += 0xFFFFFFU;
    carry(w);
    put_byte(w);
    return 0;
}

static int put_blocks(writer *w, const shape *s, const uint8_t *symbols, uint32_t last,
                      int64_t rows, int64_t block_rows, int64_t *ends)
{
    const int64_t columns = s->planes * s->lines * s->line;
    int64_t row;
    for (row = 0; row < rows; row += block_rows) {
        const int64_t left = rows - row;
        if (put_block(w, s, symbols + row * columns, last, left < block_rows ? left : block_rows)) {
            return -1;
        }
        *ends++ = w->size;
    }
    return 0;
}

static void set_steps(shape *s, int axes)
{
    s->scales = 1;
    s->step = axes & 1;
    s->scales *= axes & 1 ? s->line : 1;
    s->step_line = axes & 2 ? s->scales : 0;
    s->scales *= axes & 2 ? s->lines : 1;
    s->step_plane = axes & 4 ? s->scales : 0;
    s->scales *= axes & 4 ? s->planes : 1;
}

/* (symbols, (planes, lines, line), alphabet, centre, axes, rows of a block) -> (bytes, ends) */
static PyObject *encode(PyObject *self, PyObject *args)
{
    const char *symbols;
    Py_ssize_t bytes;
    long long planes, lines, line, block_rows, columns, rows, blocks;
    int alphabet, centre, axes, failed;
    shape s;
    writer w;
    int64_t *ends;
    PyObject *result = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#(LLL)iiiL:kernel_context_encode", &symbols, &bytes, &planes,
                          &lines, &line, &alphabet, &centre, &axes, &block_rows)) {
        return NULL;
    }
    columns = planes * lines * line;
    if (planes < 1 || lines < 1 || line < 1 || columns > bytes || bytes % columns != 0 ||
        block_rows < 1 || alphabet < 1 || alphabet > 256 || centre < 0 || centre >= alphabet) {
        PyErr_SetString(PyExc_ValueError, "not rows of symbols");
        return NULL;
    }
    rows = bytes / columns;
    blocks = (rows - 1) / block_rows + 1;
    s.planes = planes;
    s.lines = lines;
    s.line = line;
    s.centre = (uint32_t)centre;
    s.depth = dcf_context_depth((uint32_t)(centre > alphabet - 1 - centre ? centre
                                                                          : alphabet - 1 - centre));
    set_steps(&s, axes);
    memset(&w, 0, sizeof w);
    w.scales = malloc(2 * (size_t)s.scales);
    w.signs = malloc((size_t)columns);
    ends = malloc(sizeof *ends * (size_t)blocks);
    failed = !w.scales || !w.signs || !ends;
    if (!failed) {
        Py_BEGIN_ALLOW_THREADS
        failed = put_blocks(&w, &s, (const uint8_t *)symbols, (uint32_t)alphabet - 1U, rows,
                            block_rows, ends);
        Py_END_ALLOW_THREADS
    }
    result = failed ? PyErr_NoMemory()
                    : Py_BuildValue("(y#y#)", w.out, w.size, ends,
                                    (Py_ssize_t)(sizeof *ends * (size_t)blocks));
    free(w.out);
    free(w.scales);
    free(w.signs);
    free(ends);
    return result;
}

PyMethodDef dcf_context_methods[] = {
    {"kernel_context_encode", encode, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

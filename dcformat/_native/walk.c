/* The encoder's walk over a tensor: elements become items, which are counted or written.
 *
 * Python side, and what each function means: dcformat/walk.py. The items are those of
 * spec/encodings/layout_dense.md, layout_gap.md and layout_run.md.
 */
#include "kernels.h"

#include <string.h>

enum { DENSE = 0, GAP = 1, RUN = 2, SYMBOLS = 256, MAX_ITEM_BITS = 16 };

typedef struct {
    const uint8_t *planes; /* (elements, width) */
    const int64_t *ends;   /* of blocks, in elements */
    Py_ssize_t bytes, blocks;
    int width, layout, background, highest, stores, alphabet;
} walk;

static PyObject *bad(const char *what)
{
    PyErr_SetString(PyExc_ValueError, what);
    return NULL;
}

static int streams_of(const walk *w)
{
    return w->width + (w->layout == GAP);
}

static int check(const walk *w)
{
    Py_ssize_t b;
    int64_t last = 0;
    for (b = 0; b < w->blocks; b++) {
        if (w->ends[b] < last) {
            return 0;
        }
        last = w->ends[b];
    }
    return w->width >= 1 && w->width <= 16 && w->bytes % w->width == 0 &&
           last == w->bytes / w->width && w->layout >= DENSE && w->layout <= RUN &&
           (w->layout != RUN || (w->width == 1 && w->alphabet <= SYMBOLS - 2)) &&
           (w->layout != GAP || (w->highest >= 1 && w->highest < SYMBOLS)) &&
           w->background >= 0 && w->background < SYMBOLS &&
           (w->stores == 0 || w->stores == 1) && w->alphabet >= 1 && w->alphabet <= SYMBOLS;
}

static int is_background(const walk *w, const uint8_t *element)
{
    int k;
    for (k = 0; k < w->width; k++) {
        if (element[k] != w->background) {
            return 0;
        }
    }
    return 1;
}

/* One function over the blocks of a walk for each thing to do with an item: EMIT(stream, symbol)
 * has `at`, the state of the block, in reach. */
#define DEFINE_BLOCK(name, state, EMIT)                                                            \
    static void name##_gap(const walk *w, int64_t from, int64_t to, state *at, int64_t gap)        \
    {                                                                                              \
        const int64_t step = w->highest + w->stores;                                               \
        int k;                                                                                     \
        for (; gap >= step; gap -= step) {                                                         \
            EMIT(0, w->highest);                                                                   \
            for (k = 0; w->stores && k < w->width; k++) {                                          \
                EMIT(k + 1, w->background);                                                        \
            }                                                                                      \
        }                                                                                          \
        if (gap > 0 || from < to) { /* a block's end is not written as a gap of 0 */               \
            EMIT(0, (int)gap);                                                                     \
        }                                                                                          \
        for (k = 0; from < to && k < w->width; k++) {                                              \
            EMIT(k + 1, w->planes[from * w->width + k]);                                           \
        }                                                                                          \
    }                                                                                              \
    static void name##_run(const walk *w, int64_t run, state *at)                                  \
    {                                                                                              \
        for (run++; run > 1; run >>= 1) { /* bijective base 2, lowest digit first */               \
            EMIT(0, w->alphabet + (int)(run & 1));                                                 \
        }                                                                                          \
    }                                                                                              \
    static void name(const walk *w, int64_t from, int64_t to, state *at)                           \
    {                                                                                              \
        int64_t i, since = 0;                                                                      \
        int k;                                                                                     \
        if (w->layout == DENSE && w->width == 1) {                                                 \
            for (i = from; i < to; i++) {                                                          \
                EMIT(0, w->planes[i]);                                                             \
            }                                                                                      \
        } else if (w->layout == DENSE) {                                                           \
            for (i = from; i < to; i++) {                                                          \
                for (k = 0; k < w->width; k++) {                                                   \
                    EMIT(k, w->planes[i * w->width + k]);                                          \
                }                                                                                  \
            }                                                                                      \
        } else if (w->layout == GAP) {                                                             \
            for (i = from; i < to; i++, since++) {                                                 \
                if (!is_background(w, w->planes + i * w->width)) {                                 \
                    name##_gap(w, i, to, at, since);                                               \
                    since = -1;                                                                    \
                }                                                                                  \
            }                                                                                      \
            name##_gap(w, to, to, at, since);                                                      \
        } else {                                                                                   \
            for (i = from; i < to; i++) {                                                          \
                if (w->planes[i] == w->background) {                                               \
                    since++;                                                                       \
                    continue;                                                                      \
                }                                                                                  \
                name##_run(w, since, at);                                                          \
                since = 0;                                                                         \
                EMIT(0, w->planes[i]);                                                             \
            }                                                                                      \
            name##_run(w, since, at);                                                              \
        }                                                                                          \
    }

/* ---- Counting ----------------------------------------------------------------------------- */

typedef struct {
    uint32_t *counts; /* (streams, 256) of the block */
} tally;

#define COUNT(stream, symbol) at->counts[(stream)*SYMBOLS + (symbol)]++
DEFINE_BLOCK(count_block, tally, COUNT)

static PyObject *count(PyObject *self, PyObject *args)
{
    walk w;
    Py_ssize_t ends, b;
    PyObject *result;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#y#(iiiiii)", &w.planes, &w.bytes, &w.ends, &ends, &w.width,
                          &w.layout, &w.background, &w.highest, &w.stores, &w.alphabet)) {
        return NULL;
    }
    w.blocks = ends / (Py_ssize_t)sizeof(int64_t);
    if (!check(&w)) {
        return bad("blocks or parameters that make no sense");
    }
    const Py_ssize_t row = streams_of(&w) * SYMBOLS * (Py_ssize_t)sizeof(uint32_t);
    if (w.blocks > PY_SSIZE_T_MAX / row) {
        return PyErr_NoMemory();
    }
    result = PyBytes_FromStringAndSize(NULL, w.blocks * row);
    if (result == NULL) {
        return NULL;
    }
    char *const out = PyBytes_AsString(result);
    Py_BEGIN_ALLOW_THREADS
    memset(out, 0, (size_t)(w.blocks * row));
    for (b = 0; b < w.blocks; b++) {
        tally at = {(uint32_t *)(void *)(out + b * row)};
        count_block(&w, b ? w.ends[b - 1] : 0, w.ends[b], &at);
    }
    Py_END_ALLOW_THREADS
    return result;
}

/* ---- Writing ------------------------------------------------------------------------------ */

typedef struct {
    const uint16_t *codes;  /* (streams, 256) of the block's class */
    const uint8_t *lengths;
    uint8_t *out;
    uint64_t bits; /* held back in the low `fill` bits, or counted while measuring */
    unsigned fill, most;
} writer;

#define MEASURE(stream, symbol)                                                                    \
    do {                                                                                           \
        const unsigned length_ = at->lengths[(stream)*SYMBOLS + (symbol)];                         \
        at->bits += length_;                                                                       \
        at->most = length_ > at->most ? length_ : at->most;                                        \
    } while (0)
DEFINE_BLOCK(measure_block, writer, MEASURE)

static void put(uint8_t *out, uint32_t word)
{
    out[0] = (uint8_t)(word >> 24);
    out[1] = (uint8_t)(word >> 16);
    out[2] = (uint8_t)(word >> 8);
    out[3] = (uint8_t)word;
}

#define WRITE_MSB(stream, symbol)                                                                  \
    do {                                                                                           \
        const int at_ = (stream)*SYMBOLS + (symbol);                                               \
        at->bits = at->bits << at->lengths[at_] | at->codes[at_];                                  \
        at->fill += at->lengths[at_];                                                              \
        if (at->fill >= 32) { /* at most 31 + 16 bits are held */                                  \
            at->fill -= 32;                                                                        \
            put(at->out, (uint32_t)(at->bits >> at->fill));                                        \
            at->out += 4;                                                                          \
        }                                                                                          \
    } while (0)
DEFINE_BLOCK(msb_block, writer, WRITE_MSB)

#define WRITE_LSB(stream, symbol)                                                                  \
    do {                                                                                           \
        const int at_ = (stream)*SYMBOLS + (symbol);                                               \
        at->bits |= (uint64_t)at->codes[at_] << at->fill;                                          \
        at->fill += at->lengths[at_];                                                              \
        for (; at->fill >= 8; at->fill -= 8, at->bits >>= 8) {                                     \
            *at->out++ = (uint8_t)at->bits;                                                        \
        }                                                                                          \
    } while (0)
DEFINE_BLOCK(lsb_block, writer, WRITE_LSB)

static void finish(writer *at, int msb)
{
    for (; msb && at->fill >= 8; at->fill -= 8) {
        *at->out++ = (uint8_t)(at->bits >> (at->fill - 8));
    }
    if (at->fill) {
        *at->out++ = (uint8_t)(msb ? at->bits << (8 - at->fill) : at->bits);
    }
}

typedef struct {
    walk w;
    const uint16_t *codes;
    const uint8_t *lengths, *classes;
    Py_ssize_t tables, class_count;
    int msb;
} writing;

static writer start(const writing *s, Py_ssize_t b, uint8_t *out)
{
    const size_t row = (size_t)s->classes[b] * (size_t)streams_of(&s->w) * SYMBOLS;
    return (writer){s->codes + row, s->lengths + row, out, 0, 0, 0};
}

/* Return the bytes of all blocks, or -1 if a table lacks a symbol. */
static int64_t measure(const writing *s)
{
    int64_t total = 0;
    Py_ssize_t b;
    for (b = 0; b < s->w.blocks; b++) {
        writer at = start(s, b, NULL);
        measure_block(&s->w, b ? s->w.ends[b - 1] : 0, s->w.ends[b], &at);
        if (at.most > MAX_ITEM_BITS) {
            return -1;
        }
        total += (int64_t)((at.bits + 7) / 8);
    }
    return total;
}

static void write_blocks(const writing *s, uint8_t *out)
{
    Py_ssize_t b;
    for (b = 0; b < s->w.blocks; b++) {
        writer at = start(s, b, out);
        (s->msb ? msb_block : lsb_block)(&s->w, b ? s->w.ends[b - 1] : 0, s->w.ends[b], &at);
        finish(&at, s->msb);
        out = at.out;
    }
}

static int check_writing(const writing *s, Py_ssize_t codes, Py_ssize_t lengths)
{
    const Py_ssize_t row = streams_of(&s->w) * SYMBOLS;
    Py_ssize_t b;
    if (codes != 2 * lengths || lengths % row != 0 || s->class_count != s->w.blocks) {
        return 0;
    }
    for (b = 0; b < s->w.blocks; b++) {
        if (s->classes[b] >= lengths / row) {
            return 0;
        }
    }
    return 1;
}

static PyObject *write_items(PyObject *self, PyObject *args)
{
    writing s;
    walk *const w = &s.w;
    Py_ssize_t ends, codes, lengths;
    PyObject *data;
    int64_t total;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#y#(iiiiii)y#y#y#p", &w->planes, &w->bytes, &w->ends, &ends,
                          &w->width, &w->layout, &w->background, &w->highest, &w->stores,
                          &w->alphabet, &s.codes, &codes, &s.lengths, &lengths, &s.classes,
                          &s.class_count, &s.msb)) {
        return NULL;
    }
    w->blocks = ends / (Py_ssize_t)sizeof(int64_t);
    if (!check(w) || !check_writing(&s, codes, lengths)) {
        return bad("blocks, tables or parameters that make no sense");
    }
    Py_BEGIN_ALLOW_THREADS
    total = measure(&s);
    Py_END_ALLOW_THREADS
    if (total < 0) {
        Py_RETURN_NONE;
    }
    if (total > PY_SSIZE_T_MAX) {
        return PyErr_NoMemory();
    }
    data = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)total);
    if (data == NULL) {
        return NULL;
    }
    uint8_t *const out = (uint8_t *)PyBytes_AsString(data);
    Py_BEGIN_ALLOW_THREADS
    write_blocks(&s, out);
    Py_END_ALLOW_THREADS
    return data;
}

PyMethodDef dcf_walk_methods[] = {
    {"walk_count", count, METH_VARARGS, NULL},
    {"walk_write", write_items, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

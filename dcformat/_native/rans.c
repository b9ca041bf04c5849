/* The range variant of asymmetric numeral systems (Duda 2013) with fixed frequencies.
 *
 * Spec: spec/encodings/coder_zstd.md, "Frequencies". Python side: dcformat/rans.py, which does the
 * same without this file.
 */
#include "kernels.h"

#include <string.h>

enum { SYMBOLS = 256, MOST_BITS = 12, MOST_LANES = 8, LOW = 1 << 16 };

typedef struct {
    const uint16_t *frequencies;
    uint32_t starts[SYMBOLS];
    Py_ssize_t bits, lanes, bytes;
} model;

/* Sum the frequencies up; 0 where they are not those of 2^bits slots. */
static int fits(model *m)
{
    uint32_t sum = 0;
    int s;
    if (m->bits < 1 || m->bits > MOST_BITS || m->lanes < 1 || m->lanes > MOST_LANES ||
        m->bytes != SYMBOLS * (Py_ssize_t)sizeof(uint16_t)) {
        return 0;
    }
    for (s = 0; s < SYMBOLS; s++) {
        m->starts[s] = sum;
        sum += m->frequencies[s];
    }
    return sum == 1U << m->bits;
}

static PyObject *bad(void)
{
    PyErr_SetString(PyExc_ValueError, "sizes do not fit");
    return NULL;
}

static void put(uint8_t *at, uint32_t value, int bytes)
{
    for (; bytes > 0; bytes--, value >>= 8) {
        *at++ = (uint8_t)value;
    }
}

/* Write backwards, from `end`, the words of symbols n - 1 to 0 and the states; return where they
 * begin, NULL for a symbol without a frequency. */
static uint8_t *write_back(const model *m, const uint8_t *symbols, Py_ssize_t n, uint8_t *end)
{
    uint32_t states[MOST_LANES];
    Py_ssize_t i;
    for (i = 0; i < MOST_LANES; i++) {
        states[i] = LOW;
    }
    for (i = n - 1; i >= 0; i--) {
        uint32_t *const x = &states[i % m->lanes];
        const uint32_t f = m->frequencies[symbols[i]];
        if (f == 0) {
            return NULL;
        }
        if (*x >= (uint64_t)f << (32 - m->bits)) {
            end -= 2;
            put(end, *x & 0xFFFFU, 2);
            *x >>= 16;
        }
        *x = (*x / f << m->bits) + *x % f + m->starts[symbols[i]];
    }
    for (i = m->lanes - 1; i >= 0; i--) {
        end -= 4;
        put(end, states[i], 4);
    }
    return end;
}

static PyObject *rans_write(PyObject *self, PyObject *args)
{
    model m;
    const uint8_t *symbols;
    uint8_t *room, *start;
    Py_ssize_t n, size;
    PyObject *result;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#y#nn", &symbols, &n, &m.frequencies, &m.bytes, &m.bits,
                          &m.lanes)) {
        return NULL;
    }
    if (!fits(&m)) {
        return bad();
    }
    size = 2 * n + 4 * m.lanes;
    room = PyMem_Malloc((size_t)size);
    if (room == NULL) {
        return PyErr_NoMemory();
    }
    Py_BEGIN_ALLOW_THREADS
    start = write_back(&m, symbols, n, room + size);
    Py_END_ALLOW_THREADS
    result = start ? PyBytes_FromStringAndSize((const char *)start, room + size - start) : bad();
    PyMem_Free(room);
    return result;
}

static uint32_t word(const uint8_t *at, int bytes)
{
    uint32_t value = 0;
    for (; bytes > 0; bytes--) {
        value = value << 8 | at[bytes - 1];
    }
    return value;
}

/* Write n symbols; return whether the bytes are exactly those of n symbols. */
static int read_all(const model *m, const uint8_t *at, const uint8_t *end, uint8_t *symbols,
                    Py_ssize_t n)
{
    const uint32_t mask = (1U << m->bits) - 1;
    uint8_t slots[1 << MOST_BITS];
    uint32_t states[MOST_LANES];
    Py_ssize_t i;
    int s, good = end - at >= 4 * m->lanes;
    for (s = 0; s < SYMBOLS; s++) {
        memset(slots + m->starts[s], s, m->frequencies[s]);
    }
    for (i = 0; good && i < m->lanes; i++, at += 4) {
        states[i] = word(at, 4);
        good = states[i] >= LOW;
    }
    for (i = 0; good && i < n; i++) {
        uint32_t *const x = &states[i % m->lanes];
        const uint32_t slot = *x & mask;
        const uint8_t symbol = slots[slot];
        symbols[i] = symbol;
        *x = m->frequencies[symbol] * (*x >> m->bits) + slot - m->starts[symbol];
        if (*x < LOW) {
            good = end - at >= 2;
            *x = good ? *x << 16 | word(at, 2) : 0;
            at += 2;
        }
    }
    for (i = 0; good && i < m->lanes; i++) {
        good = states[i] == LOW;
    }
    return good && at == end;
}

static PyObject *rans_read(PyObject *self, PyObject *args)
{
    model m;
    const uint8_t *data;
    uint8_t *symbols;
    Py_ssize_t size, n;
    PyObject *result;
    int good;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#ny#nn", &data, &size, &n, &m.frequencies, &m.bytes, &m.bits,
                          &m.lanes)) {
        return NULL;
    }
    if (!fits(&m) || n < 0) {
        return bad();
    }
    result = PyBytes_FromStringAndSize(NULL, n);
    if (result == NULL) {
        return NULL;
    }
    symbols = (uint8_t *)PyBytes_AsString(result);
    Py_BEGIN_ALLOW_THREADS
    good = read_all(&m, data, data + size, symbols, n);
    Py_END_ALLOW_THREADS
    if (!good) {
        Py_DECREF(result);
        Py_RETURN_NONE;
    }
    return result;
}

PyMethodDef dcf_rans_methods[] = {
    {"rans_write", rans_write, METH_VARARGS, NULL},
    {"rans_read", rans_read, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* Hot loops of the encoder: Huffman lengths and codes, histogram, counts of blocks, k-means.
 *
 * Python side, and what each function means: dcformat/kernels.py.
 */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_SYMBOLS = 256, MAX_CODE_BITS = 12 };

/* Package-merge adds at most 12 * 256 counts, which must not overflow. */
#define MAX_COUNT ((int64_t)1 << 48)

static PyObject *bad(const char *what)
{
    PyErr_SetString(PyExc_ValueError, what);
    return NULL;
}

/* ---- Huffman ------------------------------------------------------------------------------ */

typedef struct {
    int64_t count;
    int symbol;
} item;

static int by_count(const void *a, const void *b)
{
    const item *x = a, *y = b;
    if (x->count != y->count) {
        return x->count < y->count ? -1 : 1;
    }
    return x->symbol - y->symbol;
}

static int by_count_down(const void *a, const void *b)
{
    const item *x = a, *y = b;
    if (x->count != y->count) {
        return x->count > y->count ? -1 : 1;
    }
    return x->symbol - y->symbol;
}

/* One round of package-merge: pair up the list, merge the pairs with the items. Returns the new
 * size; kinds[i] tells whether entry i is an item. */
static int merge_round(const item *items, int m, int64_t *list, int size, uint8_t *kinds)
{
    int64_t packages[MAX_SYMBOLS];
    const int pairs = size / 2;
    int i = 0, p = 0, at;
    for (at = 0; at < pairs; at++) {
        packages[at] = list[2 * at] + list[2 * at + 1];
    }
    for (at = 0; at < m + pairs; at++) {
        /* an item before a package of the same weight */
        kinds[at] = (uint8_t)(i < m && (p == pairs || items[i].count <= packages[p]));
        list[at] = kinds[at] ? items[i++].count : packages[p++];
    }
    return m + pairs;
}

/* depths[i] becomes the code length of the i-th lightest item; they descend. */
static void package_merge(const item *items, int m, uint8_t *depths)
{
    int64_t list[2 * MAX_SYMBOLS];
    uint8_t kinds[MAX_CODE_BITS][2 * MAX_SYMBOLS];
    int size = 0, round, take = 2 * (m - 1), i;
    for (round = 0; round < MAX_CODE_BITS; round++) {
        size = merge_round(items, m, list, size, kinds[round]);
    }
    memset(depths, 0, (size_t)m);
    while (round-- > 0) {
        int taken = 0;
        for (i = 0; i < take; i++) {
            taken += kinds[round][i];
        }
        for (i = 0; i < taken; i++) {
            depths[i]++;
        }
        take = 2 * (take - taken);
    }
}

void dcf_code_lengths(const int64_t *counts, int n, uint8_t *lengths)
{
    item items[MAX_SYMBOLS];
    uint8_t depths[MAX_SYMBOLS];
    int m = 0, i;
    for (i = 0; i < n; i++) {
        lengths[i] = 0;
        if (counts[i] > 0) {
            items[m].count = counts[i];
            items[m++].symbol = i;
        }
    }
    if (m < 2) {
        return;
    }
    qsort(items, (size_t)m, sizeof *items, by_count);
    package_merge(items, m, depths);
    qsort(items, (size_t)m, sizeof *items, by_count_down);
    for (i = 0; i < m; i++) {
        lengths[items[i].symbol] = depths[m - 1 - i];
    }
}

static PyObject *code_lengths(PyObject *self, PyObject *args)
{
    const char *data;
    Py_ssize_t bytes;
    int64_t counts[MAX_SYMBOLS];
    uint8_t lengths[MAX_SYMBOLS];
    int n, i;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#", &data, &bytes)) {
        return NULL;
    }
    if (bytes > (Py_ssize_t)sizeof counts) {
        return bad("more than 256 counts");
    }
    n = (int)(bytes / (Py_ssize_t)sizeof(int64_t));
    memcpy(counts, data, (size_t)n * sizeof *counts);
    for (i = 0; i < n; i++) {
        if (counts[i] < 0 || counts[i] > MAX_COUNT) {
            return bad("a count is negative or above 2**48");
        }
    }
    dcf_code_lengths(counts, n, lengths);
    return PyBytes_FromStringAndSize((const char *)lengths, n);
}

static PyObject *canonical_codes(PyObject *self, PyObject *args)
{
    const uint8_t *lengths;
    Py_ssize_t n, i;
    uint16_t codes[MAX_SYMBOLS] = {0};
    uint32_t code = 0, length;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#", &lengths, &n)) {
        return NULL;
    }
    if (n > MAX_SYMBOLS) {
        return bad("more than 256 code lengths");
    }
    for (length = 1; length <= MAX_CODE_BITS; length++, code <<= 1) {
        for (i = 0; i < n; i++) {
            if (lengths[i] == length) {
                codes[i] = (uint16_t)code++;
            }
        }
    }
    return PyBytes_FromStringAndSize((const char *)codes, n * (Py_ssize_t)sizeof *codes);
}

/* ---- Counting ----------------------------------------------------------------------------- */

static void count_bytes(const uint8_t *symbols, Py_ssize_t n, int64_t counts[MAX_SYMBOLS])
{
    /* four tables: equal neighbours do not wait for each other's store */
    int64_t parts[4][MAX_SYMBOLS] = {{0}};
    Py_ssize_t i, s;
    for (i = 0; i + 4 <= n; i += 4) {
        parts[0][symbols[i]]++;
        parts[1][symbols[i + 1]]++;
        parts[2][symbols[i + 2]]++;
        parts[3][symbols[i + 3]]++;
    }
    for (; i < n; i++) {
        parts[0][symbols[i]]++;
    }
    for (s = 0; s < MAX_SYMBOLS; s++) {
        counts[s] = parts[0][s] + parts[1][s] + parts[2][s] + parts[3][s];
    }
}

static PyObject *histogram(PyObject *self, PyObject *args)
{
    const uint8_t *symbols;
    Py_ssize_t n;
    int64_t counts[MAX_SYMBOLS];
    (void)self;
    if (!PyArg_ParseTuple(args, "y#", &symbols, &n)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    count_bytes(symbols, n, counts);
    Py_END_ALLOW_THREADS
    return PyBytes_FromStringAndSize((const char *)counts, sizeof counts);
}

/* ---- Counts of blocks --------------------------------------------------------------------- */

enum { MAX_NARROW = 1 << 23 }; /* symbols of a block whose bits, 255 each, an int32 can count */

typedef struct {
    const uint32_t *counts; /* (blocks, symbols) */
    Py_ssize_t bytes, symbols, blocks;
} counted;

static int divides(counted *of)
{
    const Py_ssize_t width = (Py_ssize_t)sizeof *of->counts;
    if (of->symbols < 1 || of->symbols > PY_SSIZE_T_MAX / 8 || of->bytes % (of->symbols * width)) {
        return 0;
    }
    of->blocks = of->bytes / (of->symbols * width);
    return 1;
}

/* Copy a row as int16, which is quick to multiply; returns 0 if it does not fit. */
static int narrow(const uint32_t *counts, Py_ssize_t n, int16_t *out)
{
    uint32_t all = 0;
    int64_t total = 0;
    Py_ssize_t i;
    for (i = 0; i < n; i++) {
        all |= counts[i];
        total += counts[i];
        out[i] = (int16_t)(counts[i] & INT16_MAX);
    }
    return all <= INT16_MAX && total <= MAX_NARROW;
}

static int32_t dot_narrow(const int16_t *restrict counts, const int16_t *restrict prices,
                          Py_ssize_t n)
{
    int32_t sum = 0;
    Py_ssize_t i;
    for (i = 0; i < n; i++) {
        sum += counts[i] * prices[i];
    }
    return sum;
}

static int64_t dot(const uint32_t *counts, const int16_t *prices, Py_ssize_t n)
{
    int64_t sum = 0;
    Py_ssize_t i;
    for (i = 0; i < n; i++) {
        sum += (int64_t)counts[i] * prices[i];
    }
    return sum;
}

static void price(const counted *of, const int16_t *prices, Py_ssize_t lists, int16_t *room,
                  int64_t *out)
{
    Py_ssize_t b, k;
    for (b = 0; b < of->blocks; b++) {
        const uint32_t *const row = of->counts + b * of->symbols;
        const int narrowed = narrow(row, of->symbols, room);
        for (k = 0; k < lists; k++) {
            const int16_t *const mine = prices + k * of->symbols;
            *out++ = narrowed ? dot_narrow(room, mine, of->symbols) : dot(row, mine, of->symbols);
        }
    }
}

static PyObject *price_blocks(PyObject *self, PyObject *args)
{
    counted of;
    const int16_t *prices;
    Py_ssize_t bytes, lists;
    PyObject *result;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#ny#", &of.counts, &of.bytes, &of.symbols, &prices, &bytes)) {
        return NULL;
    }
    if (!divides(&of) || bytes % (of.symbols * (Py_ssize_t)sizeof *prices)) {
        return bad("expected rows of counts, and prices for each of them");
    }
    lists = bytes / (of.symbols * (Py_ssize_t)sizeof *prices);
    if (lists && of.blocks > PY_SSIZE_T_MAX / 8 / lists) {
        return PyErr_NoMemory();
    }
    int16_t *const room = malloc((size_t)of.symbols * sizeof *room);
    result = PyBytes_FromStringAndSize(NULL, of.blocks * lists * (Py_ssize_t)sizeof(int64_t));
    if (room == NULL || result == NULL) {
        free(room);
        Py_XDECREF(result);
        return PyErr_NoMemory();
    }
    int64_t *const out = (int64_t *)(void *)PyBytes_AsString(result);
    Py_BEGIN_ALLOW_THREADS
    price(&of, prices, lists, room, out);
    Py_END_ALLOW_THREADS
    free(room);
    return result;
}

static PyObject *sum_blocks(PyObject *self, PyObject *args)
{
    counted of;
    const uint8_t *classes;
    Py_ssize_t size, count, b, i;
    PyObject *result;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#ny#n", &of.counts, &of.bytes, &of.symbols, &classes, &size,
                          &count)) {
        return NULL;
    }
    if (!divides(&of) || size != of.blocks || count < 1 || count > MAX_SYMBOLS) {
        return bad("expected rows of counts, and a class for each");
    }
    for (b = 0; b < size; b++) {
        if (classes[b] >= count) {
            return bad("a class that there is not");
        }
    }
    if (of.symbols > PY_SSIZE_T_MAX / 8 / count) {
        return PyErr_NoMemory();
    }
    const Py_ssize_t bytes = count * of.symbols * (Py_ssize_t)sizeof(int64_t);
    result = PyBytes_FromStringAndSize(NULL, bytes);
    if (result == NULL) {
        return NULL;
    }
    int64_t *const out = (int64_t *)(void *)PyBytes_AsString(result);
    Py_BEGIN_ALLOW_THREADS
    memset(out, 0, (size_t)bytes);
    for (b = 0; b < of.blocks; b++) {
        const uint32_t *const row = of.counts + b * of.symbols;
        int64_t *const mine = out + classes[b] * of.symbols;
        for (i = 0; i < of.symbols; i++) {
            mine[i] += row[i];
        }
    }
    Py_END_ALLOW_THREADS
    return result;
}

/* ---- k-means ------------------------------------------------------------------------------ */

/* Interleave the three running sums, then search. Returns 0, or -1 if memory ran out. */
static int cluster(const double *const columns[3], int64_t n, int64_t k, int64_t *ends)
{
    dcf_sums *const sums = malloc(((size_t)n + 1) * sizeof *sums);
    int64_t i;
    int status = -1;
    if (sums != NULL) {
        for (i = 0; i <= n; i++) {
            sums[i].w = columns[0][i];
            sums[i].x = columns[1][i];
            sums[i].xx = columns[2][i];
        }
        status = dcf_kmeans_ends(sums, n, k, ends);
    }
    free(sums);
    return status;
}

static PyObject *kmeans_ends(PyObject *self, PyObject *args)
{
    const double *columns[3];
    Py_ssize_t size[3], k, n;
    PyObject *ends;
    int status;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#y#y#n", &columns[0], &size[0], &columns[1], &size[1],
                          &columns[2], &size[2], &k)) {
        return NULL;
    }
    n = size[0] / (Py_ssize_t)sizeof(double) - 1;
    if (size[0] != size[1] || size[0] != size[2] || k < 1 || k >= n) {
        return bad("expected three sums over n points, and 1 <= k < n");
    }
    ends = PyBytes_FromStringAndSize(NULL, k * (Py_ssize_t)sizeof(int64_t));
    if (ends == NULL) {
        return NULL;
    }
    int64_t *const out = (int64_t *)(void *)PyBytes_AsString(ends);
    Py_BEGIN_ALLOW_THREADS
    status = cluster(columns, n, k, out);
    Py_END_ALLOW_THREADS
    if (status < 0) {
        Py_DECREF(ends);
        return PyErr_NoMemory();
    }
    return ends;
}

PyMethodDef dcf_kernel_methods[] = {
    {"kernel_code_lengths", code_lengths, METH_VARARGS, NULL},
    {"kernel_canonical_codes", canonical_codes, METH_VARARGS, NULL},
    {"kernel_histogram", histogram, METH_VARARGS, NULL},
    {"kernel_price_blocks", price_blocks, METH_VARARGS, NULL},
    {"kernel_sum_blocks", sum_blocks, METH_VARARGS, NULL},
    {"kernel_kmeans_ends", kmeans_ends, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

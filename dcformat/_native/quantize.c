/* Levels and cells for an entropy coder: the twin of dcformat/compress/refine.py, which explains
 * the method.
 *
 * The same floating-point operations in the same order, so the same bits; compile with
 * -ffp-contract=off.
 */
#include "kernels.h"

#include <math.h>
#include <string.h>

enum { MOST = 256, LAST_GAP = 63 };

typedef struct {
    const double *values, *w, *x, *xx;
    const int64_t *counts;
    int64_t n, zeros;
} points;

typedef struct {
    double width, shift;
} steps;

typedef struct {
    double level;
    int64_t start, count;
} cell;

typedef struct {
    cell at[MOST];
    int size, zero;
    double error, bits;
    double price[MOST];
} cells;

/* ---- the bits of symbols ------------------------------------------------------------------ */

static double log_2(double x)
{
    int exponent, k;
    const double m = frexp(x, &exponent);
    const double s = (m - 1.0) / (m + 1.0), t = s * s;
    double sum = 0.0;
    for (k = 39; k > 0; k -= 2) {
        sum = sum * t + 1.0 / (double)k;
    }
    return 2.0 * s * sum / 0.6931471805599453 + (double)exponent;
}

/* Bits of the gap before a value, where a share q of the elements are values. */
static double gap_bits(double q)
{
    double share[LAST_GAP + 1], power = 1.0, bits = 0.0;
    int64_t counts[LAST_GAP + 1];
    uint8_t lengths[LAST_GAP + 1];
    int g;
    for (g = 0; g < LAST_GAP; g++) {
        share[g] = q * power;
        power *= 1.0 - q;
    }
    share[LAST_GAP] = power;
    for (g = 0; g <= LAST_GAP; g++) {
        counts[g] = (int64_t)(share[g] * 1073741824.0);
    }
    dcf_code_lengths(counts, LAST_GAP + 1, lengths);
    for (g = 0; g <= LAST_GAP; g++) {
        bits += share[g] * (double)lengths[g];
    }
    return bits / (1.0 - power);
}

/* Set the bits of each cell's symbol, and of them all; zero's cell is in gaps where `sparse`. */
static void count_bits(cells *c, int sparse)
{
    int64_t counts[MOST], all = 0, zeros = 0;
    uint8_t lengths[MOST];
    double zero = 0.0, value = 0.0;
    int i;
    for (i = 0; i < c->size; i++) {
        counts[i] = c->at[i].count;
        all += counts[i];
    }
    zeros = c->zero >= 0 ? counts[c->zero] : 0;
    sparse = sparse && zeros > 0 && zeros < all;
    if (sparse) {
        const double q = (double)(all - zeros) / (double)all;
        const double past = log_2(1.0 - q), there = log_2(q);
        const double factor = gap_bits(q) / (-there - past * ((1.0 - q) / q));
        counts[c->zero] = 0;
        zero = -past * factor;
        value = -there * factor;
    }
    dcf_code_lengths(counts, c->size, lengths);
    c->bits = 0.0;
    for (i = 0; i < c->size; i++) {
        c->price[i] = sparse && i == c->zero ? zero : (double)lengths[i] + value;
        c->bits += (double)c->at[i].count * c->price[i];
    }
}

/* ---- cells -------------------------------------------------------------------------------- */

/* Put points start … end - 1 into a new last cell; zero's has the level 0 and the zeros. */
static void put(const points *p, cells *c, int64_t start, int64_t end, int zero)
{
    cell *const at = &c->at[c->size];
    const double w = p->w[end] - p->w[start], x = p->x[end] - p->x[start];
    double wrong;
    at->start = start;
    at->count = p->counts[end] - p->counts[start] + (zero ? p->zeros : 0);
    at->level = zero ? 0.0 : x / w;
    wrong = (p->xx[end] - p->xx[start]) - (2.0 * x - at->level * w) * at->level;
    c->error += wrong > 0.0 ? wrong : 0.0;
    if (zero) {
        c->zero = c->size;
    }
    c->size++;
}

static double step_of(const points *p, int64_t i, steps s)
{
    return floor(p->values[i] / s.width + (0.5 - s.shift));
}

/* Return the first point from `low` on whose step is above `key`. */
static int64_t after_step(const points *p, int64_t low, steps s, double key)
{
    int64_t high = p->n;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (step_of(p, middle, s) > key) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* Return the first point from `low` on that is not below `border`. */
static int64_t from_border(const points *p, int64_t low, double border)
{
    int64_t high = p->n;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (p->values[middle] < border) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void clear(cells *c)
{
    c->size = 0;
    c->zero = -1;
    c->error = 0.0;
}

/* Cells of equal steps, one of them around s.shift. Returns 0, or -1 if there are more than 256. */
static int equal_steps(const points *p, steps s, cells *c)
{
    int64_t i = 0;
    clear(c);
    while (i < p->n) {
        const double key = step_of(p, i, s);
        const int64_t end = after_step(p, i, s, key);
        const int insert = key > 0.0 && c->zero < 0 && p->zeros > 0;
        if (c->size + insert >= MOST) {
            return -1;
        }
        if (insert) {
            put(p, c, i, i, 1);
        }
        put(p, c, i, end, key == 0.0 && s.shift == 0.0);
        i = end;
    }
    if (c->zero < 0 && p->zeros > 0) {
        if (c->size == MOST) {
            return -1;
        }
        put(p, c, i, i, 1);
    }
    return 0;
}

/* Find the levels that are somewhere the cheapest by squared distance + price * bits, and the
 * borders below them. Returns how many there are. */
static int envelope(const cells *c, double price, int *kept, double *borders)
{
    int size = 0, i;
    for (i = 0; i < c->size; i++) {
        const double level = c->at[i].level, cost = price * c->price[i];
        double border = 0.0;
        int there = 1;
        while (size > 0) {
            const cell *const top = &c->at[kept[size - 1]];
            const double theirs = price * c->price[kept[size - 1]], apart = level - top->level;
            if (!(apart > 0.0)) {
                there = cost < theirs;
                if (!there) {
                    break;
                }
            } else {
                border = ((level * level + cost) - (top->level * top->level + theirs)) / (2.0 * apart);
                if (size == 1 || border > borders[size - 1]) {
                    break;
                }
            }
            size--;
        }
        if (there) {
            kept[size] = i;
            borders[size++] = border;
        }
    }
    return size;
}

/* Give each point to the level that is cheapest for it, and move the levels to their means. */
static void assign(const points *p, const cells *old, double price, cells *c)
{
    int kept[MOST], size, i;
    double borders[MOST];
    int64_t start = 0;
    size = envelope(old, price, kept, borders);
    clear(c);
    for (i = 0; i < size; i++) {
        const int zero = kept[i] == old->zero;
        const int64_t end = i + 1 < size ? from_border(p, start, borders[i + 1]) : p->n;
        if (old->zero >= 0 && kept[i] > old->zero && c->zero < 0 && p->zeros > 0) {
            put(p, c, start, start, 1);
        }
        if (end > start || (zero && p->zeros > 0)) {
            put(p, c, start, end, zero);
        }
        start = end;
    }
    if (c->zero < 0 && p->zeros > 0) {
        put(p, c, p->n, p->n, 1);
    }
}

static int refine(const points *p, steps s, double price, int sparse, int rounds, cells *c)
{
    cells next;
    int round;
    if (equal_steps(p, s, c) != 0) {
        return -1;
    }
    count_bits(c, sparse);
    for (round = 0; round < rounds; round++) {
        assign(p, c, price, &next);
        memcpy(c, &next, sizeof next);
        count_bits(c, sparse);
    }
    return 0;
}

/* ---- Python ------------------------------------------------------------------------------- */

static PyObject *answer(const cells *c)
{
    double levels[MOST];
    int64_t starts[MOST];
    int i;
    for (i = 0; i < c->size; i++) {
        levels[i] = c->at[i].level;
        starts[i] = c->at[i].start;
    }
    return Py_BuildValue("(y#y#idd)", (const char *)starts, c->size * (Py_ssize_t)sizeof *starts,
                         (const char *)levels, c->size * (Py_ssize_t)sizeof *levels, c->zero,
                         c->error, c->bits);
}

/* quantize_refine(values, counts, w, x, xx, zeros, step, shift, price, sparse, rounds)
 * -> (starts, levels, zero, error, bits), or None if 256 levels are too few */
static PyObject *quantize_refine(PyObject *self, PyObject *args)
{
    points p;
    cells c;
    Py_ssize_t size[5];
    long long zeros;
    steps s;
    double price;
    int sparse, rounds, status;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#y#y#y#y#Ldddii", &p.values, &size[0], &p.counts, &size[1], &p.w,
                          &size[2], &p.x, &size[3], &p.xx, &size[4], &zeros, &s.width,
                          &s.shift, &price, &sparse, &rounds)) {
        return NULL;
    }
    p.n = size[0] / (Py_ssize_t)sizeof(double);
    p.zeros = zeros;
    if (p.n < 1 || size[0] % (Py_ssize_t)sizeof(double) != 0 ||
        size[1] != size[0] + (Py_ssize_t)sizeof(double) || size[2] != size[1] ||
        size[3] != size[1] || size[4] != size[1] || zeros < 0 || !(s.width > 0.0) ||
        !(price >= 0.0) || (s.shift != 0.0 && zeros != 0)) {
        PyErr_SetString(PyExc_ValueError, "expected values, four sums over them, steps and price");
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    status = refine(&p, s, price, sparse, rounds, &c);
    Py_END_ALLOW_THREADS
    if (status != 0) {
        Py_RETURN_NONE;
    }
    return answer(&c);
}

PyMethodDef dcf_quantize_methods[] = {
    {"quantize_refine", quantize_refine, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

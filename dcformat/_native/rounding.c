/* Looking at weights, rounding them to int8 and what that loses, in one pass each.
 *
 * Python side, and what each function means: dcformat/rounding.py. An array is seen as
 * outer x channels x inner elements.
 */
#include "kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>

typedef struct {
    const void *weights;
    Py_ssize_t bytes, outer, channels, inner;
} view;

/* Tell whether the buffer is an array of this shape, of elements of `width` bytes. */
static int fits(const view *v, Py_ssize_t width)
{
    const Py_ssize_t most = PY_SSIZE_T_MAX / 8;
    return (width == 4 || width == 8) && v->outer > 0 && v->channels > 0 && v->inner > 0 &&
           v->channels <= most / v->outer && v->inner <= most / (v->outer * v->channels) &&
           v->bytes == v->outer * v->channels * v->inner * width;
}

static PyObject *bad(void)
{
    PyErr_SetString(PyExc_ValueError, "expected an array, and as many scales as channels");
    return NULL;
}

/* Magnitudes are compared as integers, which IEEE 754 allows and vectors are quick at. */
#define SURVEY(NAME, BITS, MASK)                                                                  \
    static int64_t across_##NAME(const BITS *at, Py_ssize_t n, BITS *restrict peaks)              \
    {                                                                                             \
        int64_t zeros = 0;                                                                        \
        Py_ssize_t i;                                                                             \
        for (i = 0; i < n; i++) {                                                                 \
            const BITS size = at[i] & (MASK);                                                     \
            zeros += size == 0;                                                                   \
            peaks[i] = size > peaks[i] ? size : peaks[i];                                         \
        }                                                                                         \
        return zeros;                                                                             \
    }                                                                                             \
                                                                                                  \
    static int64_t along_##NAME(const BITS *at, Py_ssize_t n, BITS *restrict peak)                \
    {                                                                                             \
        int64_t zeros = 0;                                                                        \
        BITS most = *peak;                                                                        \
        Py_ssize_t i;                                                                             \
        for (i = 0; i < n; i++) {                                                                 \
            const BITS size = at[i] & (MASK);                                                     \
            zeros += size == 0;                                                                   \
            most = size > most ? size : most;                                                     \
        }                                                                                         \
        *peak = most;                                                                             \
        return zeros;                                                                             \
    }                                                                                             \
                                                                                                  \
    static int64_t survey_##NAME(const view *v, BITS *peaks)                                      \
    {                                                                                             \
        const BITS *at = v->weights;                                                              \
        int64_t zeros = 0;                                                                        \
        Py_ssize_t o, c;                                                                          \
        for (o = 0; o < v->outer; o++, at += v->channels * v->inner) {                            \
            if (v->inner == 1) {                                                                  \
                zeros += across_##NAME(at, v->channels, peaks);                                   \
                continue;                                                                         \
            }                                                                                     \
            for (c = 0; c < v->channels; c++) {                                                   \
                zeros += along_##NAME(at + c * v->inner, v->inner, peaks + c);                    \
            }                                                                                     \
        }                                                                                         \
        return zeros;                                                                             \
    }

SURVEY(single, int32_t, INT32_MAX)
SURVEY(pair, int64_t, INT64_MAX)

/* Round to the nearest integer from -127 to 127, ties to even; NaN gives -127. */
static int8_t nearest(double steps)
{
    const double most = steps > -127.0 ? steps : -127.0;
    const double kept = most < 127.0 ? most : 127.0;
#if FLT_EVAL_METHOD == 0
    const double shift = 6755399441055744.0; /* 1.5 * 2^52: the sum has no bits for a fraction */
    return (int8_t)((kept + shift) - shift);
#else
    return (int8_t)rint(kept);
#endif
}

#define ROUND(NAME, TYPE)                                                                         \
    static void round_##NAME(const view *v, const double *restrict scales, int8_t *restrict out)  \
    {                                                                                             \
        const TYPE *restrict at = v->weights;                                                     \
        const Py_ssize_t channels = v->channels, inner = v->inner;                                \
        const Py_ssize_t rows = inner == 1 ? v->outer : v->outer * channels;                      \
        Py_ssize_t r, i;                                                                          \
        for (r = 0; r < rows; r++) {                                                              \
            if (inner == 1) {                                                                     \
                for (i = 0; i < channels; i++) {                                                  \
                    out[i] = nearest((double)at[i] / scales[i]);                                  \
                }                                                                                 \
                at += channels;                                                                   \
                out += channels;                                                                  \
                continue;                                                                         \
            }                                                                                     \
            const double scale = scales[r % channels];                                            \
            for (i = 0; i < inner; i++) {                                                         \
                out[i] = nearest((double)at[i] / scale);                                          \
            }                                                                                     \
            at += inner;                                                                          \
            out += inner;                                                                         \
        }                                                                                         \
    }

ROUND(single, float)
ROUND(pair, double)

/* Add to sums[c] the squared errors of channel c, in the order of the elements. */
#define SQUARES(NAME, TYPE)                                                                       \
    static void squares_##NAME(const view *v, const double *restrict scales,                      \
                               double *restrict sums)                                             \
    {                                                                                             \
        const TYPE *restrict at = v->weights;                                                     \
        Py_ssize_t o, c, i;                                                                       \
        for (o = 0; o < v->outer; o++) {                                                          \
            for (c = 0; c < v->channels && v->inner == 1; c++, at++) {                            \
                const double wrong = (double)*at - nearest((double)*at / scales[c]) * scales[c];  \
                sums[c] += wrong * wrong;                                                         \
            }                                                                                     \
            for (c = 0; c < v->channels && v->inner > 1; c++) {                                   \
                for (i = 0; i < v->inner; i++, at++) {                                            \
                    const double steps = nearest((double)*at / scales[c]);                        \
                    const double wrong = (double)*at - steps * scales[c];                         \
                    sums[c] += wrong * wrong;                                                     \
                }                                                                                 \
            }                                                                                     \
        }                                                                                         \
    }

SQUARES(single, float)
SQUARES(pair, double)

enum { LANES = 8 };

/* Keep the largest |at - numbers * scale| of each lane, and count those that are not finite. */
#define WORST(NAME, TYPE)                                                                         \
    static int64_t worst_##NAME(const TYPE *restrict at, const int8_t *restrict numbers,          \
                                const float *restrict scales, Py_ssize_t step, Py_ssize_t n,      \
                                double *restrict most)                                            \
    {                                                                                             \
        int64_t odd = 0;                                                                          \
        Py_ssize_t i, k;                                                                          \
        for (i = 0; i < n; i += LANES) {                                                          \
            const Py_ssize_t left = n - i < LANES ? n - i : LANES;                                \
            for (k = 0; k < left; k++) {                                                          \
                const float back = (float)numbers[i + k] * scales[step * (i + k)];                \
                const double wrong = fabs((double)at[i + k] - (double)back);                      \
                odd += !(wrong <= DBL_MAX);                                                       \
                most[k] = wrong > most[k] ? wrong : most[k];                                      \
            }                                                                                     \
        }                                                                                         \
        return odd;                                                                               \
    }                                                                                             \
                                                                                                  \
    static int64_t worsts_##NAME(const view *v, const int8_t *numbers, const float *scales,       \
                                 double *most)                                                    \
    {                                                                                             \
        const TYPE *at = v->weights;                                                              \
        const Py_ssize_t n = v->inner == 1 ? v->channels : v->inner;                              \
        const Py_ssize_t rows = v->inner == 1 ? v->outer : v->outer * v->channels;                \
        int64_t odd = 0;                                                                          \
        Py_ssize_t r;                                                                             \
        for (r = 0; r < rows; r++, at += n, numbers += n) {                                       \
            const float *const mine = v->inner == 1 ? scales : scales + r % v->channels;          \
            odd += worst_##NAME(at, numbers, mine, v->inner == 1, n, most);                       \
        }                                                                                         \
        return odd;                                                                               \
    }

WORST(single, float)
WORST(pair, double)

static PyObject *survey(PyObject *self, PyObject *args)
{
    view v;
    Py_ssize_t width;
    PyObject *peaks;
    int64_t zeros;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#nnnn", &v.weights, &v.bytes, &width, &v.outer, &v.channels,
                          &v.inner)) {
        return NULL;
    }
    if (!fits(&v, width)) {
        return bad();
    }
    peaks = PyBytes_FromStringAndSize(NULL, v.channels * width);
    if (peaks == NULL) {
        return NULL;
    }
    void *const out = PyBytes_AsString(peaks);
    memset(out, 0, (size_t)(v.channels * width));
    Py_BEGIN_ALLOW_THREADS
    zeros = width == 4 ? survey_single(&v, out) : survey_pair(&v, out);
    Py_END_ALLOW_THREADS
    return Py_BuildValue("(NL)", peaks, (long long)zeros);
}

static PyObject *round_int8(PyObject *self, PyObject *args)
{
    view v;
    Py_ssize_t width, scale_bytes;
    const void *scales;
    PyObject *numbers;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#nnnny#", &v.weights, &v.bytes, &width, &v.outer, &v.channels,
                          &v.inner, &scales, &scale_bytes)) {
        return NULL;
    }
    if (!fits(&v, width) || scale_bytes != v.channels * (Py_ssize_t)sizeof(double)) {
        return bad();
    }
    numbers = PyBytes_FromStringAndSize(NULL, v.bytes / width);
    if (numbers == NULL) {
        return NULL;
    }
    void *const out = PyBytes_AsString(numbers);
    Py_BEGIN_ALLOW_THREADS
    if (width == 4) {
        round_single(&v, scales, out);
    } else {
        round_pair(&v, scales, out);
    }
    Py_END_ALLOW_THREADS
    return numbers;
}

static PyObject *squares(PyObject *self, PyObject *args)
{
    view v;
    Py_ssize_t width, scale_bytes;
    const void *scales;
    PyObject *sums;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#nnnny#", &v.weights, &v.bytes, &width, &v.outer, &v.channels,
                          &v.inner, &scales, &scale_bytes)) {
        return NULL;
    }
    if (!fits(&v, width) || scale_bytes != v.channels * (Py_ssize_t)sizeof(double)) {
        return bad();
    }
    sums = PyBytes_FromStringAndSize(NULL, scale_bytes);
    if (sums == NULL) {
        return NULL;
    }
    void *const out = PyBytes_AsString(sums);
    memset(out, 0, (size_t)scale_bytes);
    Py_BEGIN_ALLOW_THREADS
    if (width == 4) {
        squares_single(&v, scales, out);
    } else {
        squares_pair(&v, scales, out);
    }
    Py_END_ALLOW_THREADS
    return sums;
}

static PyObject *worst(PyObject *self, PyObject *args)
{
    view v;
    Py_ssize_t width, number_bytes, scale_bytes;
    const void *numbers, *scales;
    double most[LANES] = {0};
    int64_t odd;
    int k;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#nnnny#y#", &v.weights, &v.bytes, &width, &v.outer, &v.channels,
                          &v.inner, &numbers, &number_bytes, &scales, &scale_bytes)) {
        return NULL;
    }
    if (!fits(&v, width) || number_bytes != v.bytes / width ||
        scale_bytes != v.channels * (Py_ssize_t)sizeof(float)) {
        return bad();
    }
    Py_BEGIN_ALLOW_THREADS
    odd = width == 4 ? worsts_single(&v, numbers, scales, most)
                     : worsts_pair(&v, numbers, scales, most);
    Py_END_ALLOW_THREADS
    for (k = 1; k < LANES; k++) {
        most[0] = most[k] > most[0] ? most[k] : most[0];
    }
    return PyFloat_FromDouble(odd ? HUGE_VAL : most[0]);
}

PyMethodDef dcf_rounding_methods[] = {
    {"rounding_survey", survey, METH_VARARGS, NULL},
    {"rounding_int8", round_int8, METH_VARARGS, NULL},
    {"rounding_squares", squares, METH_VARARGS, NULL},
    {"rounding_worst", worst, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

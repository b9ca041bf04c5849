/* Looking at weights and rounding them to int8, in one pass each.
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

PyMethodDef dcf_rounding_methods[] = {
    {"rounding_survey", survey, METH_VARARGS, NULL},
    {"rounding_int8", round_int8, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

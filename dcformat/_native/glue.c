/* Module dcformat._core: the C decoder for Python, and the encoder's kernels.
 *
 * Python side: dcformat/native.py and dcformat/kernels.py. Decoding releases the GIL; an open
 * file is never changed, so any number of threads may decode from it.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdlib.h>

#include "dcf.h"
#include "kernels.h"

/* The buffer protocol entered the limited API in 3.11; its layout is that of 3.10. */
#if defined(Py_LIMITED_API) && Py_LIMITED_API < 0x030B0000
typedef struct {
    void *buf;
    PyObject *obj;
    Py_ssize_t len;
    Py_ssize_t itemsize;
    int readonly;
    int ndim;
    char *format;
    Py_ssize_t *shape;
    Py_ssize_t *strides;
    Py_ssize_t *suboffsets;
    void *internal;
} Py_buffer;
PyAPI_FUNC(int) PyObject_GetBuffer(PyObject *exporter, Py_buffer *view, int flags);
PyAPI_FUNC(void) PyBuffer_Release(Py_buffer *view);
#define PyBUF_SIMPLE 0
#endif

#define CAPSULE "dcformat._core.opened"

/* dcf_check decodes tensors up to this size at once, larger ones piece by piece; in a small file
 * up to that many times its size, so that it cannot ask for much. */
enum { CHECK_BUFFER = 1 << 22, CHECK_TIMES = 64 };

typedef struct {
    Py_buffer view;
    dcf_model model;
} opened;

static void release(PyObject *capsule)
{
    opened *file = (opened *)PyCapsule_GetPointer(capsule, CAPSULE);
    PyBuffer_Release(&file->view);
    free(file);
}

/* open_file(data) -> (opened or None, status, place, item) */
static PyObject *open_file(PyObject *self, PyObject *data)
{
    opened *file = (opened *)malloc(sizeof *file);
    PyObject *capsule;
    int status;
    (void)self;
    if (!file) {
        return PyErr_NoMemory();
    }
    if (PyObject_GetBuffer(data, &file->view, PyBUF_SIMPLE) != 0) {
        free(file);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    status = dcf_open(&file->model, (const uint8_t *)file->view.buf, (size_t)file->view.len);
    Py_END_ALLOW_THREADS
    if (status != DCF_OK) {
        PyObject *answer =
            Py_BuildValue("(Oiik)", Py_None, status, (int)file->model.place,
                          (unsigned long)file->model.item);
        PyBuffer_Release(&file->view);
        free(file);
        return answer;
    }
    capsule = PyCapsule_New(file, CAPSULE, release);
    if (!capsule) {
        PyBuffer_Release(&file->view);
        free(file);
        return NULL;
    }
    return Py_BuildValue("(Niik)", capsule, DCF_OK, 0, 0UL);
}

static opened *file_of(PyObject *capsule)
{
    return (opened *)PyCapsule_GetPointer(capsule, CAPSULE);
}

/* tensor_count(opened) -> int */
static PyObject *tensor_count(PyObject *self, PyObject *capsule)
{
    const opened *file = file_of(capsule);
    (void)self;
    return file ? PyLong_FromUnsignedLong(file->model.tensors) : NULL;
}

/* name(opened, index) -> bytes, or None where names are not stored as they are */
static PyObject *name(PyObject *self, PyObject *args)
{
    PyObject *capsule;
    const opened *file;
    const uint8_t *bytes;
    uint16_t size;
    unsigned int index;
    (void)self;
    if (!PyArg_ParseTuple(args, "OI", &capsule, &index) || !(file = file_of(capsule))) {
        return NULL;
    }
    if (dcf_name(&file->model, index, &bytes, &size) != DCF_OK) {
        Py_RETURN_NONE;
    }
    return PyBytes_FromStringAndSize((const char *)bytes, size);
}

/* Prepare `t` with memory of its own; the caller frees it. */
static int prepare(dcf_tensor *t, void **memory)
{
    const size_t bytes = dcf_workspace_bytes(t);
    *memory = malloc(bytes + 1);
    return *memory ? dcf_prepare(t, *memory, bytes) : DCF_ERR_SPACE;
}

/* Rows of a tensor, the blocks that hold them read to their ends. */
static int rows_into(const dcf_tensor *t, size_t row0, size_t count, uint8_t *out)
{
    dcf_cursor cursor;
    size_t got;
    int status = dcf_cursor_init(&cursor, t, row0);
    if (status == DCF_OK) {
        status = dcf_cursor_next(&cursor, out, count * t->columns, &got);
    }
    return status == DCF_OK ? dcf_cursor_finish(&cursor) : status;
}

/* Rows start to stop - 1, or everything with stop -1, without the GIL. */
static int decode_into(dcf_tensor *t, Py_ssize_t start, Py_ssize_t stop, uint8_t *out,
                       size_t bytes)
{
    void *memory;
    int status = prepare(t, &memory);
    if (status == DCF_OK && stop < 0) {
        status = dcf_decode(t, out, bytes);
    } else if (status == DCF_OK) {
        status = rows_into(t, (size_t)start, (size_t)(stop - start), out);
    }
    free(memory);
    return status;
}

/* decode(opened, index, start, stop, check) -> (status, bytearray or None, number type) */
static PyObject *decode(PyObject *self, PyObject *args)
{
    PyObject *capsule;
    PyObject *out;
    const opened *file;
    dcf_tensor t;
    Py_ssize_t start;
    Py_ssize_t stop;
    unsigned int index;
    size_t bytes;
    int check;
    int status;
    (void)self;
    if (!PyArg_ParseTuple(args, "OInni", &capsule, &index, &start, &stop, &check) ||
        !(file = file_of(capsule))) {
        return NULL;
    }
    status = dcf_tensor_at(&file->model, index, &t);
    if (status == DCF_OK && t.unsupported) {
        status = DCF_ERR_UNSUPPORTED;
    } else if (status == DCF_OK && stop >= 0 &&
               (start < 0 || start > stop || (size_t)stop > t.rows)) {
        status = DCF_ERR_ARGUMENT;
    }
    if (status != DCF_OK) {
        return Py_BuildValue("(iOi)", status, Py_None, 0);
    }
    bytes = t.elements * t.width;
    if (stop >= 0) {
        bytes = t.elements == 0 ? 0 : (size_t)(stop - start) * t.columns * t.width;
    }
    out = bytes > (size_t)PY_SSIZE_T_MAX
              ? PyErr_NoMemory()
              : PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)bytes);
    if (!out) {
        return NULL;
    }
    uint8_t *const numbers = (uint8_t *)PyByteArray_AsString(out);
    Py_BEGIN_ALLOW_THREADS
    status = decode_into(&t, start, stop, numbers, bytes);
    if (status == DCF_OK && check && dcf_crc(0, numbers, bytes) != t.crc) {
        status = DCF_ERR_CHECKSUM;
    }
    Py_END_ALLOW_THREADS
    if (status != DCF_OK) {
        Py_DECREF(out);
        return Py_BuildValue("(iOi)", status, Py_None, 0);
    }
    return Py_BuildValue("(iNi)", DCF_OK, out, (int)t.number);
}

/* check(opened) -> (status, index of the tensor at fault) */
static PyObject *check_file(PyObject *self, PyObject *capsule)
{
    const opened *file = file_of(capsule);
    uint32_t failing = DCF_NO_TENSOR;
    void *memory;
    int status = DCF_ERR_SPACE;
    (void)self;
    if (!file) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    const size_t few = CHECK_TIMES * (file->model.size < CHECK_BUFFER ? file->model.size : 0);
    const size_t room = few > 0 && few < CHECK_BUFFER ? few : CHECK_BUFFER;
    const size_t bytes = dcf_check_bytes(&file->model) + room;
    memory = malloc(bytes);
    if (memory) {
        status = dcf_check(&file->model, memory, bytes, &failing);
    }
    free(memory);
    Py_END_ALLOW_THREADS
    if (!memory) {
        return PyErr_NoMemory();
    }
    return Py_BuildValue("(ik)", status, (unsigned long)failing);
}

static PyMethodDef methods[] = {
    {"open_file", open_file, METH_O, NULL},
    {"tensor_count", tensor_count, METH_O, NULL},
    {"name", name, METH_VARARGS, NULL},
    {"decode", decode, METH_VARARGS, NULL},
    {"check_file", check_file, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_core", "The C decoder and the encoder's kernels.", 0, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__core(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module && (PyModule_AddFunctions(module, dcf_kernel_methods) != 0 ||
                   PyModule_AddFunctions(module, dcf_walk_methods) != 0 ||
                   PyModule_AddFunctions(module, dcf_rounding_methods) != 0 ||
                   PyModule_AddFunctions(module, dcf_quantize_methods) != 0 ||
                   PyModule_AddFunctions(module, dcf_rans_methods) != 0 ||
                   PyModule_AddFunctions(module, dcf_context_methods) != 0)) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}

/* See exercise.h. Run under AddressSanitizer and UndefinedBehaviorSanitizer, it looks for what
 * spec/SECURITY.md promises: S1 (reads), S2 (writes), S4 (ends), S6 (numbers or an error).
 */
#include "exercise.h"

#include <stdlib.h>
#include <string.h>

#include "dcf.h"

enum { BYTES_MOST = 1 << 20, TENSORS_MOST = 200, LAYERS_MOST = 20, WINDOW = 37 };

static void note(FILE *log, const char *what, unsigned long index, int status, unsigned long more)
{
    if (log) {
        fprintf(log, "%s %lu %d %lu\n", what, index, status, more);
    }
}

static void *memory(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    if (!p) {
        abort();
    }
    return p;
}

/* Decode by a cursor, some bytes at a time. */
static int by_cursor(const dcf_tensor *t, uint8_t *out, size_t bytes)
{
    dcf_cursor cursor;
    size_t at = 0;
    dcf_size step = 1;
    dcf_size got = 0;
    int status = dcf_cursor_init(&cursor, t, 0);
    while (status == DCF_OK && at < bytes) {
        const size_t left = (bytes - at) / t->width;
        status = dcf_cursor_next(&cursor, out + at, step < left ? step : (dcf_size)left, &got);
        at += got * t->width;
        step = step % 37 + 5;
        if (status == DCF_OK && got == 0) {
            return DCF_ERR_ARGUMENT; /* ended early */
        }
    }
    if (status == DCF_OK) {
        status = dcf_cursor_next(&cursor, out, 0, &got);
    }
    if (status == DCF_OK) {
        status = dcf_cursor_finish(&cursor); /* at the end there is nothing */
    }
    return status;
}

/* Decode by rows in two parts; what is read twice must be the same. */
static int by_rows(const dcf_tensor *t, uint8_t *out)
{
    const dcf_size half = t->rows / 3;
    const dcf_size first = t->elements ? half * t->columns * t->width : 0;
    const dcf_size all = t->elements * t->width;
    int status = dcf_rows(t, half, t->rows - half, out + first, all - first);
    if (status == DCF_OK) {
        status = dcf_rows(t, 0, half, out, first);
    }
    return status;
}

static int tensor_numbers(dcf_tensor *t, unsigned long index, FILE *log)
{
    const dcf_size bytes = t->elements * t->width;
    uint8_t *one = (uint8_t *)memory(bytes);
    uint8_t *two = (uint8_t *)memory(bytes);
    const int status = dcf_decode(t, one, bytes);
    int other = by_cursor(t, two, bytes);
    int bad = other != status;
    if (status == DCF_OK) {
        bad |= memcmp(one, two, bytes) != 0;
        memset(two, 0xAA, bytes);
        bad |= by_rows(t, two) != DCF_OK || memcmp(one, two, bytes) != 0;
        bad |= bytes && dcf_decode(t, two, bytes - 1) != DCF_ERR_SPACE;
        bad |= dcf_rows(t, t->rows, 1, two, bytes) != DCF_ERR_ARGUMENT;
        note(log, "crc", index, dcf_crc(0, one, bytes) == t->crc, dcf_crc(0, one, bytes));
    }
    note(log, "decode", index, status, (unsigned long)bytes);
    free(one);
    free(two);
    return bad;
}

/* With lookup tables where the build has them, and with no more than the codes. */
static int tensor_ways(const dcf_tensor *t, unsigned long index, FILE *log)
{
    const dcf_size count = t->table_count;
    const dcf_size least = count ? DCF_WORKSPACE_LEAST(count, (dcf_size)t->longest_table) : 0;
    const dcf_size small = count ? DCF_WORKSPACE_BYTES(count, (dcf_size)t->longest_table) : 0;
    const dcf_size sizes[3] = {dcf_workspace_bytes(t), small, least};
    int bad = 0;
    int i;
    for (i = 0; i < 3; i++) {
        dcf_tensor copy = *t;
        uint8_t *workspace = (uint8_t *)memory(sizes[i] + 1);
        /* an odd address, as any is allowed */
        const int status = dcf_prepare(&copy, workspace + 1, sizes[i]);
        note(log, "prepare", index, status, 0);
        if (status == DCF_OK) {
            bad |= tensor_numbers(&copy, index, log);
        }
        free(workspace);
    }
    return bad;
}

/* A tensor's name, where there is one, leads to it, or to one before with the same. */
static int name_found(const dcf_model *model, uint32_t index)
{
#if !DCF_WITH_READ_CALLBACK && !defined(DCF_READ8_OWN)
    dcf_at name;
    uint16_t bytes;
    uint32_t found;
    if (dcf_name(model, index, &name, &bytes) == DCF_OK) {
        return dcf_find(model, (const char *)name, bytes, &found) == DCF_OK && found <= index;
    }
#endif
    (void)model;
    (void)index;
    return 1;
}

static int one_tensor(const dcf_model *model, uint32_t index, FILE *log)
{
    dcf_tensor t;
    const int status = dcf_tensor_at(model, index, &t);
    note(log, "tensor", index, status, t.index);
    if (status != DCF_OK || !name_found(model, index)) {
        return 1; /* dcf_open had said yes */
    }
    if (t.unsupported || t.elements > BYTES_MOST / 16) {
        return 0;
    }
    return tensor_ways(&t, index, log);
}

static int check(const dcf_model *model, FILE *log)
{
    const dcf_size sizes[2] = {dcf_check_bytes(model), dcf_check_bytes(model) + 4096};
    int first = 0;
    int i;
    for (i = 0; i < 2; i++) {
        uint32_t failing;
        uint8_t *workspace = (uint8_t *)memory(sizes[i]);
        const int status = dcf_check(model, workspace, sizes[i], &failing);
        note(log, "check", failing, status, 0);
        free(workspace);
        if (i == 1 && status != first) {
            return 1;
        }
        first = status;
    }
    return 0;
}

static size_t total_bytes(const dcf_model *model)
{
    size_t total = 0;
    uint32_t i;
    for (i = 0; i < model->tensors && i < TENSORS_MOST; i++) {
        dcf_tensor t;
        if (dcf_tensor_at(model, i, &t) == DCF_OK && !t.unsupported) {
            total += t.elements < BYTES_MOST ? t.elements * t.width : BYTES_MOST * 16U;
        }
    }
    return total;
}

#if DCF_WITH_READ_CALLBACK
static int read_file(void *user, uint32_t offset, uint8_t *to, uint32_t bytes)
{
    memcpy(to, (const uint8_t *)user + offset, bytes);
    return 0;
}

static int open_model(dcf_model *model, uint8_t *file, dcf_size size)
{
    static uint8_t window[WINDOW];
    static dcf_source source;
    source.read = read_file;
    source.user = file;
    source.window = window;
    source.window_bytes = WINDOW;
    return dcf_open_read(model, &source, size);
}
#else
static int open_model(dcf_model *model, uint8_t *file, dcf_size size)
{
    return dcf_open(model, file, size);
}
#endif

int exercise(const uint8_t *data, size_t size, FILE *log)
{
    uint8_t *file = (uint8_t *)memory(size);
    dcf_model *model = (dcf_model *)memory(sizeof *model);
    int bad = 0;
    int status;
    uint32_t i;
    if (size) {
        memcpy(file, data, size);
    }
    status = open_model(model, file, (dcf_size)size);
    note(log, "open", model->item, status, model->place);
    if (status == DCF_OK) {
        dcf_layer layer;
        uint32_t found = DCF_NO_TENSOR;
        status = dcf_find(model, "weight", 6, &found);
        note(log, "find", status == DCF_OK ? found : DCF_NO_TENSOR, status, 0);
        for (i = 0; i < LAYERS_MOST; i++) {
            note(log, "layer", i, dcf_layer_at(model, i, &layer), 0);
        }
        for (i = 0; i < model->tensors && i < TENSORS_MOST; i++) {
            bad |= one_tensor(model, i, log);
        }
        if (total_bytes(model) < 64U * BYTES_MOST) {
            bad |= check(model, log);
        }
    }
    if (bad && log) {
        fprintf(log, "DIFFER\n");
    }
    free(model);
    free(file);
    return bad;
}

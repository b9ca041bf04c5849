/* Any rows, and cursors with buffers of any size: the same numbers as dcf_decode gives, the same
 * verdict as the blocks that were read give. What is asked for is drawn from the input's CRC.
 */
#include <stdlib.h>
#include <string.h>

#include "dcf.h"

enum { BYTES_MOST = 1 << 17, ASKED = 12, TENSORS_MOST = 60 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t state;

static size_t draw(size_t below)
{
    state = state * 1664525U + 1013904223U;
    return below ? (size_t)(state >> 8) % below : 0;
}

static void need(int good)
{
    if (!good) {
        abort();
    }
}

static uint8_t *memory(size_t bytes)
{
    uint8_t *p = (uint8_t *)malloc(bytes ? bytes : 1);
    need(p != NULL);
    return p;
}

/* Whole elements from a random row on; `whole` is NULL where decoding the tensor fails. */
static void ask_cursor(const dcf_tensor *t, const uint8_t *whole)
{
    const dcf_size row = (dcf_size)draw((size_t)t->rows + 2);
    size_t at = (size_t)row * t->columns * t->width;
    const size_t all = t->elements * t->width;
    dcf_cursor cursor;
    int err = dcf_cursor_init(&cursor, t, row);
    need(row <= t->rows || err == DCF_ERR_ARGUMENT);
    need(whole == NULL || row > t->rows || err == DCF_OK);
    while (err == DCF_OK) {
        const dcf_size count = (dcf_size)draw(draw(4) ? 40 : 4000);
        uint8_t *out = memory(count * t->width);
        dcf_size got;
        err = dcf_cursor_next(&cursor, out, count, &got);
        need(whole == NULL || err == DCF_OK);
        if (err == DCF_OK && whole) {
            need(got * t->width <= all - at && memcmp(out, whole + at, got * t->width) == 0);
        }
        free(out);
        at += got * t->width;
        if (got == 0 && count > 0) {
            need(err != DCF_OK || t->elements == 0 || at == all);
            return;
        }
    }
}

static void ask_rows(const dcf_tensor *t, const uint8_t *whole)
{
    const dcf_size row = (dcf_size)draw((size_t)t->rows + 1);
    const dcf_size count = (dcf_size)draw((size_t)(t->rows - row) + 1);
    const dcf_size bytes = t->elements ? count * t->columns * t->width : 0;
    uint8_t *out = memory(bytes);
    const int err = dcf_rows(t, row, count, out, bytes);
    if (whole) {
        need(err == DCF_OK);
        need(memcmp(out, whole + row * t->columns * t->width, bytes) == 0);
    }
    need(err != DCF_ERR_SPACE && err != DCF_ERR_ARGUMENT);
    if (bytes) {
        need(dcf_rows(t, row, count, out, bytes - 1) == DCF_ERR_SPACE);
    }
    need(dcf_rows(t, row, t->rows - row + 1, out, bytes) == DCF_ERR_ARGUMENT);
    free(out);
}

static void ask(dcf_tensor *t)
{
    const dcf_size bytes = t->elements * t->width;
    const dcf_size least = DCF_WORKSPACE_LEAST((dcf_size)t->table_count, (dcf_size)t->longest_table);
    const dcf_size most = dcf_workspace_bytes(t);
    const dcf_size space = draw(2) ? most : least + (dcf_size)draw(most > least ? most - least : 1);
    uint8_t *workspace = memory(space);
    uint8_t *whole = memory(bytes);
    int i;
    need(dcf_decode(t, whole, bytes) == DCF_ERR_ARGUMENT); /* not prepared */
    need(t->table_count == 0 || dcf_prepare(t, workspace, t->table_count) != DCF_OK);
    if (dcf_prepare(t, workspace, space) == DCF_OK) {
        const int status = dcf_decode(t, whole, bytes);
        for (i = 0; i < ASKED; i++) {
            ask_rows(t, status == DCF_OK ? whole : NULL);
            ask_cursor(t, status == DCF_OK ? whole : NULL);
        }
    }
    free(whole);
    free(workspace);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dcf_model *model = (dcf_model *)memory(sizeof *model);
    uint32_t i;
    state = dcf_crc(0, data, size);
    if (dcf_open(model, data, size) == DCF_OK) {
        for (i = 0; i < model->tensors && i < TENSORS_MOST; i++) {
            dcf_tensor t;
            need(dcf_tensor_at(model, i, &t) == DCF_OK);
            if (!t.unsupported && t.elements * t.width <= BYTES_MOST) {
                ask(&t);
            }
        }
    }
    free(model);
    return 0;
}

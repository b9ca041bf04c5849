/* Decode the first tensor of the file in the program in several ways, marked for counting:
 * dcf_prepare, dcf_decode, a cursor that gives a row at a time, and each row by itself. */
#include "board.h"
#include "dcf.h"

enum { WORKSPACE = 16384 };

static uint8_t workspace[WORKSPACE];
static uint8_t numbers[NUMBERS * 4];
static uint8_t again[NUMBERS * 4];
static dcf_model model;
static dcf_tensor tensor;
static dcf_cursor cursor;

static int by_cursor(void)
{
    dcf_size got = 1;
    dcf_size at = 0;
    int status = dcf_cursor_init(&cursor, &tensor, 0);
    while (status == DCF_OK && got != 0) {
        status = dcf_cursor_next(&cursor, again + at, tensor.columns, &got);
        at += got * tensor.width;
    }
    return status;
}

/* A row, whichever: the block is entered anew. */
static int by_row(dcf_size row, uint8_t *out)
{
    dcf_size got;
    const int status = dcf_cursor_init(&cursor, &tensor, row);
    return status ? status : dcf_cursor_next(&cursor, out, tensor.columns, &got);
}

static int measured(dcf_size bytes)
{
    dcf_size i;
    int status = 0;
    mark();
    status |= dcf_prepare(&tensor, workspace, sizeof workspace);
    mark();
    status |= dcf_decode(&tensor, numbers, bytes);
    mark();
    status |= by_cursor();
    mark();
    status |= dcf_crc(0, again, bytes) != tensor.crc;
    for (i = 0; i < bytes; i++) {
        again[i] = 0;
    }
    mark();
    for (i = 0; i < tensor.rows; i++) {
        status |= by_row(i, again + i * tensor.columns * tensor.width);
    }
    mark();
    status |= dcf_crc(0, again, bytes) != tensor.crc;
    status |= dcf_crc(0, numbers, bytes) != tensor.crc;
    return status;
}

int run(void)
{
    if (dcf_open(&model, blob, (dcf_size)(blob_end - blob)) != DCF_OK ||
        dcf_tensor_at(&model, 0, &tensor) != DCF_OK ||
        tensor.elements * tensor.width > sizeof numbers) {
        return 1;
    }
    return measured(tensor.elements * tensor.width) == DCF_OK ? 0 : 2;
}

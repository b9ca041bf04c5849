/* Decode the first tensor of a file with any payload, in every way. Entry for Frama-C's Eva.
 *
 * The record and the tables are as tensor.h has them, the payload holds any bytes: parameters per
 * axis, the offset of a second block, and the blocks. CRCs have any value, so that whatever comes behind them is looked at. */
#include "dcf.h"

#include "__fc_builtin.h"

#include "tensor.h" /* FILE_BYTES, PAYLOAD_AT, PAYLOAD_BYTES, NUMBERS, WIDTH, ROWS, TABLES,
                     * SYMBOLS, BLOCKS, file: written by test_eva.py */

static dcf_model model;
static dcf_tensor tensor;
static dcf_cursor cursor;
static uint8_t workspace[DCF_WORKSPACE_BYTES(TABLES, SYMBOLS)];
static uint8_t out[NUMBERS * WIDTH - SHORT];
enum { OUT_BYTES = NUMBERS * WIDTH };
static float real[NUMBERS];

uint32_t dcf_crc(uint32_t crc, const uint8_t *data, dcf_size size)
{
    uint32_t any;
    Frama_C_make_unknown((char *)&any, sizeof any);
    return size ? crc ^ any ^ data[0] ^ data[size - 1] : any;
}

/* Let Eva take the first values of a byte one by one, and the others together. */
static void each(uint8_t *byte, unsigned values)
{
    unsigned i;
    for (i = 0; i < values; i++) {
        if (*byte == i) {
            *byte = (uint8_t)i;
            return;
        }
    }
}

static int whole(void)
{
    return dcf_decode(&tensor, out, OUT_BYTES);
}

/* A number up to `most`, one by one. */
static dcf_size any(dcf_size most)
{
    dcf_size i = 0;
    while (i < most && Frama_C_interval(0, 1)) {
        i++;
    }
    return i;
}

static int rows(void)
{
    const dcf_size row0 = any(ROWS + 1);
    const dcf_size count = any(ROWS + 1);
    return dcf_rows(&tensor, row0, count, out, OUT_BYTES);
}

/* An element, and the rest of its block. */
static int pieces(void)
{
    dcf_size got = 0;
    int err = dcf_cursor_init(&cursor, &tensor, 0);
    if (err == DCF_OK) {
        err = dcf_cursor_next(&cursor, out, 1, &got);
    }
    return err == DCF_OK ? dcf_cursor_finish(&cursor) : err;
}

static int floats(void)
{
    Frama_C_make_unknown((char *)out, OUT_BYTES - SHORT);
    return dcf_floats(&tensor, 0, NUMBERS, out, real);
}

int main(void)
{
    if (dcf_open(&model, file, FILE_BYTES) != DCF_OK) {
        return 1;
    }
    Frama_C_make_unknown((char *)file + PAYLOAD_AT, PAYLOAD_BYTES);
    if (BLOCKS > 1) {
        each(file + PAYLOAD_AT, PAYLOAD_BYTES); /* the offset */
    }
    if (dcf_tensor_at(&model, 0, &tensor) != DCF_OK ||
        dcf_prepare(&tensor, workspace, sizeof workspace) != DCF_OK) {
        return 2;
    }
    return WAY();
}

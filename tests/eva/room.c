/* Decode the first tensor of a file with any payload, in every way. Entry for Frama-C's Eva.
 *
 * The record and the tables are as tensor.h has them, the blocks hold any bytes. CRCs have any value, so
 * that whatever comes behind them is looked at. */
#include "dcf.h"

#include "__fc_builtin.h"

#include "tensor.h" /* FILE_BYTES, BLOCKS_AT, BLOCKS_BYTES, NUMBERS, ROWS, file: written by test_eva.py */

static dcf_model model;
static dcf_tensor tensor;
static uint8_t workspace[DCF_WORKSPACE_BYTES(2, 256)];
static uint8_t out[NUMBERS];

uint32_t dcf_crc(uint32_t crc, const uint8_t *data, dcf_size size)
{
    uint32_t any;
    Frama_C_make_unknown((char *)&any, sizeof any);
    return size ? crc ^ any ^ data[0] ^ data[size - 1] : any;
}

static int whole(void)
{
    return dcf_decode(&tensor, out, sizeof out);
}

static int rows(void)
{
    const dcf_size row0 = (dcf_size)Frama_C_interval(0, ROWS + 1);
    const dcf_size count = (dcf_size)Frama_C_interval(0, ROWS + 1);
    return dcf_rows(&tensor, row0, count, out, sizeof out);
}

int main(void)
{
    if (dcf_open(&model, file, FILE_BYTES) != DCF_OK) {
        return 1;
    }
    Frama_C_make_unknown((char *)file + BLOCKS_AT, BLOCKS_BYTES);
    if (dcf_tensor_at(&model, 0, &tensor) != DCF_OK ||
        dcf_prepare(&tensor, workspace, sizeof workspace) != DCF_OK) {
        return 2;
    }
    return whole() == DCF_OK ? rows() : 3;
}

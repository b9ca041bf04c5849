/* Decode every tensor of the file in the program and say its CRC; then the full check. */
#include "board.h"
#include "dcf.h"

enum { CHUNK = 60, WORKSPACE = 6144 };

static uint8_t workspace[WORKSPACE];
static uint8_t chunk[CHUNK];
static dcf_model model;
static dcf_tensor tensor;
static dcf_cursor cursor;

static int decode(uint32_t index, uint32_t *crc)
{
    dcf_size got = 1;
    int status = dcf_tensor_at(&model, index, &tensor);
    *crc = 0;
    if (status == DCF_OK) {
        status = dcf_prepare(&tensor, workspace, sizeof workspace);
    }
    if (status == DCF_OK) {
        status = dcf_cursor_init(&cursor, &tensor, 0);
    }
    while (status == DCF_OK && got != 0) {
        status = dcf_cursor_next(&cursor, chunk, CHUNK / tensor.width, &got);
        *crc = dcf_crc(*crc, chunk, got * tensor.width);
    }
    return status;
}

static void tensors(void)
{
    uint32_t i;
    for (i = 0; i < model.tensors; i++) {
        uint32_t said[3] = {i, 0, 0};
        said[1] = (uint32_t)decode(i, &said[2]);
        say("tensor", said, 3);
    }
}

int run(void)
{
    uint32_t failing;
    uint32_t said[2];
    int status;
    stack_paint();
    status = dcf_open(&model, blob, (dcf_size)(blob_end - blob));
    if (status == DCF_OK) {
        tensors();
        status = dcf_check(&model, workspace, sizeof workspace, &failing);
    }
    said[0] = (uint32_t)status;
    said[1] = stack_used();
    say("end", said, 2);
    return 0;
}

/* The full check. Spec: spec/DCF.md, "Full check". Sister: dcformat/decode.py. */
#include "dcf_internal.h"

enum { SMALL = 64 };

static int sections_crc(const dcf_model *model)
{
    const uint8_t *entry = model->data + dcf_u16(model->data + 12);
    uint32_t count = dcf_u16(model->data + 14);
    for (; count > 0; count--) {
        const uint8_t *bytes = model->data + dcf_u64(entry + 8);
        if (dcf_crc(0, bytes, (size_t)dcf_u64(entry + 16)) != dcf_u32(entry + 4)) {
            return DCF_ERR_CHECKSUM;
        }
        entry += 32;
    }
    return DCF_OK;
}

static int padding_check(const dcf_tensor *t)
{
    size_t i;
    for (i = 1; i <= t->padding; i++) {
        if (*(t->payload - i) != 0) {
            return DCF_ERR_PADDING;
        }
    }
    return DCF_OK;
}

/* Decode piece by piece through `buffer`. */
static int numbers_crc(const dcf_tensor *t, uint8_t *buffer, size_t bytes, uint32_t *crc)
{
    dcf_cursor cursor;
    size_t got = 0;
    int err;
    *crc = 0;
    if (bytes >= t->elements * t->width) {
        err = dcf_decode(t, buffer, bytes);
        if (err == DCF_OK) {
            *crc = dcf_crc(0, buffer, t->elements * t->width);
        }
        return err;
    }
    err = dcf_cursor_init(&cursor, t, 0);
    if (err != DCF_OK) {
        return err;
    }
    do {
        err = dcf_cursor_next(&cursor, buffer, bytes, &got);
        if (err != DCF_OK) {
            return err;
        }
        *crc = dcf_crc(*crc, buffer, got * t->width);
    } while (got > 0);
    return DCF_OK;
}

static int numbers_check(dcf_tensor *t, void *workspace, size_t bytes)
{
    uint8_t small[SMALL];
    uint8_t *buffer = (uint8_t *)workspace;
    size_t used = dcf_workspace_bytes(t);
    uint32_t crc;
    int err = dcf_prepare(t, workspace, bytes);
    if (err != DCF_OK) {
        return err;
    }
    used = used < bytes ? used : bytes;
    if (bytes - used >= SMALL) {
        err = numbers_crc(t, buffer + used, bytes - used, &crc);
    } else {
        err = numbers_crc(t, small, SMALL, &crc);
    }
    if (err == DCF_OK && crc != t->crc) {
        err = DCF_ERR_CHECKSUM;
    }
    return err;
}

int dcf_check(const dcf_model *model, void *workspace, size_t bytes, uint32_t *failing)
{
    int pass;
    int err = sections_crc(model);
    *failing = DCF_NO_TENSOR;
    for (pass = 0; err == DCF_OK && pass < 2; pass++) {
        dcf_mark mark = {4, 0};
        uint32_t i;
        for (i = 0; err == DCF_OK && i < model->tensors; i++) {
            dcf_tensor t;
            uint32_t tied;
            *failing = i;
            err = dcf_record_read(model, i, &mark, &t, &tied);
            if (err != DCF_OK || tied != DCF_NO_TENSOR) {
                continue;
            }
            if (pass == 0) {
                err = padding_check(&t);
            } else if (!t.unsupported && t.coder != DCF_CODER_ZSTD) {
                err = numbers_check(&t, workspace, bytes);
            }
        }
    }
    if (err == DCF_OK) {
        *failing = DCF_NO_TENSOR;
    }
    return err;
}

size_t dcf_check_bytes(const dcf_model *model)
{
    dcf_mark mark = {4, 0};
    size_t most = 0;
    uint32_t i;
    for (i = 0; i < model->tensors; i++) {
        dcf_tensor t;
        uint32_t tied;
        if (dcf_record_read(model, i, &mark, &t, &tied) == DCF_OK && tied == DCF_NO_TENSOR) {
            const size_t bytes = dcf_workspace_bytes(&t);
            most = bytes > most ? bytes : most;
        }
    }
    return most;
}

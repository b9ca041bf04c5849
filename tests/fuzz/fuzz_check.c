/* The full check says what its parts say: sections, padding, then tensor by tensor. The CRCs of
 * the numbers are made right first, so that it goes on behind the first tensor.
 */
#include <stdlib.h>
#include <string.h>

#include "dcf.h"
#include "parts.h"

enum { BYTES_MOST = 1 << 18, TENSORS_MOST = 100 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *memory(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    if (!p) {
        abort();
    }
    return p;
}

static int decoded(dcf_tensor *t, uint32_t *crc)
{
    const size_t bytes = t->elements * t->width;
    const size_t space = dcf_workspace_bytes(t);
    void *workspace = memory(space);
    uint8_t *out = (uint8_t *)memory(bytes);
    int err = dcf_prepare(t, workspace, space);
    if (err == DCF_OK) {
        err = dcf_decode(t, out, bytes);
        *crc = dcf_crc(0, out, bytes);
    }
    free(out);
    free(workspace);
    return err;
}

/* Decode the tensors in order and put their CRCs in. Returns the first error; `failing` is its
 * tensor. `ended` is 0 where a tensor is too large to be tried here. */
static int settle(uint8_t *data, const dcf_model *model, uint32_t *failing, int *ended)
{
    uint8_t *record = data + model->start[DCF_SECTION_RECORDS] + 4;
    uint32_t i;
    *ended = model->tensors <= TENSORS_MOST;
    *failing = DCF_NO_TENSOR;
    for (i = 0; i < model->tensors && i < TENSORS_MOST; i++) {
        dcf_tensor t;
        uint32_t crc;
        int err = dcf_tensor_at(model, i, &t);
        if (err == DCF_OK && t.index == i && !t.unsupported && t.coder != DCF_CODER_ZSTD) {
            if (t.elements * t.width > BYTES_MOST) {
                *ended = 0;
                return DCF_OK;
            }
            err = decoded(&t, &crc);
            if (err == DCF_OK) {
                put32(record + 8, crc);
            }
        }
        if (err != DCF_OK) {
            *failing = i;
            return err;
        }
        record += 4U * (size_t)record[0];
    }
    return DCF_OK;
}

static int padded(const dcf_model *model)
{
    uint32_t i;
    for (i = 0; i < model->tensors; i++) {
        dcf_tensor t;
        size_t k;
        if (dcf_tensor_at(model, i, &t) != DCF_OK) {
            abort();
        }
        for (k = 1; t.index == i && k <= t.padding; k++) {
            if (t.payload[-(ptrdiff_t)k] != 0) {
                return 0;
            }
        }
    }
    return 1;
}

static void compare(const dcf_model *model, int expected, uint32_t at)
{
    const size_t least = dcf_check_bytes(model);
    const size_t sizes[3] = {least, least + 65, least + 20000};
    int i;
    for (i = 0; i < 3; i++) {
        void *workspace = memory(sizes[i]);
        uint32_t failing;
        if (dcf_check(model, workspace, sizes[i], &failing) != expected || failing != at) {
            abort();
        }
        free(workspace);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = (uint8_t *)memory(size);
    dcf_model *model = (dcf_model *)memory(sizeof *model);
    if (size) {
        memcpy(copy, data, size);
    }
    if (dcf_open(model, copy, size) == DCF_OK && model->start[DCF_SECTION_RECORDS] != 0) {
        uint32_t failing;
        int ended;
        const int expected = settle(copy, model, &failing, &ended);
        crcs_fix(copy, size);
        if (ended && padded(model)) {
            compare(model, expected, failing);
        }
    }
    free(model);
    free(copy);
    return 0;
}

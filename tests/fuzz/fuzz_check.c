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
    const dcf_size bytes = t->elements * t->width;
    const dcf_size space = dcf_workspace_bytes(t);
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
    uint8_t *record = data + (model->start[DCF_SECTION_RECORDS] - model->data) + 4;
    uint32_t i;
    *ended = model->tensors <= TENSORS_MOST;
    *failing = DCF_NO_TENSOR;
    for (i = 0; i < model->tensors && i < TENSORS_MOST; i++) {
        dcf_tensor t;
        uint32_t crc;
        int err = dcf_tensor_at(model, i, &t);
        if (err == DCF_OK && t.index == i && !t.unsupported) {
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
    const uint8_t *end = model->start[DCF_SECTION_PAYLOAD & 7];
    uint32_t i;
    for (i = 0; i < model->tensors; i++) {
        dcf_tensor t;
        if (dcf_tensor_at(model, i, &t) != DCF_OK) {
            abort();
        }
        if (t.index == i) {
            for (; end < t.payload; end++) {
                if (*end != 0) {
                    return 0;
                }
            }
            end = t.coded + t.coded_size;
        }
    }
    return 1;
}

static void compare(const dcf_model *model, int expected, uint32_t at)
{
    const dcf_size least = dcf_check_bytes(model);
    const dcf_size sizes[3] = {least, least + 65, least + 20000};
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
    if (dcf_open(model, copy, size) == DCF_OK && model->stored[DCF_SECTION_RECORDS] != 0) {
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

/* Opening and describing, without decoding: quick, so that it reaches far into the structure. */
#include <stdlib.h>
#include <string.h>

#include "dcf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(int good)
{
    if (!good) {
        abort();
    }
}

/* What dcf_open accepted is inside the file. */
static void tensor_in_file(const dcf_model *model, const dcf_tensor *t)
{
    const uint8_t *end = model->data + model->size;
    need(t->payload >= model->data && t->payload <= t->coded && t->coded <= end);
    need(t->coded_size <= (dcf_size)(end - t->coded));
    if (!t->unsupported) {
        need(t->elements == t->rows * t->columns);
        const dcf_size stored = (dcf_size)(t->coded - t->payload) + t->coded_size;
        need(t->elements * t->width / DCF_MAX_RATIO <= stored + DCF_RATIO_SLACK);
        need(dcf_workspace_bytes(t) < (dcf_size)1 << 24);
    }
}

static void names(const dcf_model *model, uint32_t index)
{
    const uint8_t *name;
    uint16_t bytes;
    uint32_t found;
    if (dcf_name(model, index, &name, &bytes) == DCF_OK) {
        need(bytes > 0 && name[bytes - 1] <= 255);
        need(dcf_find(model, (const char *)name, bytes, &found) == DCF_OK && found <= index);
    }
}

static void described(const dcf_model *model)
{
    dcf_tensor none;
    const uint8_t *name;
    uint16_t bytes;
    uint32_t found;
    uint32_t i;
    for (i = 0; i < model->tensors && i < 300; i++) {
        dcf_tensor t;
        need(dcf_tensor_at(model, i, &t) == DCF_OK && t.index <= i);
        tensor_in_file(model, &t);
        names(model, i);
    }
    need(dcf_tensor_at(model, model->tensors, &none) == DCF_ERR_ARGUMENT);
    need(dcf_name(model, model->tensors, &name, &bytes) != DCF_OK);
    if (dcf_find(model, "weight", 6, &found) == DCF_OK) {
        need(found < model->tensors);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dcf_model *model = (dcf_model *)malloc(sizeof *model);
    dcf_layer layer;
    uint32_t i;
    need(model != NULL);
    if (dcf_open(model, data, size) == DCF_OK) {
        described(model);
        for (i = 0; i < 300 && dcf_layer_at(model, i, &layer) == DCF_OK; i++) {
            need(layer.name >= data && layer.name + layer.name_bytes <= data + size);
        }
        need(dcf_check_bytes(model) < (dcf_size)1 << 24);
    }
    free(model);
    return 0;
}

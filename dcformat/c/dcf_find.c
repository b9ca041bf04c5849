/* Names of tensors, and the fixed-point formats of layers. Spec: spec/DCF.md, "NAMES and
 * HASHES" and "FIXED". Sister: dcformat/container.py. */
#include "dcf_internal.h"

enum { LAYER_BYTES = 24 };

/* The next name of NAMES. */
static int name_next(dcf_fields *fields, const uint8_t **name, uint16_t *bytes)
{
    const uint8_t *length = dcf_take(fields, 2);
    if (!length) {
        return DCF_ERR_TRUNCATED;
    }
    *bytes = dcf_u16(length);
    *name = dcf_take(fields, *bytes);
    if (!*name) {
        return DCF_ERR_TRUNCATED;
    }
    return *bytes < 1 || *bytes > DCF_MAX_NAME_BYTES ? DCF_ERR_LIMIT : DCF_OK;
}

static int names_begin(const dcf_model *model, dcf_fields *fields)
{
    fields->data = dcf_section_data(model, DCF_SECTION_NAMES);
    fields->left = model->stored[DCF_SECTION_NAMES];
    if (model->start[DCF_SECTION_NAMES] == 0) {
        return DCF_ERR_ARGUMENT;
    }
    return (model->zstd >> DCF_SECTION_NAMES) & 1U ? DCF_ERR_UNSUPPORTED : DCF_OK;
}

int dcf_name(const dcf_model *model, uint32_t index, const uint8_t **name, uint16_t *bytes)
{
    dcf_fields fields;
    uint32_t i;
    int err = names_begin(model, &fields);
    if (err == DCF_OK && index >= model->tensors) {
        err = DCF_ERR_ARGUMENT;
    }
    for (i = 0; err == DCF_OK && i <= index; i++) {
        err = name_next(&fields, name, bytes);
    }
    return err;
}

static int same(const uint8_t *a, const char *b, size_t bytes)
{
    size_t i;
    for (i = 0; i < bytes; i++) {
        if (a[i] != (uint8_t)b[i]) {
            return 0;
        }
    }
    return 1;
}

static int find_hash(const dcf_model *model, uint32_t hash, uint32_t *index)
{
    const uint8_t *hashes = dcf_section_data(model, DCF_SECTION_HASHES);
    if (model->start[DCF_SECTION_HASHES] == 0) {
        return DCF_ERR_ARGUMENT;
    }
    if (model->stored[DCF_SECTION_HASHES] != 4 * (size_t)model->tensors) {
        return DCF_ERR_STRUCTURE;
    }
    for (*index = 0; *index < model->tensors; ++*index) {
        if (dcf_u32(hashes + 4 * (size_t)*index) == hash) {
            return DCF_OK;
        }
    }
    return DCF_ERR_ARGUMENT;
}

int dcf_find(const dcf_model *model, const char *name, size_t bytes, uint32_t *index)
{
    dcf_fields fields;
    int err = names_begin(model, &fields);
    if (err != DCF_OK) {
        /* dcf_crc reads bytes: char may alias any object */
        const int other = find_hash(model, dcf_crc(0, (const uint8_t *)name, bytes), index);
        return other == DCF_ERR_ARGUMENT && model->start[DCF_SECTION_HASHES] == 0 ? err : other;
    }
    for (*index = 0; *index < model->tensors; ++*index) {
        const uint8_t *candidate;
        uint16_t length;
        err = name_next(&fields, &candidate, &length);
        if (err != DCF_OK) {
            return err;
        }
        if (length == bytes && same(candidate, name, bytes)) {
            return DCF_OK;
        }
    }
    return DCF_ERR_ARGUMENT;
}

static void layer_read(const uint8_t *entry, dcf_layer *layer)
{
    layer->weight_index = dcf_u32(entry);
    layer->bias_index = dcf_u32(entry + 4);
    layer->input_fraction = dcf_i8(entry + 8);
    layer->input_bits = entry[9];
    layer->weight_fraction = dcf_i8(entry + 10);
    layer->weight_bits = entry[11];
    layer->bias_fraction = dcf_i8(entry + 12);
    layer->bias_bits = entry[13];
    layer->output_fraction = dcf_i8(entry + 14);
    layer->output_bits = entry[15];
    layer->shift = dcf_i16(entry + 16);
    layer->bias_shift = dcf_i16(entry + 18);
    layer->rounding = entry[20];
}

static int layer_check(const dcf_model *model, const dcf_layer *layer, const uint8_t *entry)
{
    const int32_t accumulator = (int32_t)layer->input_fraction + layer->weight_fraction;
    if ((layer->weight_index != DCF_NO_TENSOR && layer->weight_index >= model->tensors) ||
        (layer->bias_index != DCF_NO_TENSOR && layer->bias_index >= model->tensors) ||
        layer->shift != accumulator - layer->output_fraction ||
        layer->bias_shift != accumulator - layer->bias_fraction ||
        layer->rounding > DCF_ROUNDING_FLOOR) {
        return DCF_ERR_STRUCTURE;
    }
    return entry[21] || entry[22] || entry[23] ? DCF_ERR_PADDING : DCF_OK;
}

int dcf_layer_at(const dcf_model *model, uint32_t index, dcf_layer *layer)
{
    dcf_fields fields;
    const uint8_t *count;
    const uint8_t *entry;
    uint32_t i;
    fields.data = dcf_section_data(model, DCF_SECTION_FIXED);
    fields.left = model->stored[DCF_SECTION_FIXED];
    if (model->start[DCF_SECTION_FIXED] == 0) {
        return DCF_ERR_ARGUMENT;
    }
    count = dcf_take(&fields, 4);
    if (!count || dcf_u32(count) > fields.left / LAYER_BYTES) {
        return DCF_ERR_TRUNCATED;
    }
    if (index >= dcf_u32(count)) {
        return DCF_ERR_ARGUMENT;
    }
    entry = fields.data + (size_t)index * LAYER_BYTES;
    fields.left -= (size_t)dcf_u32(count) * LAYER_BYTES;
    fields.data += (size_t)dcf_u32(count) * LAYER_BYTES;
    for (i = 0; i <= index; i++) {
        const uint8_t *length = dcf_take(&fields, 2);
        layer->name_bytes = length ? dcf_u16(length) : 0;
        layer->name = length ? dcf_take(&fields, layer->name_bytes) : NULL;
        if (!layer->name) {
            return DCF_ERR_TRUNCATED;
        }
    }
    layer_read(entry, layer);
    return layer_check(model, layer, entry);
}

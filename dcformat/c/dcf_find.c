/* Names of tensors, and the fixed-point formats of layers. Spec: spec/DCF.md, "NAMES and
 * HASHES" and "FIXED". Sister: dcformat/container.py. */
#include "dcf_internal.h"

#if DCF_WITH_NAMES || DCF_WITH_LAYERS

enum { LAYER_BYTES = 24 };

/* What was not read yet of a section. */
typedef struct fields {
    const dcf_model *model;
    dcf_at at;
    dcf_size left;
} fields;

static int fields_begin(const dcf_model *m, uint32_t section, fields *f)
{
    f->model = m;
    f->at = m->start[section];
    f->left = m->stored[section];
    if (f->left == 0) {
        return DCF_ERR_ARGUMENT;
    }
    return ((uint32_t)m->zstd >> section & 1U) ? DCF_ERR_UNSUPPORTED : DCF_OK;
}

/* The next name: u16 length and as many bytes. */
static int name_next(fields *f, dcf_at *name, uint16_t *bytes)
{
    if (f->left < 2) {
        return DCF_ERR_TRUNCATED;
    }
    *bytes = (uint16_t)DCF_U16(f->model, f->at);
    *name = f->at + 2;
    if (*bytes > f->left - 2U) {
        return DCF_ERR_TRUNCATED;
    }
    f->at += 2U + (dcf_size)*bytes;
    f->left -= 2U + (dcf_size)*bytes;
    return DCF_OK;
}

#if DCF_WITH_NAMES

static int tensor_name_next(fields *f, dcf_at *name, uint16_t *bytes)
{
    const int err = name_next(f, name, bytes);
    return err == DCF_OK && (*bytes < 1 || *bytes > DCF_MAX_NAME_BYTES) ? DCF_ERR_LIMIT : err;
}

int dcf_name(const dcf_model *m, uint32_t index, dcf_at *name, uint16_t *bytes)
{
    fields f;
    uint32_t i;
    int err = fields_begin(m, DCF_SECTION_NAMES, &f);
    if (err == DCF_OK && index >= m->tensors) {
        err = DCF_ERR_ARGUMENT;
    }
    for (i = 0; err == DCF_OK && i <= index; i++) {
        err = tensor_name_next(&f, name, bytes);
    }
    return DCF_RESULT(m, err);
}

static int same(const dcf_model *m, dcf_at a, const char *b, dcf_size bytes)
{
    dcf_size i;
    for (i = 0; i < bytes; i++) {
        if (DCF_BYTE(m, a + i) != (uint8_t)b[i]) {
            return 0;
        }
    }
    return 1;
}

static int find_hash(const dcf_model *m, uint32_t hash, uint32_t *index)
{
    if (m->stored[DCF_SECTION_HASHES] != 4 * (dcf_size)m->tensors) {
        return DCF_ERR_STRUCTURE;
    }
    for (*index = 0; *index < m->tensors; ++*index) {
        if (DCF_U32(m, m->start[DCF_SECTION_HASHES] + 4 * (dcf_size)*index) == hash) {
            return DCF_OK;
        }
    }
    return DCF_ERR_ARGUMENT;
}

static int find_name(fields *f, const char *name, dcf_size bytes, uint32_t *index)
{
    for (*index = 0; *index < f->model->tensors; ++*index) {
        dcf_at candidate;
        uint16_t length;
        const int err = tensor_name_next(f, &candidate, &length);
        if (err != DCF_OK) {
            return err;
        }
        if (length == bytes && same(f->model, candidate, name, bytes)) {
            return DCF_OK;
        }
    }
    return DCF_ERR_ARGUMENT;
}

int dcf_find(const dcf_model *m, const char *name, dcf_size bytes, uint32_t *index)
{
    fields f;
    int err = fields_begin(m, DCF_SECTION_NAMES, &f);
    if (err == DCF_OK) {
        err = find_name(&f, name, bytes, index);
    } else if (m->stored[DCF_SECTION_HASHES] != 0) {
        /* dcf_crc reads bytes: char may alias any object */
        err = find_hash(m, dcf_crc(0, (const uint8_t *)name, bytes), index);
    }
    return DCF_RESULT(m, err);
}

#endif

#if DCF_WITH_LAYERS

static void layer_read(const dcf_model *m, dcf_at entry, dcf_layer *layer)
{
    layer->weight_index = DCF_U32(m, entry);
    layer->bias_index = DCF_U32(m, entry + 4);
    layer->input_fraction = (int8_t)dcf_signed(DCF_BYTE(m, entry + 8), 8);
    layer->input_bits = DCF_BYTE(m, entry + 9);
    layer->weight_fraction = (int8_t)dcf_signed(DCF_BYTE(m, entry + 10), 8);
    layer->weight_bits = DCF_BYTE(m, entry + 11);
    layer->bias_fraction = (int8_t)dcf_signed(DCF_BYTE(m, entry + 12), 8);
    layer->bias_bits = DCF_BYTE(m, entry + 13);
    layer->output_fraction = (int8_t)dcf_signed(DCF_BYTE(m, entry + 14), 8);
    layer->output_bits = DCF_BYTE(m, entry + 15);
    layer->shift = (int16_t)dcf_signed(DCF_U16(m, entry + 16), 16);
    layer->bias_shift = (int16_t)dcf_signed(DCF_U16(m, entry + 18), 16);
    layer->rounding = DCF_BYTE(m, entry + 20);
}

static int layer_check(const dcf_model *m, const dcf_layer *layer, dcf_at entry)
{
    const int32_t accumulator = (int32_t)layer->input_fraction + layer->weight_fraction;
    if ((layer->weight_index != DCF_NO_TENSOR && layer->weight_index >= m->tensors) ||
        (layer->bias_index != DCF_NO_TENSOR && layer->bias_index >= m->tensors) ||
        layer->shift != accumulator - layer->output_fraction ||
        layer->bias_shift != accumulator - layer->bias_fraction ||
        layer->rounding > DCF_ROUNDING_FLOOR) {
        return DCF_ERR_STRUCTURE;
    }
    return DCF_BYTE(m, entry + 21) || DCF_BYTE(m, entry + 22) || DCF_BYTE(m, entry + 23) ? DCF_ERR_PADDING : DCF_OK;
}

/* Find the entry and the name of layer `index`. */
static int layer_find(fields *f, uint32_t index, dcf_at *entry, dcf_layer *layer)
{
    uint32_t count;
    if (f->left < 4) {
        return DCF_ERR_TRUNCATED;
    }
    count = DCF_U32(f->model, f->at);
    f->at += 4;
    f->left -= 4;
    if (count > dcf_divide(f->left, LAYER_BYTES)) {
        return DCF_ERR_TRUNCATED;
    }
    if (index >= count) {
        return DCF_ERR_ARGUMENT;
    }
    *entry = f->at + (dcf_size)index * LAYER_BYTES;
    f->at += (dcf_size)count * LAYER_BYTES;
    f->left -= (dcf_size)count * LAYER_BYTES;
    do {
        const int err = name_next(f, &layer->name, &layer->name_bytes);
        if (err != DCF_OK) {
            return err;
        }
    } while (index-- > 0);
    return DCF_OK;
}

int dcf_layer_at(const dcf_model *m, uint32_t index, dcf_layer *layer)
{
    fields f;
    dcf_at entry = DCF_NOWHERE;
    int err = fields_begin(m, DCF_SECTION_FIXED, &f);
    if (err == DCF_OK) {
        err = layer_find(&f, index, &entry, layer);
    }
    if (err == DCF_OK) {
        layer_read(m, entry, layer);
        err = layer_check(m, layer, entry);
    }
    return DCF_RESULT(m, err);
}

#endif

#elif !defined(DCF_ONE_FILE)

typedef int dcf_no_names; /* ISO C wants something in every file */

#endif

/* Section RECORDS: what a record says, checked. Spec: spec/DCF.md, "RECORDS". Sister:
 * dcformat/container.py. */
#include "dcf_internal.h"

enum { FIRST_FIELDS = 12 };

static uint64_t payload_bytes(const uint8_t *record)
{
    return (record[7] & DCF_RECORD_WIDE) ? dcf_u64(record + 12) : dcf_u32(record + 12);
}

/* Start of the payload of `bytes` bytes that follows one that ends at `end`. */
static uint64_t payload_start(const dcf_model *model, const uint8_t *record, uint64_t bytes,
                              size_t end)
{
    uint64_t mask = 0;
    if (record[4] == DCF_LAYOUT_DENSE && record[5] == DCF_VALUES_RAW &&
        record[6] == DCF_CODER_PACKED) {
        if (bytes == 0) {
            mask = 0;
        } else if (bytes >= 64) {
            mask = ((uint64_t)1 << model->align_log2) - 1U;
        } else {
            mask = (bytes & 1U) ? 0 : (bytes & 2U) ? 1 : 3;
        }
    }
    return ((uint64_t)end + mask) & ~mask;
}

/* Product of dims, a dim of 0 counted as 1; MAX_ELEMENTS + 1 where it is above MAX_ELEMENTS. */
static uint64_t extent(const uint32_t *dims, uint32_t count)
{
    const uint64_t most = DCF_MAX_ELEMENTS;
    uint64_t all = 1;
    uint32_t i;
    for (i = 0; i < count; i++) {
        if (dims[i] == 0) {
            continue;
        }
        /* all is at most 2^40, so neither half overflows */
        const uint64_t high = (all >> 32) * dims[i];
        const uint64_t low = (all & 0xFFFFFFFFU) * dims[i];
        if (high > most >> 32 || low > most || (high << 32) + low > most) {
            return most + 1U;
        }
        all = (high << 32) + low;
    }
    return all;
}

/* Product of dims, MAX_ELEMENTS + 1 where it is larger than MAX_ELEMENTS. */
static uint64_t product(const uint32_t *dims, uint32_t count)
{
    uint32_t i;
    for (i = 0; i < count; i++) {
        if (dims[i] == 0) {
            return 0;
        }
    }
    return extent(dims, count);
}

static size_t saturated(uint64_t value)
{
    return value > SIZE_MAX ? SIZE_MAX : (size_t)value;
}

/* Check 7: `order` holds rank axes and their padding. Puts the dims into stored order. */
static int order_read(dcf_tensor *t, const uint8_t *order)
{
    const uint32_t rank = t->rank;
    uint32_t logical[DCF_MAX_RANK];
    uint32_t seen = 0;
    uint32_t moved = 0;
    uint32_t i;
    for (i = 0; i < rank; i++) {
        const uint32_t axis = order[i];
        if (axis >= rank || ((seen >> axis) & 1U)) {
            return DCF_ERR_STRUCTURE;
        }
        seen |= (uint32_t)1 << axis;
        moved |= axis ^ i;
        logical[i] = t->dims[i];
    }
    if (moved == 0) {
        return DCF_ERR_STRUCTURE;
    }
    for (i = rank; i % 4 != 0; i++) {
        if (order[i] != 0) {
            return DCF_ERR_PADDING;
        }
    }
    for (i = 0; i < rank; i++) {
        t->order[i] = order[i];
        t->dims[i] = logical[order[i]];
    }
    return DCF_OK;
}

/* Check 8. */
static int block_word_read(dcf_tensor *t, uint32_t word)
{
    if (word >> 28) {
        return DCF_ERR_PADDING;
    }
    t->block_rows = word & 0xFFFFFFU;
    t->offset_width = (uint8_t)(1U + ((word >> 24) & 3U));
    t->classes = (uint8_t)(1U + ((word >> 26) & 3U));
    return t->block_rows == 0 ? DCF_ERR_STRUCTURE : DCF_OK;
}

/* Checks 4 to 8: payload size, dims, order, block word. */
static int shape_fields(dcf_record *r, const uint8_t *record)
{
    dcf_tensor *t = r->tensor;
    const uint32_t flags = record[7];
    const uint32_t rank = t->rank;
    const uint8_t *dims;
    const uint8_t *order;
    const uint8_t *word;
    uint64_t most;
    uint32_t i;
    int err;
    if (rank > DCF_MAX_RANK) {
        return DCF_ERR_LIMIT;
    }
    if (t->row_axes > rank) {
        return DCF_ERR_STRUCTURE;
    }
    if (!dcf_take(&r->fields, FIRST_FIELDS + ((flags & DCF_RECORD_WIDE) ? 8U : 4U))) {
        return DCF_ERR_TRUNCATED;
    }
    dims = dcf_take(&r->fields, 4U * (size_t)rank);
    order = dims && (flags & DCF_RECORD_PERMUTED)
                ? dcf_take(&r->fields, ((size_t)rank + 3U) & ~(size_t)3U)
                : dims;
    word = order && (flags & DCF_RECORD_BLOCKED) ? dcf_take(&r->fields, 4) : order;
    if (!word) {
        return DCF_ERR_TRUNCATED;
    }
    for (i = 0; i < rank; i++) {
        t->dims[i] = dcf_u32(dims + 4 * i);
    }
    most = extent(t->dims, rank);
    if (most > DCF_MAX_ELEMENTS || most > DCF_BUILD_ELEMENTS) {
        return DCF_ERR_LIMIT;
    }
    t->elements = (size_t)product(t->dims, rank);
    err = (flags & DCF_RECORD_PERMUTED) ? order_read(t, order) : DCF_OK;
    if (err == DCF_OK && (flags & DCF_RECORD_BLOCKED)) {
        err = block_word_read(t, dcf_u32(word));
    }
    t->rows = saturated(product(t->dims, t->row_axes));
    t->columns = saturated(product(t->dims + t->row_axes, rank - t->row_axes));
    return err;
}

/* Check 14: the block of a DENSE, PACKED tensor has just the bytes of its bits. */
static int packed_check(const dcf_tensor *t, uint64_t block)
{
    const uint64_t bits = (uint64_t)t->symbols * dcf_packed_bits(t->alphabet);
    const uint64_t wanted = (t->elements * bits + 7U) / 8U;
    if (t->layout != DCF_LAYOUT_DENSE || t->coder != DCF_CODER_PACKED || block == wanted) {
        return DCF_OK;
    }
    return block < wanted ? DCF_ERR_TRUNCATED : DCF_ERR_STRUCTURE;
}

/* Checks 12 to 14: the parts of the payload. `payload` may be more than memory holds. */
static int parts_check(dcf_record *r, uint64_t payload)
{
    dcf_tensor *t = r->tensor;
    const uint64_t decoded = (uint64_t)t->elements * t->width;
    uint64_t parts = r->parameters * r->parameter_bytes;
    t->blocks = 1;
    if (t->block_rows != 0) {
        t->blocks = t->rows / t->block_rows + (t->rows % t->block_rows != 0);
        if ((t->layout == DCF_LAYOUT_DENSE && t->coder == DCF_CODER_PACKED) || t->blocks < 2 ||
            (t->classes > 1 && t->coder != DCF_CODER_HUFFMAN)) {
            return DCF_ERR_STRUCTURE;
        }
        parts += (uint64_t)(t->blocks - 1U) * t->offset_width;
        parts += t->classes > 1 ? ((uint64_t)t->blocks + 3U) / 4U : 0;
    }
    /* ceil(decoded / MAX_RATIO) - RATIO_SLACK, so that nothing can overflow */
    if (payload < decoded >> 16 &&
        (decoded >> 16) + ((decoded & 0xFFFFU) != 0) > payload + DCF_RATIO_SLACK) {
        return DCF_ERR_LIMIT;
    }
    if (parts > payload) {
        return DCF_ERR_TRUNCATED;
    }
    return packed_check(t, payload - parts);
}

/* Check 15, and the pointers that it makes safe. */
static int payload_place(dcf_record *r, const uint8_t *record, uint64_t bytes, dcf_mark *mark)
{
    const dcf_model *model = r->tensor->model;
    dcf_tensor *t = r->tensor;
    const size_t section = model->stored[DCF_SECTION_PAYLOAD];
    const uint64_t start = payload_start(model, record, bytes, mark->payload);
    const uint8_t *at;
    if (start > section || bytes > section - start) {
        return DCF_ERR_TRUNCATED;
    }
    at = dcf_section_data(model, DCF_SECTION_PAYLOAD) + start;
    t->payload = at;
    t->payload_size = (size_t)bytes;
    t->padding = (size_t)start - mark->payload;
    mark->payload = (size_t)(start + bytes);
    if (t->unsupported) {
        return DCF_OK;
    }
    t->parameters = (size_t)r->parameters;
    t->gap_bits = (uint8_t)dcf_packed_bits(t->highest_gap + 1U);
    t->symbol_bits = (uint8_t)dcf_packed_bits(t->alphabet);
    at += t->parameters * r->parameter_bytes;
    t->offsets = at;
    if (t->block_rows != 0) {
        at += (t->blocks - 1U) * t->offset_width;
    }
    t->block_class = at;
    if (t->classes > 1) {
        at += (t->blocks + 3U) / 4U;
    }
    t->coded = at;
    t->coded_size = t->payload_size - (size_t)(at - t->payload);
    return DCF_OK;
}

static void tensor_clear(dcf_tensor *t, const dcf_model *model, const uint8_t *record)
{
    uint8_t *bytes = (uint8_t *)t;
    size_t i;
    for (i = 0; i < sizeof *t; i++) {
        bytes[i] = 0;
    }
    for (i = 0; i < DCF_MAX_RANK; i++) {
        t->order[i] = (uint8_t)i;
    }
    t->model = model;
    t->dtype = record[1];
    t->rank = record[2];
    t->row_axes = record[3];
    t->layout = record[4];
    t->values = record[5];
    t->coder = record[6];
    t->crc = dcf_u32(record + 8);
    t->axis = DCF_NO_AXIS;
    t->classes = 1;
    t->symbols = 1;
    t->levels = NULL;
    t->codes = NULL;
    t->lookup = NULL;
}

/* Steps over a record that was checked. */
static void record_skip(const dcf_model *model, dcf_mark *mark)
{
    const uint8_t *record = dcf_section_data(model, DCF_SECTION_RECORDS) + mark->record;
    mark->record += 4U * (size_t)record[0];
    if (!(record[7] & DCF_RECORD_TIED)) {
        const uint64_t bytes = payload_bytes(record);
        mark->payload = (size_t)(payload_start(model, record, bytes, mark->payload) + bytes);
    }
}

/* Find checked record `index`: at most stride - 1 steps from a mark. */
static dcf_mark seek(const dcf_model *model, uint32_t index)
{
    dcf_mark mark = model->mark[index / model->stride];
    uint32_t i;
    for (i = index % model->stride; i > 0; i--) {
        record_skip(model, &mark);
    }
    return mark;
}

static int record_is_tied(const dcf_model *model, uint32_t index)
{
    const uint8_t *section = dcf_section_data(model, DCF_SECTION_RECORDS);
    return (section[seek(model, index).record + 7] & DCF_RECORD_TIED) != 0;
}

/* Check 3. */
static int tied_read(const dcf_model *model, uint32_t index, const uint8_t *record,
                     uint32_t *target)
{
    uint32_t i;
    if (record[0] != 3 || record[7] != DCF_RECORD_TIED) {
        return DCF_ERR_STRUCTURE;
    }
    for (i = 1; i < 7; i++) {
        if (record[i] != 0) {
            return DCF_ERR_PADDING;
        }
    }
    *target = dcf_u32(record + 8);
    if (*target >= index || record_is_tied(model, *target)) {
        return DCF_ERR_STRUCTURE;
    }
    return DCF_OK;
}

static int untied_read(dcf_record *r, const uint8_t *record, dcf_mark *mark)
{
    uint64_t payload;
    int err = shape_fields(r, record);
    if (err != DCF_OK) {
        return err;
    }
    payload = payload_bytes(record);
    err = DCF_ERR_UNSUPPORTED;
    if (dcf_rooms_here(r->tensor)) {
        err = dcf_rooms_legal(r->tensor, payload);
        if (err == DCF_OK) {
            err = dcf_rooms_fields(r);
        }
        if (err == DCF_OK) {
            err = parts_check(r, payload);
        }
    }
    if (err == DCF_ERR_UNSUPPORTED) {
        r->tensor->unsupported = 1;
        err = DCF_OK;
    }
    return err == DCF_OK ? payload_place(r, record, payload, mark) : err;
}

int dcf_record_read(const dcf_model *model, uint32_t index, dcf_mark *mark, dcf_tensor *tensor,
                    uint32_t *tied)
{
    const uint8_t *record = dcf_section_data(model, DCF_SECTION_RECORDS) + mark->record;
    const size_t remaining = model->stored[DCF_SECTION_RECORDS] - mark->record;
    dcf_record r;
    int err;
    if (remaining < FIRST_FIELDS) {
        return DCF_ERR_TRUNCATED;
    }
    r.fields.data = record;
    r.fields.left = 4U * (size_t)record[0];
    if (r.fields.left < FIRST_FIELDS) {
        return DCF_ERR_STRUCTURE;
    }
    if (r.fields.left > remaining) {
        return DCF_ERR_TRUNCATED;
    }
    if (record[7] & 0xF0U) {
        return DCF_ERR_STRUCTURE;
    }
    r.tensor = tensor;
    r.parameters = 0;
    r.parameter_bytes = 0;
    *tied = DCF_NO_TENSOR;
    tensor_clear(tensor, model, record);
    tensor->index = index;
    if (record[7] & DCF_RECORD_TIED) {
        err = tied_read(model, index, record, tied);
    } else {
        err = untied_read(&r, record, mark);
    }
    mark->record += 4U * (size_t)record[0];
    return err;
}

int dcf_records_check(dcf_model *model)
{
    const uint8_t *section = dcf_section_data(model, DCF_SECTION_RECORDS);
    const size_t size = model->stored[DCF_SECTION_RECORDS];
    dcf_mark mark = {4, 0};
    model->place = DCF_PLACE_RECORDS;
    model->item = 0;
    if (size == 0) {
        model->place = DCF_PLACE_END;
        model->item = DCF_SECTION_PAYLOAD;
        return model->stored[DCF_SECTION_PAYLOAD] == 0 ? DCF_OK : DCF_ERR_STRUCTURE;
    }
    if (size < 4) {
        return DCF_ERR_TRUNCATED;
    }
    model->tensors = dcf_u32(section);
    if (model->tensors > DCF_MAX_TENSORS || model->tensors > DCF_BUILD_TENSORS) {
        return DCF_ERR_LIMIT;
    }
    model->stride = model->tensors / DCF_MARKS + 1U;
    for (; model->item < model->tensors; model->item++) {
        dcf_tensor tensor;
        uint32_t tied;
        int err;
        if (model->item % model->stride == 0) {
            model->mark[model->item / model->stride] = mark;
        }
        err = dcf_record_read(model, model->item, &mark, &tensor, &tied);
        if (err != DCF_OK) {
            return err;
        }
    }
    model->place = DCF_PLACE_END;
    model->item = mark.record != size ? DCF_SECTION_RECORDS : DCF_SECTION_PAYLOAD;
    if (mark.record != size || mark.payload != model->stored[DCF_SECTION_PAYLOAD]) {
        return DCF_ERR_STRUCTURE;
    }
    return DCF_OK;
}

int dcf_tensor_at(const dcf_model *model, uint32_t index, dcf_tensor *tensor)
{
    dcf_mark mark;
    uint32_t tied;
    int err;
    if (index >= model->tensors) {
        return DCF_ERR_ARGUMENT;
    }
    mark = seek(model, index);
    err = dcf_record_read(model, index, &mark, tensor, &tied);
    if (err == DCF_OK && tied != DCF_NO_TENSOR) {
        mark = seek(model, tied);
        err = dcf_record_read(model, tied, &mark, tensor, &tied);
    }
    return err;
}

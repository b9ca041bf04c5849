/* Opening a file: header and section table. Spec: spec/DCF.md. Sister: dcformat/container.py. */
#include "dcf_internal.h"

static const uint8_t MAGIC[8] = {0x89, 0x44, 0x43, 0x46, 0x0D, 0x0A, 0x1A, 0x0A};

enum { HEADER_BYTES = 48, HEADER_BYTES_MAX = 64, ENTRY_BYTES = 32 };

static int any_set(const uint8_t *data, size_t from, size_t to)
{
    size_t i;
    for (i = from; i < to; i++) {
        if (data[i] != 0) {
            return 1;
        }
    }
    return 0;
}

/* The part of the header that says whether the rest can be read at all. */
static int header_kind(const uint8_t *data, size_t size)
{
    size_t i;
    if (size < sizeof MAGIC) {
        return DCF_ERR_TRUNCATED;
    }
    for (i = 0; i < sizeof MAGIC; i++) {
        if (data[i] != MAGIC[i]) {
            return DCF_ERR_MAGIC;
        }
    }
    if (size < HEADER_BYTES) {
        return DCF_ERR_TRUNCATED;
    }
    if (dcf_u16(data + 8) != DCF_MAJOR || dcf_u16(data + 10) != DCF_MINOR) {
        return DCF_ERR_VERSION;
    }
    return DCF_OK;
}

static int header_check(const uint8_t *data, size_t size, size_t *header, size_t *table)
{
    const int err = header_kind(data, size);
    uint32_t crc;
    uint32_t incompat;
    if (err != DCF_OK) {
        return err;
    }
    *header = dcf_u16(data + 12);
    if (*header < HEADER_BYTES || *header > HEADER_BYTES_MAX || *header % 4 != 0) {
        return DCF_ERR_STRUCTURE;
    }
    if (size < *header) {
        return DCF_ERR_TRUNCATED;
    }
    crc = dcf_crc(0, data, HEADER_BYTES - 4);
    crc = dcf_crc(crc, data + HEADER_BYTES, *header - HEADER_BYTES);
    if (crc != dcf_u32(data + 44)) {
        return DCF_ERR_CHECKSUM;
    }
    if (dcf_u64(data + 16) != size) {
        return dcf_u64(data + 16) > size ? DCF_ERR_TRUNCATED : DCF_ERR_STRUCTURE;
    }
    incompat = dcf_u32(data + 24);
    if (incompat & ~(uint32_t)DCF_INCOMPAT_DRAFT) {
        return DCF_ERR_FEATURE;
    }
    if (!(incompat & DCF_INCOMPAT_DRAFT)) {
        return DCF_ERR_STRUCTURE;
    }
    *table = dcf_u16(data + 14);
    if (*table > DCF_MAX_SECTIONS) {
        return DCF_ERR_LIMIT;
    }
    *table *= ENTRY_BYTES;
    if (dcf_u32(data + 40) != 0) {
        return DCF_ERR_PADDING;
    }
    if (*table > size - *header) {
        return DCF_ERR_TRUNCATED;
    }
    return dcf_crc(0, data + *header, *table) == dcf_u32(data + 36) ? DCF_OK : DCF_ERR_CHECKSUM;
}

static int entry_type_check(const uint8_t *entry, int before)
{
    const uint32_t type = entry[0];
    const uint32_t flags = entry[1];
    uint32_t expected = DCF_SECTION_FLAG_SAFE_TO_COPY;
    if ((int)type <= before || (flags & ~3U)) {
        return DCF_ERR_STRUCTURE;
    }
    if (type == 0 || type > DCF_SECTION_PAYLOAD) {
        return (flags & DCF_SECTION_FLAG_CRITICAL) ? DCF_ERR_FEATURE : DCF_OK;
    }
    if (type <= DCF_SECTION_TABLES || type == DCF_SECTION_PAYLOAD) {
        expected = DCF_SECTION_FLAG_CRITICAL;
    }
    return flags == expected ? DCF_OK : DCF_ERR_STRUCTURE;
}

static int entry_codec_check(const uint8_t *entry)
{
    const uint32_t type = entry[0];
    const uint32_t codec = entry[2];
    const uint64_t stored = dcf_u64(entry + 16);
    const uint64_t decoded = dcf_u64(entry + 24);
    const int known = type != 0 && type <= DCF_SECTION_PAYLOAD;
    if ((type == DCF_SECTION_META && decoded > DCF_MAX_META_BYTES) ||
        (type == DCF_SECTION_GRAPH && decoded > DCF_MAX_GRAPH_BYTES)) {
        return DCF_ERR_LIMIT;
    }
    if (codec == DCF_SECTION_CODEC_STORED) {
        return decoded == stored ? DCF_OK : DCF_ERR_STRUCTURE;
    }
    if (known && (codec != DCF_SECTION_CODEC_ZSTD ||
                  (type != DCF_SECTION_NAMES && type != DCF_SECTION_META &&
                   type != DCF_SECTION_GRAPH))) {
        return DCF_ERR_FEATURE;
    }
    /* ceil(decoded / MAX_RATIO), so that nothing can overflow */
    if (codec == DCF_SECTION_CODEC_ZSTD &&
        (decoded >> 16) + ((decoded & 0xFFFFU) != 0) > stored + DCF_RATIO_SLACK) {
        return DCF_ERR_LIMIT;
    }
    return DCF_OK;
}

/* Where the entry says its bytes are; `end` moves behind them. */
static int entry_place_check(const uint8_t *data, size_t size, const uint8_t *entry, size_t *end)
{
    const uint32_t align_log2 = entry[3];
    const uint64_t offset = dcf_u64(entry + 8);
    const uint64_t stored = dcf_u64(entry + 16);
    const uint64_t limit = size - DCF_TAIL_BYTES;
    uint64_t mask;
    if (align_log2 > DCF_MAX_ALIGN_LOG2) {
        return DCF_ERR_LIMIT;
    }
    if (entry[0] == DCF_SECTION_PAYLOAD && align_log2 < 4) {
        return DCF_ERR_STRUCTURE;
    }
    mask = ((uint64_t)1 << align_log2) - 1U;
    if (offset != (((uint64_t)*end + mask) & ~mask)) {
        return DCF_ERR_STRUCTURE;
    }
    if (offset > limit || stored > limit - offset) {
        return DCF_ERR_TRUNCATED;
    }
    if (any_set(data, *end, (size_t)offset)) {
        return DCF_ERR_PADDING;
    }
    *end = (size_t)(offset + stored);
    return DCF_OK;
}

static void entry_keep(dcf_model *model, const uint8_t *entry)
{
    const uint32_t type = entry[0];
    if (type == 0 || type > DCF_SECTION_PAYLOAD ||
        dcf_u64(entry + 24) == 0) {
        return; /* not known, or as if it were missing */
    }
    model->start[type] = (size_t)dcf_u64(entry + 8);
    model->stored[type] = (size_t)dcf_u64(entry + 16);
    if (entry[2] == DCF_SECTION_CODEC_ZSTD) {
        model->zstd |= (uint32_t)1 << type;
    }
    if (type == DCF_SECTION_PAYLOAD) {
        model->align_log2 = entry[3];
    }
}

static int sections_check(dcf_model *model, size_t header, size_t table)
{
    size_t end = header + table;
    size_t at;
    int before = -1;
    for (at = header; at < header + table; at += ENTRY_BYTES) {
        const uint8_t *entry = model->data + at;
        int err = entry_type_check(entry, before);
        if (err == DCF_OK) {
            err = entry_place_check(model->data, model->size, entry, &end);
        }
        if (err == DCF_OK) {
            err = entry_codec_check(entry);
        }
        if (err != DCF_OK) {
            return err;
        }
        entry_keep(model, entry);
        before = entry[0];
        model->item++;
    }
    if (model->size - end != DCF_TAIL_BYTES) {
        return DCF_ERR_STRUCTURE;
    }
    return any_set(model->data, end, model->size) ? DCF_ERR_PADDING : DCF_OK;
}

/* CRCs of the sections that opening reads. */
static int read_sections_check(dcf_model *model, size_t header, size_t table)
{
    size_t at;
    model->item = 0;
    for (at = header; at < header + table; at += ENTRY_BYTES) {
        const uint8_t *entry = model->data + at;
        const uint32_t type = entry[0];
        if (type != DCF_SECTION_RECORDS && type != DCF_SECTION_TABLES) {
            continue;
        }
        model->item = type - 1U;
        if (dcf_crc(0, dcf_section_data(model, type), model->stored[type]) != dcf_u32(entry + 4)) {
            return DCF_ERR_CHECKSUM;
        }
    }
    return DCF_OK;
}

static void model_clear(dcf_model *model, const uint8_t *data, size_t size)
{
    uint32_t i;
    model->data = data;
    model->size = size;
    for (i = 0; i <= DCF_SECTION_PAYLOAD; i++) {
        model->start[i] = 0;
        model->stored[i] = 0;
    }
    model->zstd = 0;
    model->tensors = 0;
    model->tables = 0;
    model->stride = 1;
    model->item = 0;
    model->place = DCF_PLACE_HEADER;
    model->align_log2 = 0;
}

int dcf_open(dcf_model *model, const uint8_t *data, size_t size)
{
    size_t header = 0;
    size_t table = 0;
    int err;
    model_clear(model, data, size);
    err = header_check(data, size, &header, &table);
    if (err != DCF_OK) {
        return err;
    }
    model->place = DCF_PLACE_SECTIONS;
    err = sections_check(model, header, table);
    if (err == DCF_OK) {
        err = read_sections_check(model, header, table);
    }
    if (err == DCF_OK) {
        err = dcf_tables_check(model);
    }
    return err == DCF_OK ? dcf_records_check(model) : err;
}

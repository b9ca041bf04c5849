/* Opening a file: header and section table. Spec: spec/DCF.md. Sister: dcformat/container.py. */
#include "dcf_internal.h"

#define MAGIC_LOW 0x46434489U
#define MAGIC_HIGH 0x0A1A0A0DU

enum { HEADER_BYTES = 48, HEADER_MORE = 16, ENTRY_BYTES = 32 };

DCF_LOCAL int dcf_zeros(const dcf_model *model, dcf_at at, dcf_size count)
{
    for (; count > 0; count--) {
        if (DCF_BYTE(model, at) != 0) {
            return 0;
        }
        at++;
    }
    return 1;
}

DCF_LOCAL void dcf_clear(void *object, size_t size)
{
    uint8_t *bytes = (uint8_t *)object;
    while (size > 0) {
        bytes[--size] = 0;
    }
}

/* The part of the header that says whether the rest can be read at all. */
static int header_kind(const dcf_model *m)
{
    const dcf_at data = m->data;
    if (m->size < 8) {
        return DCF_ERR_TRUNCATED;
    }
    if (DCF_U32(m, data) != MAGIC_LOW || DCF_U32(m, data + 4) != MAGIC_HIGH) {
        return DCF_ERR_MAGIC;
    }
    if (m->size < HEADER_BYTES) {
        return DCF_ERR_TRUNCATED;
    }
    return DCF_U32(m, data + 8) == (DCF_MAJOR | (uint32_t)DCF_MINOR << 16) ? DCF_OK : DCF_ERR_VERSION;
}

static int header_check(dcf_model *m, uint32_t *header)
{
    const dcf_at data = m->data;
    dcf_size wanted;
    uint32_t crc;
    uint32_t more;
    uint32_t count;
    const int err = header_kind(m);
    if (err != DCF_OK) {
        return err;
    }
    *header = DCF_U16(m, data + 12);
    more = *header - HEADER_BYTES;
    if (more > HEADER_MORE || (more & 3U)) {
        return DCF_ERR_STRUCTURE;
    }
    if (m->size < *header) {
        return DCF_ERR_TRUNCATED;
    }
    crc = dcf_crc_stored(m, 0, data, HEADER_BYTES - 4);
    crc = dcf_crc_stored(m, crc, data + HEADER_BYTES, more);
    if (crc != DCF_U32(m, data + 44)) {
        return DCF_ERR_CHECKSUM;
    }
    wanted = DCF_SIZE(m, data + 16);
    if (wanted != m->size) {
        return wanted > m->size ? DCF_ERR_TRUNCATED : DCF_ERR_STRUCTURE;
    }
    more = DCF_U32(m, data + 24);
    if (more != DCF_INCOMPAT_DRAFT) {
        return more == 0 ? DCF_ERR_STRUCTURE : DCF_ERR_FEATURE;
    }
    count = DCF_U16(m, data + 14);
    if (count > DCF_MAX_SECTIONS) {
        return DCF_ERR_LIMIT;
    }
    if (DCF_U32(m, data + 40) != 0) {
        return DCF_ERR_PADDING;
    }
    m->sections = (uint8_t)count;
    if (count * ENTRY_BYTES > m->size - *header) {
        return DCF_ERR_TRUNCATED;
    }
    crc = dcf_crc_stored(m, 0, data + *header, count * ENTRY_BYTES);
    return crc == DCF_U32(m, data + 36) ? DCF_OK : DCF_ERR_CHECKSUM;
}

/* Checks 1 to 3; `before` is the type of the entry before plus 1. */
static int entry_type_check(uint32_t type, uint32_t flags, uint32_t before)
{
    const uint32_t critical =
        1U << DCF_SECTION_RECORDS | 1U << DCF_SECTION_TABLES | 1U << DCF_SECTION_PAYLOAD;
    if (type < before) {
        return DCF_ERR_STRUCTURE;
    }
    if (type == 0 || type > DCF_SECTION_PAYLOAD) {
        if (flags > (DCF_SECTION_FLAG_CRITICAL | DCF_SECTION_FLAG_SAFE_TO_COPY)) {
            return DCF_ERR_STRUCTURE;
        }
        return (flags & DCF_SECTION_FLAG_CRITICAL) ? DCF_ERR_FEATURE : DCF_OK;
    }
    /* SAFE_TO_COPY is 2, CRITICAL is 1 */
    return flags == 2U - (critical >> type & 1U) ? DCF_OK : DCF_ERR_STRUCTURE;
}

/* Checks 8 and 9. */
static int entry_codec_check(uint32_t type, uint32_t codec, dcf_size stored, dcf_size decoded)
{
    const uint32_t with_zstd =
        1U << DCF_SECTION_NAMES | 1U << DCF_SECTION_META | 1U << DCF_SECTION_GRAPH;
    if ((type == DCF_SECTION_META && decoded > DCF_MAX_META_BYTES) ||
        (type == DCF_SECTION_GRAPH && decoded > DCF_MAX_GRAPH_BYTES)) {
        return DCF_ERR_LIMIT;
    }
    if (codec == DCF_SECTION_CODEC_STORED) {
        return decoded == stored ? DCF_OK : DCF_ERR_STRUCTURE;
    }
    if (type - 1U < DCF_SECTION_PAYLOAD &&
        (codec != DCF_SECTION_CODEC_ZSTD || !(with_zstd >> type & 1U))) {
        return DCF_ERR_FEATURE;
    }
    /* ceil(decoded / MAX_RATIO), so that nothing can overflow; the largest dcf_size may stand for
     * more */
    if (codec == DCF_SECTION_CODEC_ZSTD &&
        ((decoded >> 16) + ((decoded & 0xFFFFU) != 0) > stored + DCF_RATIO_SLACK ||
         decoded == (dcf_size)-1)) {
        return DCF_ERR_LIMIT;
    }
    return DCF_OK;
}

/* An entry whose type is good; `end` moves from the end of the section before to that of this. */
static int section_check(dcf_model *m, dcf_at entry, dcf_size *end)
{
    const dcf_size offset = DCF_SIZE(m, entry + 8);
    const dcf_size stored = DCF_SIZE(m, entry + 16);
    const dcf_size decoded = DCF_SIZE(m, entry + 24);
    const dcf_size most = m->size - DCF_TAIL_BYTES;
    const dcf_size before = *end;
    const uint32_t type = DCF_BYTE(m, entry);
    const uint32_t codec = DCF_BYTE(m, entry + 2);
    const uint32_t align_log2 = DCF_BYTE(m, entry + 3);
    dcf_size mask;
    int err;
    if (align_log2 > DCF_MAX_ALIGN_LOG2) {
        return DCF_ERR_LIMIT;
    }
    if (type == DCF_SECTION_PAYLOAD && align_log2 < 4) {
        return DCF_ERR_STRUCTURE;
    }
    mask = ((dcf_size)1 << align_log2) - 1U;
    if (offset != ((before + mask) & ~mask)) {
        return DCF_ERR_STRUCTURE;
    }
    if (offset > most || stored > most - offset) {
        return DCF_ERR_TRUNCATED;
    }
    if (!dcf_zeros(m, m->data + before, offset - before)) {
        return DCF_ERR_PADDING;
    }
    *end = offset + stored;
    err = entry_codec_check(type, codec, stored, decoded);
    if (err == DCF_OK && type - 1U < DCF_SECTION_PAYLOAD && DCF_SLOT(type) < DCF_KEPT &&
        decoded != 0) {
        m->start[DCF_SLOT(type)] = m->data + offset;
        m->stored[DCF_SLOT(type)] = stored;
        m->zstd = (uint8_t)(m->zstd | codec << DCF_SLOT(type));
        if (type == DCF_SECTION_PAYLOAD) {
            m->align_log2 = (uint8_t)align_log2;
        }
    }
    return err;
}

DCF_APART static int sections_check(dcf_model *m, uint32_t header)
{
    dcf_at entry = m->data + header;
    dcf_size end = header + (dcf_size)m->sections * ENTRY_BYTES;
    uint32_t before = 0;
    for (; m->item < m->sections; m->item++) {
        const uint32_t type = DCF_BYTE(m, entry);
        int err = entry_type_check(type, DCF_BYTE(m, entry + 1), before);
        if (err == DCF_OK) {
            err = section_check(m, entry, &end);
        }
        if (err != DCF_OK) {
            return err;
        }
        before = type + 1U;
        entry += ENTRY_BYTES;
    }
    if (m->size - end != DCF_TAIL_BYTES) {
        return DCF_ERR_STRUCTURE;
    }
    return dcf_zeros(m, m->data + end, DCF_TAIL_BYTES) ? DCF_OK : DCF_ERR_PADDING;
}

/* The CRCs of the sections that opening reads, or of `all`. Where one is wrong, `index` is its id
 * less 1. */
DCF_LOCAL int dcf_sections_crc(const dcf_model *m, uint32_t all, uint32_t *index)
{
    dcf_at entry = m->data + DCF_U16(m, m->data + 12);
    uint32_t count = m->sections;
    for (; count > 0; count--) {
        *index = DCF_BYTE(m, entry) - 1U;
        if (all || *index < DCF_SECTION_TABLES) {
            const dcf_at bytes = m->data + DCF_SIZE(m, entry + 8);
            if (dcf_crc_stored(m, 0, bytes, DCF_SIZE(m, entry + 16)) != DCF_U32(m, entry + 4)) {
                return DCF_ERR_CHECKSUM;
            }
        }
        entry += ENTRY_BYTES;
    }
    return DCF_OK;
}

static int open_model(dcf_model *m)
{
    uint32_t header;
    uint32_t i;
    int err = DCF_ERR_LIMIT;
    if (m->size <= DCF_MOST) {
        err = header_check(m, &header);
    }
    if (err != DCF_OK) {
        return err;
    }
    m->place = DCF_PLACE_SECTIONS;
    for (i = 0; i < DCF_KEPT; i++) {
        m->start[i] = m->data; /* bytes to look ahead at, where a section is missing */
    }
    err = sections_check(m, header);
    if (err == DCF_OK) {
        err = dcf_sections_crc(m, 0, &m->item);
    }
    if (err == DCF_OK) {
        err = dcf_tables_check(m);
    }
    return err == DCF_OK ? dcf_records_check(m) : err;
}

#if DCF_WITH_READ_CALLBACK
int dcf_open_read(dcf_model *model, dcf_source *source, dcf_size size)
{
    int err;
    dcf_clear(model, sizeof *model);
    model->source = source;
    model->size = size;
    source->size = size;
    source->held = 0;
    source->status = 0;
    err = open_model(model);
    return DCF_RESULT(model, err);
}
#else
int dcf_open(dcf_model *model, const uint8_t *data, dcf_size size)
{
    dcf_clear(model, sizeof *model);
    model->data = data;
    model->size = size;
    return open_model(model);
}
#endif

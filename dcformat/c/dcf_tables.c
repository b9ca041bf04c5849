/* Section TABLES. Spec: spec/DCF.md, "TABLES". Sister: dcformat/container.py. */
#include "dcf_internal.h"

DCF_LOCAL dcf_at dcf_table_entry(const dcf_model *m, uint32_t index, dcf_at *end)
{
    const dcf_at section = m->start[DCF_SECTION_TABLES];
    const dcf_at offset = section + 4 + 4 * (dcf_size)index;
    *end = section + m->stored[DCF_SECTION_TABLES];
    if (index + 1U < m->tables) {
        *end = section + DCF_U32(m, offset + 4);
    }
    return section + DCF_U32(m, offset);
}

/* Is an entry of a kind, or a codebook of a type, that is not here? */
static int table_unsupported(const dcf_model *m, dcf_at entry)
{
    const uint32_t kind = DCF_BYTE(m, entry);
    if (DCF_WITH_CODEBOOK && kind == DCF_TABLE_CODEBOOK) {
        return dcf_dtype_width(DCF_BYTE(m, entry + 1)) == 0;
    }
    return !DCF_WITH_HUFFMAN || kind >= DCF_TABLE_CODEBOOK;
}

DCF_LOCAL int dcf_table_named(const dcf_model *m, uint32_t index, uint32_t codebook,
                              dcf_at *entry)
{
    dcf_at end;
    if (index >= m->tables) {
        return DCF_ERR_STRUCTURE;
    }
    *entry = dcf_table_entry(m, index, &end);
    if (table_unsupported(m, *entry)) {
        return DCF_ERR_UNSUPPORTED;
    }
    return (DCF_BYTE(m, *entry) == DCF_TABLE_CODEBOOK) == codebook ? DCF_OK : DCF_ERR_STRUCTURE;
}

#if DCF_WITH_CODEBOOK
static int codebook_check(const dcf_model *m, dcf_at entry, dcf_at end)
{
    uint32_t type;
    uint32_t width;
    uint32_t count;
    if (end - entry < 3) {
        return DCF_ERR_TRUNCATED;
    }
    type = DCF_BYTE(m, entry + 1);
    width = dcf_dtype_width(type);
    if (width == 0) {
        return DCF_OK; /* unsupported, and with it the tensors that refer to it */
    }
    count = DCF_BYTE(m, entry + 2) + 1U;
    entry += 3;
    if ((dcf_size)(end - entry) != count * width) {
        return DCF_ERR_STRUCTURE;
    }
    if (width > 1) {
        return DCF_OK;
    }
    for (; entry != end; entry++) {
        const uint32_t level = DCF_BYTE(m, entry);
        if (!dcf_dtype_holds(type, (int32_t)level) && !dcf_dtype_holds(type, (int32_t)level - 256)) {
            return DCF_ERR_STRUCTURE;
        }
    }
    return DCF_OK;
}
#endif

static int entry_check(const dcf_model *m, dcf_at entry, dcf_at end)
{
    const uint32_t kind = DCF_BYTE(m, entry);
#if DCF_WITH_CODEBOOK
    if (kind == DCF_TABLE_CODEBOOK) {
        return codebook_check(m, entry, end);
    }
#endif
#if DCF_WITH_HUFFMAN
    if (kind < DCF_TABLE_CODEBOOK) {
        return dcf_huffman_check(m, entry, end);
    }
#endif
    (void)kind;
    (void)end;
    return DCF_OK;
}

/* Offsets ascend from the end of their list, and stay below the section's size. */
static int offsets_check(const dcf_model *m)
{
    const dcf_size size = m->stored[DCF_SECTION_TABLES];
    const dcf_size first = 4 + 4 * (dcf_size)m->tables;
    dcf_size before = first - 1U;
    dcf_size at;
    if (m->tables == 0) {
        return size == 4 ? DCF_OK : DCF_ERR_STRUCTURE;
    }
    for (at = 4; at < first; at += 4) {
        const uint32_t offset = DCF_U32(m, m->start[DCF_SECTION_TABLES] + at);
        if (offset <= before || offset >= size || (at == 4 && offset != first)) {
            return DCF_ERR_STRUCTURE;
        }
        before = offset;
    }
    return DCF_OK;
}

DCF_APART DCF_LOCAL int dcf_tables_check(dcf_model *m)
{
    const dcf_size size = m->stored[DCF_SECTION_TABLES];
    int err;
    if (size == 0) {
        return DCF_OK;
    }
    m->place = DCF_PLACE_TABLES;
    m->item = 0;
    if (size < 4) {
        return DCF_ERR_TRUNCATED;
    }
    m->tables = DCF_U32(m, m->start[DCF_SECTION_TABLES]);
    if (m->tables > DCF_MAX_TABLES) {
        return DCF_ERR_LIMIT;
    }
    if (4 * (dcf_size)m->tables > size - 4) {
        return DCF_ERR_TRUNCATED;
    }
    err = offsets_check(m);
    for (; err == DCF_OK && m->item < m->tables; m->item++) {
        dcf_at end;
        const dcf_at entry = dcf_table_entry(m, m->item, &end);
        err = entry_check(m, entry, end);
        if (err != DCF_OK) {
            break;
        }
    }
    return err;
}

/* Section TABLES. Spec: spec/DCF.md, "TABLES". Sister: dcformat/container.py. */
#include "dcf_internal.h"

const uint8_t *dcf_table_entry(const dcf_model *model, uint32_t index, size_t *bytes)
{
    const uint8_t *section = dcf_section_data(model, DCF_SECTION_TABLES);
    const uint32_t start = dcf_u32(section + 4 + 4 * (size_t)index);
    size_t end = model->stored[DCF_SECTION_TABLES];
    if (index + 1U < model->tables) {
        end = dcf_u32(section + 8 + 4 * (size_t)index);
    }
    *bytes = end - start;
    return section + start;
}

/* An entry of a kind, or a codebook of a type, that is not here. */
static int unsupported(const uint8_t *entry)
{
#ifndef DCF_NO_CODEBOOK
    if (entry[0] == DCF_TABLE_CODEBOOK) {
        return dcf_dtype_width(entry[1]) == 0;
    }
#endif
#ifndef DCF_NO_HUFFMAN
    if (entry[0] <= DCF_TABLE_HUFFMAN_FLAT) {
        return 0;
    }
#endif
    (void)entry;
    return 1;
}

int dcf_table_named(const dcf_model *model, uint32_t index, int codebook, const uint8_t **entry)
{
    size_t bytes;
    if (index >= model->tables) {
        return DCF_ERR_STRUCTURE;
    }
    *entry = dcf_table_entry(model, index, &bytes);
    if (unsupported(*entry)) {
        return DCF_ERR_UNSUPPORTED;
    }
    return ((*entry)[0] == DCF_TABLE_CODEBOOK) == codebook ? DCF_OK : DCF_ERR_STRUCTURE;
}

#ifndef DCF_NO_CODEBOOK
static int codebook_check(const uint8_t *entry, size_t bytes)
{
    uint32_t width;
    size_t levels;
    size_t i;
    int32_t low;
    int32_t high;
    if (bytes < 3) {
        return DCF_ERR_TRUNCATED;
    }
    width = dcf_dtype_width(entry[1]);
    if (width == 0) {
        return DCF_OK; /* unsupported, and with it the tensors that refer to it */
    }
    levels = (size_t)entry[2] + 1U;
    if (bytes != 3 + levels * width) {
        return DCF_ERR_STRUCTURE;
    }
    if (width > 1) {
        return DCF_OK;
    }
    dcf_dtype_range(entry[1], &low, &high);
    for (i = 0; i < levels; i++) {
        const int32_t level = low < 0 ? (int32_t)dcf_i8(entry + 3 + i) : (int32_t)entry[3 + i];
        if (level < low || level > high) {
            return DCF_ERR_STRUCTURE;
        }
    }
    return DCF_OK;
}
#endif

static int entry_check(const uint8_t *entry, size_t bytes)
{
#ifndef DCF_NO_CODEBOOK
    if (entry[0] == DCF_TABLE_CODEBOOK) {
        return codebook_check(entry, bytes);
    }
#endif
#ifndef DCF_NO_HUFFMAN
    if (entry[0] <= DCF_TABLE_HUFFMAN_FLAT) {
        return dcf_huffman_entry_check(entry, bytes);
    }
#endif
    (void)entry;
    (void)bytes;
    return DCF_OK;
}

/* Offsets ascend from the end of their list, and stay below the section's size. */
static int offsets_check(const uint8_t *section, size_t size, uint32_t count)
{
    size_t before = 3 + 4 * (size_t)count;
    uint32_t i;
    if (count == 0) {
        return size == 4 ? DCF_OK : DCF_ERR_STRUCTURE;
    }
    for (i = 0; i < count; i++) {
        const uint32_t offset = dcf_u32(section + 4 + 4 * (size_t)i);
        if (offset <= before || offset >= size || (i == 0 && offset != before + 1)) {
            return DCF_ERR_STRUCTURE;
        }
        before = offset;
    }
    return DCF_OK;
}

int dcf_tables_check(dcf_model *model)
{
    const uint8_t *section = dcf_section_data(model, DCF_SECTION_TABLES);
    const size_t size = model->stored[DCF_SECTION_TABLES];
    int err;
    if (size == 0) {
        return DCF_OK;
    }
    model->place = DCF_PLACE_TABLES;
    model->item = 0;
    if (size < 4) {
        return DCF_ERR_TRUNCATED;
    }
    model->tables = dcf_u32(section);
    if (model->tables > DCF_MAX_TABLES) {
        return DCF_ERR_LIMIT;
    }
    if (4 * (size_t)model->tables > size - 4) {
        return DCF_ERR_TRUNCATED;
    }
    err = offsets_check(section, size, model->tables);
    for (; err == DCF_OK && model->item < model->tables; model->item++) {
        size_t bytes;
        const uint8_t *entry = dcf_table_entry(model, model->item, &bytes);
        err = entry_check(entry, bytes);
        if (err != DCF_OK) {
            return err;
        }
    }
    return err;
}

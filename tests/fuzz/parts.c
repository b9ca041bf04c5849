/* See parts.h. */
#include "parts.h"

#include <stdlib.h>
#include <string.h>

#include "dcf.h"

enum { HEADER_LEAST = 48, STORED = DCF_SECTION_CODEC_STORED };

uint32_t get16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

uint32_t get32(const uint8_t *p)
{
    return get16(p) | get16(p + 2) << 16;
}

void put32(uint8_t *p, uint32_t value)
{
    int i;
    for (i = 0; i < 4; i++) {
        p[i] = (uint8_t)(value >> (8 * i));
    }
}

/* Where header and section table end, 0 where they do not fit. */
static size_t table_end(const uint8_t *data, size_t size)
{
    size_t header;
    size_t end;
    if (size < HEADER_LEAST) {
        return 0;
    }
    header = get16(data + 12);
    end = header + ENTRY_BYTES * (size_t)get16(data + 14);
    return header < HEADER_LEAST || header > HEADER_MOST || end > size ? 0 : end;
}

static uint8_t *memory(size_t bytes)
{
    uint8_t *p = (uint8_t *)calloc(bytes ? bytes : 1, 1);
    if (!p) {
        abort();
    }
    return p;
}

int parts_take(parts *file, const uint8_t *data, size_t size, size_t room)
{
    const size_t end = table_end(data, size);
    size_t i;
    memset(file, 0, sizeof *file);
    file->count = end ? get16(data + 14) : 0;
    if (end == 0 || file->count > PARTS_MOST || size > room) {
        return 0;
    }
    file->header_size = get16(data + 12);
    file->room = room;
    memcpy(file->header, data, file->header_size);
    for (i = 0; i < file->count; i++) {
        part *p = &file->part[i];
        size_t offset;
        memcpy(p->entry, data + file->header_size + ENTRY_BYTES * i, ENTRY_BYTES);
        offset = get32(p->entry + 8);
        p->size = get32(p->entry + 16);
        if (offset > size || p->size > size - offset) {
            p->size = 0;
        }
        p->bytes = memory(room);
        memcpy(p->bytes, data + (p->size ? offset : 0), p->size);
    }
    return 1;
}

void parts_free(parts *file)
{
    size_t i;
    for (i = 0; i < file->count; i++) {
        free(file->part[i].bytes);
    }
}

part *parts_find(parts *file, uint32_t type)
{
    size_t i;
    for (i = 0; i < file->count; i++) {
        if (file->part[i].entry[0] == type) {
            return &file->part[i];
        }
    }
    return NULL;
}

static void put64(uint8_t *p, size_t value)
{
    put32(p, (uint32_t)value);
    put32(p + 4, (uint32_t)((uint64_t)value >> 32));
}

/* Where a part that follows `end` begins. */
static size_t place(const part *p, size_t end)
{
    const size_t step = (size_t)1 << (p->entry[3] & 15U);
    return (end + step - 1) / step * step;
}

static size_t joined_size(const parts *file)
{
    size_t end = file->header_size + ENTRY_BYTES * file->count;
    size_t i;
    for (i = 0; i < file->count; i++) {
        end = place(&file->part[i], end) + file->part[i].size;
    }
    return end + DCF_TAIL_BYTES;
}

size_t parts_join(const parts *file, uint8_t *out, size_t most)
{
    const size_t size = joined_size(file);
    size_t end = file->header_size + ENTRY_BYTES * file->count;
    size_t i;
    if (size > most) {
        return 0;
    }
    memset(out, 0, size);
    memcpy(out, file->header, file->header_size);
    for (i = 0; i < file->count; i++) {
        const part *p = &file->part[i];
        uint8_t *entry = out + file->header_size + ENTRY_BYTES * i;
        end = place(p, end);
        memcpy(entry, p->entry, ENTRY_BYTES);
        memcpy(out + end, p->bytes, p->size);
        put64(entry + 8, end);
        put64(entry + 16, p->size);
        if (entry[2] == STORED) {
            put64(entry + 24, p->size);
        }
        end += p->size;
    }
    put64(out + 16, size);
    out[14] = (uint8_t)file->count;
    out[15] = 0;
    crcs_fix(out, size);
    return size;
}

void crcs_fix(uint8_t *data, size_t size)
{
    const size_t end = table_end(data, size);
    const size_t header = end ? get16(data + 12) : 0;
    size_t at;
    for (at = header; at < end; at += ENTRY_BYTES) {
        const size_t offset = get32(data + at + 8);
        const size_t stored = get32(data + at + 16);
        if (offset <= size && stored <= size - offset) {
            put32(data + at + 4, dcf_crc(0, data + offset, stored));
        }
    }
    if (end) {
        put32(data + 36, dcf_crc(0, data + header, end - header));
        put32(data + 44, dcf_crc(dcf_crc(0, data, 44), data + 48, header - 48));
    }
}

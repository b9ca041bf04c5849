/* Changes inside fields, records, tables and payloads, after which offsets, sizes and CRCs are
 * made right: so that the fuzzer gets behind them. Sometimes they are left wrong.
 */
#include <string.h>

#include "dcf.h"
#include "parts.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
                                 size_t size2, uint8_t *out, size_t most, unsigned seed);

enum { RECORDS_MOST = 64 };

/* libFuzzer itself is not instrumented: what it writes would count as uninitialised. */
#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if __has_feature(memory_sanitizer)
#include <sanitizer/msan_interface.h>
#else
#define __msan_unpoison(data, size) ((void)0)
#endif

/* Values at which a check tips over. */
static const uint32_t TELLING[] = {
    0,          1,          2,          3,          4,         7,         8,      9,
    12,         13,         15,         16,         17,        31,        32,     63,
    64,         127,        128,        129,        253,       254,       255,    256,
    257,        1023,       1024,       4096,       16384,     32767,     32768,  65535,
    65536,      65537,      0xFFFFFF,   0x1000000,  0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF,
    1048576,    1048577,    0xFFFFFFF8, 0x40000000,
};

typedef struct chance {
    uint64_t state;
} chance;

static uint32_t draw(chance *c, size_t below)
{
    c->state = c->state * 6364136223846793005ULL + 1442695040888963407ULL;
    return below ? (uint32_t)((c->state >> 33) % below) : 0;
}

static size_t mutate_bytes(uint8_t *data, size_t size, size_t most)
{
    size = LLVMFuzzerMutate(data, size, most);
    __msan_unpoison(data, size);
    return size;
}

/* ---- fields ---- */

static void put_wide(uint8_t *p, size_t width, uint64_t value)
{
    size_t i;
    for (i = 0; i < width; i++) {
        p[i] = (uint8_t)(value >> (8 * i));
    }
}

/* Change a field of 1, 2, 4 or 8 bytes at `p`. */
static void poke(chance *c, uint8_t *p, size_t left)
{
    size_t width = (size_t)1 << draw(c, 4);
    uint64_t value = 0;
    size_t i;
    while (width > left) {
        width /= 2;
    }
    for (i = 0; i < width; i++) {
        value |= (uint64_t)p[i] << (8 * i);
    }
    switch (draw(c, 5)) {
    case 0: value ^= (uint64_t)1 << draw(c, 8 * width); break;
    case 1: value += 1 + draw(c, 8); break;
    case 2: value -= 1 + draw(c, 8); break;
    case 3: value = draw(c, 256); break;
    default:
        value = TELLING[draw(c, sizeof TELLING / sizeof *TELLING)];
        value = draw(c, 8) ? value : value << 32;
    }
    put_wide(p, width, value);
}

static void poke_inside(chance *c, uint8_t *data, size_t size)
{
    if (size) {
        const size_t at = draw(c, size);
        poke(c, data + at, size - at);
    }
}

/* ---- RECORDS ---- */

/* Where the records of `p` begin, as far as their sizes can be followed; the last is the end. */
static size_t records_of(const part *p, size_t *start)
{
    size_t count = 0;
    size_t at = 4;
    while (count < RECORDS_MOST && at < p->size && p->bytes[at] >= 3 &&
           4U * (size_t)p->bytes[at] <= p->size - at) {
        start[count++] = at;
        at += 4U * (size_t)p->bytes[at];
    }
    start[count] = at;
    return count;
}

/* Put `size` bytes at `at`; the part stays as it is where there is no room. */
static int insert(const parts *file, part *p, size_t at, const uint8_t *bytes, size_t size)
{
    uint8_t copy[1024];
    if (size > sizeof copy || p->size + size > file->room) {
        return 0;
    }
    memcpy(copy, bytes, size);
    memmove(p->bytes + at + size, p->bytes + at, p->size - at);
    memcpy(p->bytes + at, copy, size);
    p->size += size;
    return 1;
}

static void cut(part *p, size_t at, size_t size)
{
    memmove(p->bytes + at, p->bytes + at + size, p->size - at - size);
    p->size -= size;
}

static void tie(chance *c, const parts *file, part *p, size_t count, size_t end)
{
    uint8_t tied[12] = {3, 0, 0, 0, 0, 0, 0, DCF_RECORD_TIED, 0, 0, 0, 0};
    tied[8] = (uint8_t)draw(c, count + 1);
    if (insert(file, p, end, tied, sizeof tied)) {
        put32(p->bytes, get32(p->bytes) + 1);
    }
}

/* Lengthen or shorten a record's parameters, and say so in its size. */
static void resize_record(chance *c, const parts *file, part *p, size_t at)
{
    const uint8_t zeros[4] = {0, 0, 0, 0};
    const size_t end = at + 4U * (size_t)p->bytes[at];
    if (draw(c, 2)) {
        if (p->bytes[at] < 255 && insert(file, p, end - 4U * draw(c, 3), zeros, 4)) {
            p->bytes[at]++;
        }
    } else if (p->bytes[at] > 3) {
        cut(p, end - 4, 4);
        p->bytes[at]--;
    }
}

/* Give a record's payload a byte more or less, and say so in its size. */
static void resize_payload(chance *c, parts *file, part *records, const size_t *start,
                           size_t which)
{
    part *payload = parts_find(file, DCF_SECTION_PAYLOAD);
    uint8_t *record = records->bytes + start[which];
    const uint32_t size = get32(record + 12);
    const uint8_t byte = (uint8_t)draw(c, 256);
    size_t end = 0;
    size_t i;
    for (i = 0; i <= which; i++) {
        const uint8_t *one = records->bytes + start[i];
        end += one[7] & DCF_RECORD_TIED ? 0 : get32(one + 12);
    }
    if (!payload || end > payload->size || 4U * (size_t)record[0] < 16) {
        return;
    }
    if (draw(c, 2)) {
        put32(record + 12, size + (uint32_t)insert(file, payload, end, &byte, 1));
    } else if (size > 0 && end > 0) {
        cut(payload, end - 1, 1);
        put32(record + 12, size - 1);
    }
}

static void edit_records(chance *c, parts *file, part *p)
{
    size_t start[RECORDS_MOST + 1];
    const size_t count = p->size > 4 ? records_of(p, start) : 0;
    const size_t which = draw(c, count);
    size_t bytes;
    if (count == 0) {
        p->size = mutate_bytes(p->bytes, p->size, file->room);
        return;
    }
    bytes = start[which + 1] - start[which];
    switch (draw(c, 12)) {
    case 0:
        if (insert(file, p, start[draw(c, count + 1)], p->bytes + start[which], bytes)) {
            put32(p->bytes, get32(p->bytes) + 1);
        }
        break;
    case 1:
        cut(p, start[which], bytes);
        put32(p->bytes, get32(p->bytes) - 1);
        break;
    case 2: tie(c, file, p, count, start[count]); break;
    case 3: resize_record(c, file, p, start[which]); break;
    case 4: resize_payload(c, file, p, start, which); break;
    case 5: poke(c, p->bytes, p->size); break;
    case 6: case 7: /* the rooms and flags */
        poke(c, p->bytes + start[which] + draw(c, 8), 1);
        break;
    default: poke_inside(c, p->bytes + start[which], bytes);
    }
}

/* ---- TABLES ---- */

/* Change one entry's bytes; the offsets of those behind it move along. */
static void edit_tables(chance *c, parts *file, part *p)
{
    const size_t count = p->size >= 4 ? get32(p->bytes) : 0;
    const size_t which = draw(c, count);
    size_t start;
    size_t end;
    size_t changed;
    size_t i;
    if (count == 0 || count > p->size / 4 - 1 || draw(c, 8) == 0) {
        p->size = mutate_bytes(p->bytes, p->size, file->room);
        return;
    }
    start = get32(p->bytes + 4 + 4 * which);
    end = which + 1 < count ? get32(p->bytes + 8 + 4 * which) : p->size;
    if (start > end || end > p->size || draw(c, 2)) {
        poke_inside(c, p->bytes, p->size);
        return;
    }
    /* behind the last entry first, so that it can grow */
    changed = draw(c, 2) && p->size + 1 <= file->room
                  ? (size_t)insert(file, p, end, (const uint8_t *)"\x11", 1)
                  : 0;
    if (!changed && end - start > 3) {
        cut(p, end - 1, 1);
        changed = (size_t)-1;
    }
    for (i = which + 1; i < count; i++) {
        put32(p->bytes + 4 + 4 * i, (uint32_t)(get32(p->bytes + 4 + 4 * i) + changed));
    }
}

/* ---- the file ---- */

static void edit_part(chance *c, parts *file)
{
    part *p = &file->part[draw(c, file->count)];
    switch (p->entry[0]) {
    case DCF_SECTION_RECORDS:
        edit_records(c, file, p);
        break;
    case DCF_SECTION_TABLES:
        edit_tables(c, file, p);
        break;
    default:
        if (draw(c, 2)) {
            poke_inside(c, p->bytes, p->size);
        } else {
            p->size = mutate_bytes(p->bytes, p->size, file->room);
        }
    }
}

static void edit(chance *c, parts *file)
{
    part *p = file->count ? &file->part[draw(c, file->count)] : NULL;
    switch (draw(c, 16)) {
    case 0: /* version, size, flags, reserved */
        poke(c, file->header + 8 + draw(c, 36), 4);
        break;
    case 1:
        if (p) {
            poke(c, p->entry + draw(c, 4), 1);
        }
        break;
    case 2:
        if (p) {
            poke(c, p->entry + 24, 8);
        }
        break;
    case 3:
        if (p && file->count > 1) {
            uint8_t *bytes = p->bytes;
            memmove(p, p + 1, (size_t)(&file->part[file->count] - p - 1) * sizeof *p);
            file->part[--file->count].bytes = bytes;
            file->part[file->count].size = 0;
        }
        break;
    default:
        if (p) {
            edit_part(c, file);
        }
    }
    file->header_size = get16(file->header + 12);
    if (file->header_size < 48 || file->header_size > HEADER_MOST) {
        file->header_size = 48;
    }
}

/* Leave something wrong on purpose: a place in the section table, a size, a CRC, the end. */
static size_t spoil(chance *c, uint8_t *data, size_t size)
{
    const size_t table = 48 + ENTRY_BYTES * (size_t)get16(data + 14);
    switch (draw(c, 4)) {
    case 0:
        poke_inside(c, data + 8, (table < size ? table : size) - 8);
        crcs_fix(data, size);
        break;
    case 1: poke_inside(c, data, size); break;
    case 2: size -= draw(c, size); break;
    default: poke_inside(c, data + size - DCF_TAIL_BYTES, DCF_TAIL_BYTES);
    }
    return size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    chance c = {seed};
    parts file;
    size_t dropped;
    size_t made;
    uint32_t edits;
    draw(&c, 2);
    if (draw(&c, 64) == 0 || !parts_take(&file, data, size, most)) {
        return mutate_bytes(data, size, most);
    }
    dropped = file.count;
    for (edits = 1 + draw(&c, 4); edits > 0; edits--) {
        edit(&c, &file);
    }
    made = parts_join(&file, data, most);
    file.count = dropped;
    parts_free(&file);
    if (made == 0) {
        return size;
    }
    return draw(&c, 10) ? made : spoil(&c, data, made);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
                                 size_t size2, uint8_t *out, size_t most, unsigned seed)
{
    chance c = {seed};
    parts one;
    parts two;
    size_t made = 0;
    if (!parts_take(&one, data1, size1, most)) {
        return 0;
    }
    if (parts_take(&two, data2, size2, most)) {
        size_t i;
        for (i = 0; i < two.count; i++) {
            part *mine = parts_find(&one, two.part[i].entry[0]);
            if (mine && draw(&c, 2)) {
                memcpy(mine->bytes, two.part[i].bytes, two.part[i].size);
                mine->size = two.part[i].size;
                memcpy(mine->entry, two.part[i].entry, ENTRY_BYTES);
            }
        }
        made = parts_join(&one, out, most);
        parts_free(&two);
    }
    parts_free(&one);
    return made;
}

/* A file taken apart into header, section entries and section bodies, and put together again. */
#ifndef PARTS_H
#define PARTS_H

#include <stddef.h>
#include <stdint.h>

enum { PARTS_MOST = 16, ENTRY_BYTES = 32, HEADER_MOST = 64 };

typedef struct part {
    uint8_t entry[ENTRY_BYTES];
    uint8_t *bytes; /* room for parts.room */
    size_t size;
} part;

typedef struct parts {
    uint8_t header[HEADER_MOST];
    size_t header_size;
    size_t room;
    size_t count;
    part part[PARTS_MOST];
} parts;

uint32_t get16(const uint8_t *p);
uint32_t get32(const uint8_t *p);
void put32(uint8_t *p, uint32_t value);

/* 0 where header or section table cannot be followed; then there is nothing to free. */
int parts_take(parts *file, const uint8_t *data, size_t size, size_t room);

/* Lay the parts out with offsets, sizes and CRCs made right: bytes written, 0 where they are more
 * than `most`. */
size_t parts_join(const parts *file, uint8_t *out, size_t most);

void parts_free(parts *file);

/* The part of section `type`, or NULL. */
part *parts_find(parts *file, uint32_t type);

/* Make the CRCs right, and nothing else. */
void crcs_fix(uint8_t *data, size_t size);

#endif

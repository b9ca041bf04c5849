/* What the files of the C decoder share; not for users. Spec: spec/DCF.md. */
#ifndef DCF_INTERNAL_H
#define DCF_INTERNAL_H

#include "dcf.h"

#if DCF_HOST
#include <string.h>
#endif

#define DCF_BUILD_TENSORS ((uint32_t)DCF_MARKS * 256U)

/* Numbers are at most 16 bytes wide, so that sizes of output fit in size_t. */
#define DCF_BUILD_ELEMENTS ((uint64_t)(SIZE_MAX / 16U))

/* ---- bytes ---- */

static inline uint16_t dcf_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | (p[1] << 8));
}

static inline uint32_t dcf_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | ((uint32_t)p[1] << 8) | ((uint32_t)p[2] << 16) |
           ((uint32_t)p[3] << 24);
}

static inline uint64_t dcf_u64(const uint8_t *p)
{
    return dcf_u32(p) | ((uint64_t)dcf_u32(p + 4) << 32);
}

/* Two's complement without relying on how the compiler narrows. */
static inline int32_t dcf_signed(uint32_t value, uint32_t bits)
{
    const uint32_t sign = (uint32_t)1 << (bits - 1U);
    return (value & sign) ? -(int32_t)(sign - (value & (sign - 1U)) - 1U) - 1 : (int32_t)value;
}

static inline int16_t dcf_i16(const uint8_t *p)
{
    return (int16_t)dcf_signed(dcf_u16(p), 16);
}

static inline int8_t dcf_i8(const uint8_t *p)
{
    return (int8_t)dcf_signed(p[0], 8);
}

/* Bytes of a record, or of anything else, that were not read yet. */
typedef struct dcf_fields {
    const uint8_t *data;
    size_t left;
} dcf_fields;

/* Take the next `bytes`, or NULL (and nothing) where there are fewer. */
static inline const uint8_t *dcf_take(dcf_fields *fields, size_t bytes)
{
    const uint8_t *taken = fields->data;
    if (bytes > fields->left) {
        return NULL;
    }
    fields->data += bytes;
    fields->left -= bytes;
    return taken;
}

static inline const uint8_t *dcf_section_data(const dcf_model *model, uint32_t id)
{
    return model->data + model->start[id];
}

/* ---- dcf_dtype.c ---- */

/* Bytes of a decoded number of `dtype`, 0 where the type is unknown. */
uint32_t dcf_dtype_width(uint32_t dtype);

/* Smallest and largest number of a type of width 1. */
void dcf_dtype_range(uint32_t dtype, int32_t *low, int32_t *high);

/* FLOAT, FLOAT16, BFLOAT16 or DOUBLE: what a scaled number may stand for. */
int dcf_dtype_scaled(uint32_t dtype);

/* ---- dcf_tables.c ---- */

DCF_MUST_CHECK int dcf_tables_check(dcf_model *model);

/* Entry `index` (below model->tables) of TABLES and its size. */
const uint8_t *dcf_table_entry(const dcf_model *model, uint32_t index, size_t *bytes);

/* The entry that a record names, if it is there, of a known type, and a codebook or not. */
DCF_MUST_CHECK int dcf_table_named(const dcf_model *model, uint32_t index, int codebook,
                                   const uint8_t **entry);

/* ---- dcf_record.c ---- */

/* A record while it is read: the fields that are left, the tensor, and its parameters. */
typedef struct dcf_record {
    dcf_fields fields;
    dcf_tensor *tensor;
    uint64_t parameters;      /* values parameters per axis */
    uint32_t parameter_bytes; /* of each */
} dcf_record;

DCF_MUST_CHECK int dcf_records_check(dcf_model *model);

/* Parse the record at `mark` (of index `index`) and move `mark` behind it. A tied record sets
 * `tied` to the index it names. */
DCF_MUST_CHECK int dcf_record_read(const dcf_model *model, uint32_t index, dcf_mark *mark,
                                   dcf_tensor *tensor, uint32_t *tied);

/* ---- rooms: which a record names, whether they may stand together, and their fields ---- */

DCF_MUST_CHECK int dcf_rooms_here(const dcf_tensor *tensor);
DCF_MUST_CHECK int dcf_rooms_legal(const dcf_tensor *tensor, uint64_t payload);
DCF_MUST_CHECK int dcf_rooms_fields(dcf_record *record);

/* ---- rooms: fields of the record; DCF_ERR_UNSUPPORTED makes the tensor unsupported ---- */

DCF_MUST_CHECK int dcf_gap_fields(dcf_record *record);
DCF_MUST_CHECK int dcf_run_fields(dcf_record *record);
DCF_MUST_CHECK int dcf_raw_fields(dcf_record *record);
DCF_MUST_CHECK int dcf_fixed_fields(dcf_record *record);
DCF_MUST_CHECK int dcf_affine_fields(dcf_record *record);
DCF_MUST_CHECK int dcf_codebook_fields(dcf_record *record);
DCF_MUST_CHECK int dcf_huffman_fields(dcf_record *record);

/* What a layout asks of the values room, once that is known. */
DCF_MUST_CHECK int dcf_gap_agrees(const dcf_tensor *tensor);
DCF_MUST_CHECK int dcf_run_agrees(const dcf_tensor *tensor);

/* u16 alphabet and i16 base of values_raw, for numbers of type `number`. */
DCF_MUST_CHECK int dcf_alphabet_fields(dcf_record *record);

/* Streams of symbols in a block: the elements' and the layout's. */
static inline uint32_t dcf_streams(const dcf_tensor *tensor)
{
    return tensor->symbols + (tensor->layout == DCF_LAYOUT_GAP ? 1U : 0U);
}

/* Number of symbols that stream `stream` may have. */
uint32_t dcf_stream_alphabet(const dcf_tensor *tensor, uint32_t stream);

/* ---- rooms: Huffman tables ---- */

/* A canonical code: a symbol whose 12-bit prefix is below limit[n] (and not below limit[n - 1])
 * has n bits, and stands at ranks[(prefix >> (12 - n)) + shift[n]] (modulo 2^16). */
typedef struct dcf_code {
    uint16_t limit[DCF_MAX_CODE_BITS + 1];
    uint16_t shift[DCF_MAX_CODE_BITS + 1];
    uint16_t shortest;
    uint16_t spare;
} dcf_code; /* the ranks follow */

DCF_MUST_CHECK int dcf_huffman_entry_check(const uint8_t *entry, size_t bytes);

/* Build the code of a checked entry; `code` has room for as many ranks as the entry says. */
void dcf_huffman_build(dcf_code *code, const uint8_t *entry, size_t bytes);

static inline const uint8_t *dcf_ranks(const dcf_code *code)
{
    return (const uint8_t *)(code + 1);
}

/* ---- rooms: symbols of a block ---- */

/* Read the next symbol of `stream`: DCF_ERR_TRUNCATED, DCF_ERR_RANGE. */
DCF_MUST_CHECK int dcf_packed_symbol(dcf_cursor *cursor, uint32_t stream, uint32_t *symbol);
DCF_MUST_CHECK int dcf_huffman_symbol(dcf_cursor *cursor, uint32_t stream, uint32_t *symbol);
DCF_MUST_CHECK int dcf_symbol(dcf_cursor *cursor, uint32_t stream, uint32_t *symbol);

/* Bits that a symbol below `alphabet` takes with coder_packed. */
uint32_t dcf_packed_bits(uint32_t alphabet);

/* ---- rooms: `count` (at most cursor->left) elements to `out`; NULL drops them ---- */

DCF_MUST_CHECK int dcf_dense_elements(dcf_cursor *cursor, uint8_t *out, size_t count);
DCF_MUST_CHECK int dcf_gap_elements(dcf_cursor *cursor, uint8_t *out, size_t count);
DCF_MUST_CHECK int dcf_run_elements(dcf_cursor *cursor, uint8_t *out, size_t count);

/* ---- dcf_decode.c ---- */

/* Write the number of symbol `symbol`, where an element has one symbol. */
void dcf_number(const dcf_tensor *tensor, uint32_t symbol, uint8_t *out);

/* Read one element's symbols, of which `first` is the first stream. */
DCF_MUST_CHECK int dcf_element(dcf_cursor *cursor, uint32_t first, uint8_t *out);

/* Write `count` background elements. */
void dcf_fill(const dcf_tensor *tensor, uint8_t *out, size_t count);

/* Enter block cursor->block, whose offsets were checked, and step to the next. */
void dcf_block_enter(dcf_cursor *cursor);

/* Decode the rest of the present block to `out` (NULL drops it) and check the block's end. */
DCF_MUST_CHECK int dcf_block_finish(dcf_cursor *cursor, uint8_t *out);

#if DCF_HOST
/* ---- dcf_crc.c, dcf_host_crc.c ---- */

/* The state of a CRC, as it is before the final XOR, after one more byte. */
uint32_t dcf_crc_byte(uint32_t crc, uint32_t byte);

/* Move the state of a CRC over the first of `size` bytes, and say over how many. */
size_t dcf_host_crc(uint32_t *crc, const uint8_t *data, size_t size);

/* ---- dcf_host_tables.c ----
 *
 * A lookup table gives for each prefix of 12 bits a symbol and its length, one byte each. For
 * tensors whose elements have one symbol there are others, for a layout each, that give several:
 * - dense: up to seven numbers, then a byte: their count and 8 times the bits they take;
 * - gap and run: an item, u32: bits 0-5 the bits it takes, 8-15 a number, 16-23 its distance (of
 *   a run: times 2^digit), 24 STORED (else the number is the background, which is there
 *   already). Of a gap PENDING says that its number comes next, in the table's second half; of a
 *   run bits 25-27 are the number of digits.
 * "Number" is the symbol where numbers are no bytes. */
enum {
    DCF_PREFIXES = 1 << DCF_MAX_CODE_BITS,
    DCF_ONE_BYTES = DCF_PREFIXES * 2,
    DCF_FAST_BYTES = DCF_PREFIXES * 8,
    DCF_FAST_ALIGN = 64,
    DCF_MANY_MOST = 7,
    DCF_ITEM_STORED = 1,
    DCF_ITEM_PENDING = 0x80
};

#if defined(__BYTE_ORDER__) && defined(__ORDER_LITTLE_ENDIAN__)
#define DCF_LITTLE_ENDIAN (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
#elif defined(_WIN32)
#define DCF_LITTLE_ENDIAN 1
#else
#define DCF_LITTLE_ENDIAN 0
#endif

size_t dcf_lookup_bytes(const dcf_tensor *tensor);
void dcf_lookup_build(dcf_tensor *tensor, uint8_t *memory);

/* Where the tables of several symbols stand, if tensor->lookup_fast says that they are there. */
static inline uint8_t *dcf_fast_tables(const dcf_tensor *tensor)
{
    const uint8_t *end = tensor->lookup + (size_t)tensor->table_count * DCF_ONE_BYTES;
    return (uint8_t *)(((uintptr_t)end + DCF_FAST_ALIGN - 1U) & ~(uintptr_t)(DCF_FAST_ALIGN - 1U));
}

/* ---- dcf_host.c, dcf_host_lanes.c, dcf_host_blocks.c ---- */

/* Do tables hold the numbers themselves in place of the element's symbols? */
static inline int dcf_lookup_direct(const dcf_tensor *tensor)
{
    return tensor->symbols == 1 && tensor->width == 1 && tensor->layout != DCF_LAYOUT_RUN;
}

/* The number of a symbol where numbers are bytes, else the symbol. */
static inline uint8_t dcf_lookup_byte(const dcf_tensor *tensor, uint32_t symbol)
{
    uint8_t byte = (uint8_t)symbol;
    if (tensor->width == 1) {
        dcf_number(tensor, symbol, &byte);
    }
    return byte;
}

/* dcf_number, with the common widths of levels as copies of constant size. */
static inline void dcf_put(const dcf_tensor *tensor, uint32_t symbol, uint8_t *out)
{
    if (tensor->levels && tensor->width == 4) {
        memcpy(out, tensor->levels + 4 * (size_t)symbol, 4);
    } else if (tensor->levels && tensor->width == 2) {
        memcpy(out, tensor->levels + 2 * (size_t)symbol, 2);
    } else {
        dcf_number(tensor, symbol, out);
    }
}

/* Decode up to `count` elements of a Huffman-coded block through lookup tables; gives how many.
 * With layout_gap and layout_run, only where no background is pending. */
size_t dcf_host_elements(dcf_cursor *cursor, uint8_t *out, size_t count);

/* The same for packed symbols with layout_dense. */
size_t dcf_host_packed(dcf_cursor *cursor, uint8_t *out, size_t count);

/* dcf_fill, in long steps. */
void dcf_host_fill(const dcf_tensor *tensor, uint8_t *out, size_t count);

/* Put levels in place of `count` symbols, bytes that stand at the end of their room in `out`. */
void dcf_host_levels(const dcf_tensor *tensor, uint8_t *out, size_t count);

/* Decode the next whole blocks, at most `room` elements, several at a time; gives how many. It is 0
 * where there are no tables, or where something is wrong that the plain decoder must judge; then
 * nothing is known of `out`. The cursor stands between blocks, before and after. */
size_t dcf_host_blocks(dcf_cursor *cursor, uint8_t *out, size_t room);

/* Its parts, for elements of one symbol (`count` of them) and of several: blocks `block` to
 * `stop` - 1, or 0. */
int dcf_host_narrow(const dcf_tensor *tensor, size_t block, size_t stop, uint8_t *out,
                    size_t count);
int dcf_host_wide(const dcf_tensor *tensor, size_t block, size_t stop, uint8_t *out);
#endif

#endif

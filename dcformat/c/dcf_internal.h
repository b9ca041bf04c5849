/* What the files of the C decoder share; not for users. Spec: spec/DCF.md. */
#ifndef DCF_INTERNAL_H
#define DCF_INTERNAL_H

#include "dcf.h"

#if DCF_HOST
#include <string.h>
#endif

/* In one file everything but the functions of dcf.h is static, and compilers make it smaller. */
#ifndef DCF_LOCAL
#define DCF_LOCAL
#endif

/* A function that stays one: its registers are its own. */
#if defined(__GNUC__)
#define DCF_APART __attribute__((noinline))
#else
#define DCF_APART
#endif

/* Where four bytes are loaded at once, compilers find that out too late to put it in its place. */
#if defined(__GNUC__) && defined(__ARM_FEATURE_UNALIGNED) && !DCF_WITH_READ_CALLBACK
#define DCF_IN_PLACE __attribute__((always_inline))
#else
#define DCF_IN_PLACE
#endif

/* One bit, where int may have 16. */
#define DCF_BIT(n) ((uint32_t)1 << (n))

/* Numbers are at most 16 bytes wide and a byte has 8 bits: sizes of output and positions of bits
 * fit in dcf_size. */
#define DCF_MOST ((dcf_size)((dcf_size)-1 / 32))
#define DCF_MOST_ELEMENTS \
    ((uint64_t)DCF_MAX_ELEMENTS < DCF_MOST ? (dcf_size)DCF_MAX_ELEMENTS : DCF_MOST)

#if DCF_MARKS
#define DCF_MOST_TENSORS ((uint32_t)DCF_MARKS * 256U)
#else
#define DCF_MOST_TENSORS ((uint32_t)DCF_TENSORS)
#endif

/* Distances of bits in the file. */
#if DCF_WIDE
typedef ptrdiff_t dcf_offset;
#else
typedef int32_t dcf_offset;
#endif

#if DCF_ALL_MAPPED
#define DCF_MAPPED(t) 1
#else
#define DCF_MAPPED(t) ((t)->mapped)
#endif

/* What follows the values parameters of a tensor. */
#if DCF_WITH_BLOCKS
#define DCF_OFFSETS(t) ((t)->offsets)
#else
#define DCF_OFFSETS(t) ((t)->coded)
#endif

/* Where a section is kept in a model. */
#define DCF_SLOT(section) ((section) & 7)

/* ---- bytes of the file: of a model's, behind a place ---- */

#if DCF_WITH_READ_CALLBACK
DCF_LOCAL uint8_t dcf_fetch(dcf_source *source, dcf_at at);
#define DCF_FROM dcf_source *source,
#define DCF_OF(m) (m)->source,
#define DCF_LOAD(at) dcf_fetch(source, at)
#define DCF_BYTE(m, at) dcf_fetch((m)->source, at)
#define DCF_RESULT(m, err) ((m)->source->status ? (m)->source->status : (err))
#define DCF_NOWHERE 0
#else
#define DCF_FROM
#define DCF_OF(m)
#define DCF_LOAD(at) DCF_READ8(at)
#define DCF_BYTE(m, at) ((void)(m), DCF_READ8(at))
#define DCF_RESULT(m, err) (err)
#define DCF_NOWHERE NULL
#endif

static inline uint32_t dcf_load16(DCF_FROM dcf_at at)
{
    return (uint32_t)DCF_LOAD(at) | (uint32_t)DCF_LOAD(at + 1) << 8;
}

DCF_IN_PLACE static inline uint32_t dcf_load32(DCF_FROM dcf_at at)
{
    return (uint32_t)DCF_LOAD(at) | (uint32_t)DCF_LOAD(at + 1) << 8 |
           (uint32_t)DCF_LOAD(at + 2) << 16 | (uint32_t)DCF_LOAD(at + 3) << 24;
}

#if DCF_WITH_HUFFMAN
/* Bits of Huffman codes: the first byte at the top. */
DCF_IN_PLACE static inline uint32_t dcf_load_bits(DCF_FROM dcf_at at)
{
#if defined(__GNUC__) && defined(__arm__) && !DCF_WITH_READ_CALLBACK
    return __builtin_bswap32(dcf_load32(at));
#else
    return (uint32_t)DCF_LOAD(at) << 24 | (uint32_t)DCF_LOAD(at + 1) << 16 |
           (uint32_t)DCF_LOAD(at + 2) << 8 | (uint32_t)DCF_LOAD(at + 3);
#endif
}
#endif

/* A u64, or the largest dcf_size where it is larger than that. */
static inline dcf_size dcf_load_size(DCF_FROM dcf_at at)
{
#if DCF_WITH_READ_CALLBACK
    const uint32_t low = dcf_load32(source, at);
    const uint32_t high = dcf_load32(source, at + 4);
#else
    const uint32_t low = dcf_load32(at);
    const uint32_t high = dcf_load32(at + 4);
#endif
    if (sizeof(dcf_size) > 4) {
        return (dcf_size)((uint64_t)high << 32 | low);
    }
    return high != 0 ? (dcf_size)-1 : low;
}

#define DCF_U16(m, at) ((void)(m), dcf_load16(DCF_OF(m) at))
#define DCF_U32(m, at) ((void)(m), dcf_load32(DCF_OF(m) at))
#define DCF_BITS(m, at) ((void)(m), dcf_load_bits(DCF_OF(m) at))
#define DCF_SIZE(m, at) ((void)(m), dcf_load_size(DCF_OF(m) at))

/* Two's complement without relying on how the compiler narrows. */
static inline int32_t dcf_signed(uint32_t value, uint32_t bits)
{
    const uint32_t sign = (uint32_t)1 << (bits - 1U);
    return (value & sign) ? -(int32_t)(sign - (value & (sign - 1U)) - 1U) - 1 : (int32_t)value;
}

/* ---- dcf_crc.c ---- */

/* CRC-32 of `size` more bytes of the file. */
#if DCF_WITH_READ_CALLBACK || defined(DCF_READ8_OWN)
DCF_LOCAL uint32_t dcf_crc_stored(const dcf_model *model, uint32_t crc, dcf_at at, dcf_size size);
#else
#define dcf_crc_stored(model, crc, at, size) dcf_crc(crc, at, size)
#endif

/* ---- dcf_dtype.c ---- */

/* Bytes of a decoded number of `dtype`, 0 where the type is unknown. */
DCF_LOCAL uint32_t dcf_dtype_width(uint32_t dtype);

/* Is `value` a number of an integer type of at most two bytes? */
DCF_LOCAL int dcf_dtype_holds(uint32_t dtype, int32_t value);

/* FLOAT, FLOAT16, BFLOAT16 or DOUBLE: what a scaled number may stand for. */
DCF_LOCAL int dcf_dtype_scaled(uint32_t dtype);

/* ---- dcf_open.c ---- */

DCF_LOCAL void dcf_clear(void *object, size_t size);

/* The CRCs of the sections that opening reads, or of `all`. Where one is wrong, `index` is its id
 * less 1. */
DCF_MUST_CHECK DCF_LOCAL int dcf_sections_crc(const dcf_model *model, uint32_t all,
                                              uint32_t *index);

/* Are the `count` bytes at `at` zero? */
DCF_LOCAL int dcf_zeros(const dcf_model *model, dcf_at at, dcf_size count);

/* ---- dcf_tables.c ---- */

DCF_MUST_CHECK DCF_LOCAL int dcf_tables_check(dcf_model *model);

/* Entry `index` (below model->tables) of TABLES, and where it ends. */
DCF_LOCAL dcf_at dcf_table_entry(const dcf_model *model, uint32_t index, dcf_at *end);

/* The entry that a record names, if it is there, of a known type, and a codebook or not. */
DCF_MUST_CHECK DCF_LOCAL int dcf_table_named(const dcf_model *model, uint32_t index,
                                             uint32_t codebook, dcf_at *entry);

/* ---- dcf_record.c ---- */

/* A record while it is read. */
typedef struct dcf_record {
    dcf_tensor *tensor;
    dcf_at at;           /* the next field */
    dcf_at end;
    dcf_size parameters; /* bytes of values parameters per axis */
    uint32_t rank;
    uint8_t truncated;   /* 1: a field was read that is not there */
    uint8_t scaled;      /* 1: the numbers have a scale */
} dcf_record;

DCF_MUST_CHECK DCF_LOCAL int dcf_records_check(dcf_model *model);

/* Read and check the record at `mark`, of index `index`, and move `mark` behind it. */
DCF_MUST_CHECK DCF_LOCAL int dcf_record_read(const dcf_model *model, uint32_t index,
                                             dcf_mark *mark, dcf_tensor *tensor);

/* A mark at or before record `index`; `index` becomes the number of records from there on. */
DCF_LOCAL dcf_mark dcf_mark_before(const dcf_model *model, uint32_t *index);

/* Take the next four bytes of a record: 0 where it has ended, which `truncated` says. */
DCF_LOCAL uint32_t dcf_word(dcf_record *record);

/* Stored dim `axis` of the tensor. */
DCF_LOCAL uint32_t dcf_dim(const dcf_tensor *tensor, uint32_t axis);

/* a / b, for processors that cannot. */
DCF_LOCAL dcf_size dcf_divide(dcf_size a, dcf_size b);

/* ---- dcf_rooms.c ---- */

/* The ids of layout DENSE, values RAW and coder PACKED, where they stand in a record, are 0. */
#define DCF_PLAIN 0xFFFFFFU

/* Checks 9 to 14. `kind` is the second word of the record, `payload` its size, and `parts` what
 * stands before the blocks. */
DCF_MUST_CHECK DCF_LOCAL int dcf_rooms_read(dcf_record *record, uint32_t kind, dcf_size payload,
                                            dcf_size *parts);

/* ---- rooms: fields of the record; DCF_ERR_UNSUPPORTED makes the tensor unsupported ---- */

#if DCF_WITH_GAP
DCF_MUST_CHECK DCF_LOCAL int dcf_gap_fields(dcf_record *record);
#endif
#if DCF_WITH_RUN
DCF_MUST_CHECK DCF_LOCAL int dcf_run_fields(dcf_record *record);
#endif
DCF_MUST_CHECK DCF_LOCAL int dcf_raw_fields(dcf_record *record, uint32_t number);
#if DCF_WITH_FIXED
DCF_MUST_CHECK DCF_LOCAL int dcf_fixed_fields(dcf_record *record);
#endif
#if DCF_WITH_AFFINE
DCF_MUST_CHECK DCF_LOCAL int dcf_affine_fields(dcf_record *record);
#endif
#if DCF_WITH_CODEBOOK
DCF_MUST_CHECK DCF_LOCAL int dcf_codebook_fields(dcf_record *record, uint32_t dtype);
#endif
#if DCF_WITH_POW2
DCF_MUST_CHECK DCF_LOCAL int dcf_pow2_fields(dcf_record *record);
#endif

#if DCF_WITH_PACKED
/* Check 14: a DENSE, PACKED block has just the bytes of its bits. */
DCF_MUST_CHECK DCF_LOCAL int dcf_dense_packed_check(const dcf_tensor *tensor,
                                                    dcf_size bytes);
#endif

#if DCF_WITH_BLOCKS
/* Streams of symbols in a block: the elements' and the layout's. */
static inline uint32_t dcf_streams(const dcf_tensor *tensor)
{
    return tensor->symbols + (tensor->layout == DCF_LAYOUT_GAP ? 1U : 0U);
}
#endif

/* ---- rooms: codes ---- */

/* In place of a code's length: it is longer; there are no codes. And the mask. */
enum { DCF_LONG = 63, DCF_NO_CODE = 62, DCF_LENGTH = 63 };

#if DCF_WITH_HUFFMAN
/* A canonical code. A symbol whose 12-bit prefix is below limit[n - 1] (and not below limit[n - 2])
 * has n bits, and its number stands (prefix >> (12 - n)) + shift[n - 1] bytes (modulo 2^16) behind
 * the structure. There stand first u16 for all prefixes of 32 - shift bits: the length and 256 times
 * the number, or, where the length is larger, DCF_LONG and 256 times the least that it may be; and
 * then the numbers by the rank of their codes, one byte each. */
typedef struct dcf_code {
    uint16_t limit[DCF_MAX_CODE_BITS];
    uint16_t shift[DCF_MAX_CODE_BITS];
} dcf_code;

/* Read the code lengths of an entry, a Huffman table. For each symbol in use the counter of its
 * length grows by one, from 0 at first. With `ranks` it says before where the symbol, or what
 * `map` makes of it, is put there. Gives what is wrong with the entry but for completeness. */
DCF_LOCAL int dcf_huffman_lengths(const dcf_model *model, dcf_at entry, dcf_at end,
                                  uint16_t *counter, uint8_t *ranks, const dcf_tensor *map);

DCF_MUST_CHECK DCF_LOCAL int dcf_huffman_check(const dcf_model *model, dcf_at entry, dcf_at end);

/* Build the codes of a tensor at t->codes. */
DCF_LOCAL void dcf_huffman_build(dcf_tensor *tensor, uint8_t *memory);

/* Length and number, as in the first part, of a code that begins with `prefix` and has at least
 * `length` bits. */
DCF_LOCAL uint32_t dcf_huffman_search(const uint16_t *fast, uint32_t prefix, uint32_t length);

DCF_MUST_CHECK DCF_LOCAL int dcf_huffman_fields(dcf_record *record);
#endif

#if DCF_WITH_CONTEXT
DCF_MUST_CHECK DCF_LOCAL int dcf_context_fields(dcf_record *record);

/* Bytes of the workspace of a tensor, and its beginning, which t->codes becomes. */
DCF_LOCAL dcf_size dcf_context_bytes(const dcf_tensor *tensor);
DCF_LOCAL void dcf_context_build(dcf_tensor *tensor, void *memory);

/* What dcf_block_enter, dcf_elements and dcf_block_end are elsewhere. There is one workspace: a
 * cursor that goes on after another one entered a block gets DCF_ERR_ARGUMENT. */
DCF_LOCAL void dcf_context_enter(dcf_cursor *cursor);
DCF_MUST_CHECK DCF_LOCAL int dcf_context_elements(dcf_cursor *cursor, uint8_t *out,
                                                  dcf_size count, uint32_t step);
DCF_MUST_CHECK DCF_LOCAL int dcf_context_end(const dcf_cursor *cursor);
#endif

/* Is the tensor of coder_context? Where that is left out, none that can be decoded is. */
#if DCF_WITH_CONTEXT
#define DCF_BY_CONTEXT(t) ((t)->coder == DCF_CODER_CONTEXT)
#else
#define DCF_BY_CONTEXT(t) 0
#endif

/* Bits that a symbol below `alphabet` takes with coder_packed. */
DCF_LOCAL uint32_t dcf_packed_bits(uint32_t alphabet);

/* ---- dcf_blocks.c ---- */

/* Steps 2 and 3 of "Decoding a tensor". */
#if DCF_WITH_BLOCKS
DCF_MUST_CHECK DCF_LOCAL int dcf_blocks_check(const dcf_tensor *tensor);
#else
#define dcf_blocks_check(tensor) DCF_OK
#endif

/* Enter block cursor->block, whose offsets were checked, and step to the next. */
DCF_LOCAL void dcf_block_enter(dcf_cursor *cursor);

/* Stand at bit `bit` behind `at`, before an element; in firmware, with Huffman codes, at bit 0:
 * the first look fetches what it needs. */
DCF_LOCAL void dcf_seek(dcf_cursor *cursor, dcf_at at, dcf_size bit);

/* Bits of the block that were not read; below 0 where there were fewer. */
DCF_LOCAL dcf_offset dcf_bits_left(const dcf_cursor *cursor);

/* "After the last symbol of a block: a whole unused byte, STRUCTURE; spare bits that are not
 * zero, PADDING." */
DCF_MUST_CHECK DCF_LOCAL int dcf_block_end(const dcf_cursor *cursor);

/* ---- dcf_elements.c ---- */

/* Write the number of symbol `symbol`, where an element has one symbol. */
DCF_LOCAL void dcf_number(const dcf_tensor *tensor, uint32_t symbol, uint8_t *out);

/* Decode `count` elements, of those that are left of the block and at least one, to `out`, `step`
 * bytes apart: 0 drops them, each over the one before. */
DCF_MUST_CHECK DCF_LOCAL int dcf_elements(dcf_cursor *cursor, uint8_t *out, dcf_size count,
                                          uint32_t step);

#if DCF_HOST
/* ---- dcf_crc.c, dcf_host_crc.c ---- */

static inline uint64_t dcf_u64(const uint8_t *p)
{
    return dcf_load32(p) | (uint64_t)dcf_load32(p + 4) << 32;
}

/* ---- dcf_decode.c ---- */

/* Decode the rest of the present block to `out` and check the block's end. */
DCF_MUST_CHECK int dcf_block_finish(dcf_cursor *cursor, uint8_t *out);

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

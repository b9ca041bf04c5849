/* The dcformat decoder in C99: one source for firmware and for the Python extension.
 *
 * Spec: spec/DCF.md and spec/registry.md. Sister: dcformat/decode.py.
 *
 * Freestanding: no allocation, no globals, no recursion, no floating point. The caller owns all
 * memory, the file's bytes included, which stay where they are while a model is in use.
 *
 *     dcf_model m;
 *     dcf_tensor t;
 *     if ((err = dcf_open(&m, file, file_size)) != DCF_OK) ...
 *     if ((err = dcf_tensor_at(&m, index, &t)) != DCF_OK) ...
 *     if ((err = dcf_prepare(&t, workspace, sizeof workspace)) != DCF_OK) ...
 *     if ((err = dcf_decode(&t, out, sizeof out)) != DCF_OK) ...
 *
 * Switches for the compiler's command line, all off by default:
 *     DCF_HOST=1         lookup tables and several blocks in flight; same results, more code
 *     DCF_NO_GAP, DCF_NO_RUN, DCF_NO_HUFFMAN, DCF_NO_FIXED, DCF_NO_AFFINE, DCF_NO_CODEBOOK
 *                        leave a room out; its tensors answer DCF_ERR_UNSUPPORTED
 *     DCF_MARKS=n        places of records kept in dcf_model; the file may hold 256 n tensors
 */
#ifndef DCF_H
#define DCF_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DCF_MUST_CHECK __attribute__((warn_unused_result))
#else
#define DCF_MUST_CHECK
#endif

#ifndef DCF_HOST
#define DCF_HOST 0
#endif

#ifndef DCF_MARKS
#if DCF_HOST
#define DCF_MARKS 4096
#else
#define DCF_MARKS 16
#endif
#endif

/* ---- registry.md: numbers ---- */

#define DCF_MAJOR 0
#define DCF_MINOR 1

enum dcf_status {
    DCF_OK = 0,
    DCF_ERR_ARGUMENT = -1,     /* the caller asked for something that does not exist */
    DCF_ERR_TRUNCATED = -10,   /* the input ends inside a field */
    DCF_ERR_MAGIC = -11,       /* not this file format */
    DCF_ERR_VERSION = -12,     /* a version that this reader does not know */
    DCF_ERR_CHECKSUM = -13,    /* a stored CRC differs from the computed one */
    DCF_ERR_STRUCTURE = -14,   /* a field is impossible or contradicts another */
    DCF_ERR_PADDING = -15,     /* a reserved or padding bit is not zero */
    DCF_ERR_RANGE = -16,       /* a position or symbol is outside its tensor or alphabet */
    DCF_ERR_CODE = -17,        /* an entropy code or a compressed frame is not valid */
    DCF_ERR_UNSUPPORTED = -20, /* the tensor uses a room, type or feature that is not here */
    DCF_ERR_FEATURE = -21,     /* an unknown incompat flag or critical section */
    DCF_ERR_LIMIT = -30,       /* a limit of the registry or of this build is exceeded */
    DCF_ERR_SPACE = -31        /* the caller's buffer is too small */
};

enum dcf_dtype {
    DCF_DTYPE_FLOAT = 1,
    DCF_DTYPE_UINT8 = 2,
    DCF_DTYPE_INT8 = 3,
    DCF_DTYPE_UINT16 = 4,
    DCF_DTYPE_INT16 = 5,
    DCF_DTYPE_INT32 = 6,
    DCF_DTYPE_INT64 = 7,
    DCF_DTYPE_BOOL = 9,
    DCF_DTYPE_FLOAT16 = 10,
    DCF_DTYPE_DOUBLE = 11,
    DCF_DTYPE_UINT32 = 12,
    DCF_DTYPE_UINT64 = 13,
    DCF_DTYPE_COMPLEX64 = 14,
    DCF_DTYPE_COMPLEX128 = 15,
    DCF_DTYPE_BFLOAT16 = 16,
    DCF_DTYPE_FLOAT8E4M3FN = 17,
    DCF_DTYPE_FLOAT8E4M3FNUZ = 18,
    DCF_DTYPE_FLOAT8E5M2 = 19,
    DCF_DTYPE_FLOAT8E5M2FNUZ = 20,
    DCF_DTYPE_UINT4 = 21,
    DCF_DTYPE_INT4 = 22,
    DCF_DTYPE_FLOAT4E2M1 = 23,
    DCF_DTYPE_FLOAT8E8M0 = 24,
    DCF_DTYPE_UINT2 = 25,
    DCF_DTYPE_INT2 = 26
};

enum dcf_section {
    DCF_SECTION_RECORDS = 1,
    DCF_SECTION_TABLES = 2,
    DCF_SECTION_NAMES = 3,
    DCF_SECTION_HASHES = 4,
    DCF_SECTION_FIXED = 5,
    DCF_SECTION_META = 6,
    DCF_SECTION_GRAPH = 7,
    DCF_SECTION_PAYLOAD = 8
};

enum dcf_section_flag {
    DCF_SECTION_FLAG_CRITICAL = 1,
    DCF_SECTION_FLAG_SAFE_TO_COPY = 2
};

enum dcf_section_codec {
    DCF_SECTION_CODEC_STORED = 0,
    DCF_SECTION_CODEC_ZSTD = 1
};

enum dcf_incompat {
    DCF_INCOMPAT_DRAFT = 1
};

enum dcf_record_flag {
    DCF_RECORD_TIED = 1,
    DCF_RECORD_PERMUTED = 2,
    DCF_RECORD_BLOCKED = 4,
    DCF_RECORD_WIDE = 8
};

enum dcf_layout {
    DCF_LAYOUT_DENSE = 0,
    DCF_LAYOUT_GAP = 1,
    DCF_LAYOUT_RUN = 2
};

enum dcf_values {
    DCF_VALUES_RAW = 0,
    DCF_VALUES_FIXED = 1,
    DCF_VALUES_AFFINE = 2,
    DCF_VALUES_CODEBOOK = 3
};

enum dcf_coder {
    DCF_CODER_PACKED = 0,
    DCF_CODER_HUFFMAN = 1,
    DCF_CODER_ZSTD = 2
};

enum dcf_gap_flag {
    DCF_GAP_FILLER_STORES = 1
};

enum dcf_affine_flag {
    DCF_AFFINE_ZERO_POINTS = 1,
    DCF_AFFINE_BLOCKED = 2
};

enum dcf_scale {
    DCF_SCALE_NONE = 0,
    DCF_SCALE_TENSOR = 1,
    DCF_SCALE_AXIS = 2,
    DCF_SCALE_FRACTION = 3
};

enum dcf_table {
    DCF_TABLE_HUFFMAN_NIBBLES = 0,
    DCF_TABLE_HUFFMAN_DELTA = 1,
    DCF_TABLE_HUFFMAN_FLAT = 2,
    DCF_TABLE_CODEBOOK = 3
};

enum dcf_meta {
    DCF_META_PRODUCER = 1,
    DCF_META_SOURCE_SHA256 = 2,
    DCF_META_LICENCE = 3,
    DCF_META_RECIPE = 4,
    DCF_META_LIBZSTD = 5,
    DCF_META_CONTENT_ID = 6,
    DCF_META_SOURCE_METADATA = 7
};

enum dcf_graph {
    DCF_GRAPH_ONNX = 1,
    DCF_GRAPH_TFLITE = 2
};

enum dcf_rounding {
    DCF_ROUNDING_HALF_UP = 0,
    DCF_ROUNDING_HALF_EVEN = 1,
    DCF_ROUNDING_FLOOR = 2
};

#define DCF_MAX_RANK 8
#define DCF_MAX_SECTIONS 64
#define DCF_MAX_TENSORS 1048576
#define DCF_MAX_TABLES 65536
#define DCF_MAX_ELEMENTS 1099511627776
#define DCF_MAX_NAME_BYTES 4096
#define DCF_MAX_META_BYTES 16777216
#define DCF_MAX_GRAPH_BYTES 2147483647
#define DCF_MAX_CODE_BITS 12
#define DCF_MAX_SYMBOLS 256
#define DCF_MAX_CLASSES 4
#define DCF_MAX_ALIGN_LOG2 12
#define DCF_MAX_ZSTD_WINDOW_LOG2 23
#define DCF_MAX_RATIO 65536
#define DCF_RATIO_SLACK 16
#define DCF_TAIL_BYTES 8

#define DCF_NO_AXIS 0xFF
#define DCF_NO_TENSOR 0xFFFFFFFF

/* ---- what a reader holds ---- */

/* Where dcf_open stopped: `place` of the model; `item` counts entries, tables or records. */
enum dcf_place {
    DCF_PLACE_HEADER = 0,
    DCF_PLACE_SECTIONS = 1,
    DCF_PLACE_TABLES = 2,
    DCF_PLACE_RECORDS = 3,
    DCF_PLACE_END = 4 /* behind the last record; `item` is the section that is too long */
};

/* Where a record begins in RECORDS, and where the payload before it ends in PAYLOAD. */
typedef struct dcf_mark {
    size_t record;
    size_t payload;
} dcf_mark;

/* An open file. The fields are for reading; dcf_open sets them. */
typedef struct dcf_model {
    const uint8_t *data;
    size_t size;
    size_t start[DCF_SECTION_PAYLOAD + 1];  /* of each section, by its id; 0: missing or empty */
    size_t stored[DCF_SECTION_PAYLOAD + 1]; /* bytes of each section */
    uint32_t zstd;                          /* bit i: section i is compressed */
    uint32_t tensors;                       /* records */
    uint32_t tables;                        /* entries of TABLES */
    uint32_t stride;                        /* records from one mark to the next */
    uint32_t item;                          /* see dcf_place */
    uint8_t place;
    uint8_t align_log2;                     /* of PAYLOAD */
    dcf_mark mark[DCF_MARKS];
} dcf_model;

/* One tensor: everything its record says. dcf_tensor_at sets it, dcf_prepare the last part. */
typedef struct dcf_tensor {
    const dcf_model *model;
    uint32_t index;      /* of the record that has the payload: a tied one is followed */
    uint32_t crc;        /* of the decoded numbers */
    uint8_t unsupported; /* 1: this reader cannot decode it */
    uint8_t dtype;       /* logical element type */
    uint8_t layout;
    uint8_t values;
    uint8_t coder;
    uint8_t number;      /* type of a decoded number (dcf_dtype) */
    uint8_t width;       /* its bytes */
    uint8_t symbols;     /* symbols of an element */
    uint8_t rank;
    uint8_t row_axes;
    uint8_t order[DCF_MAX_RANK]; /* stored axis i is logical axis order[i] */
    uint32_t dims[DCF_MAX_RANK]; /* stored dims: dims[i] is that of logical axis order[i] */
    size_t rows;
    size_t columns;
    size_t elements;
    const uint8_t *payload;
    size_t payload_size;
    size_t padding;      /* zero bytes before the payload */
    /* blocks */
    uint8_t offset_width;
    uint8_t classes;
    uint32_t block_rows; /* 0: one block */
    size_t blocks;
    const uint8_t *offsets;
    const uint8_t *block_class;
    const uint8_t *coded; /* the first block */
    size_t coded_size;    /* of all blocks */
    /* layout */
    uint8_t highest_gap;
    uint8_t gap_flags;
    uint8_t gap_bits;    /* of a packed gap */
    uint8_t symbol_bits; /* of another packed symbol */
    uint16_t background; /* symbol of the background element */
    /* values: what a number means */
    uint16_t alphabet;
    int16_t base;          /* symbol s is the number base + s, where there is no codebook */
    const uint8_t *levels; /* codebook, or NULL */
    uint8_t axis;          /* stored axis of the parameters, or DCF_NO_AXIS */
    uint8_t affine_flags;
    uint8_t scale_kind;    /* of a codebook */
    int8_t fraction;       /* fraction length of the tensor */
    uint32_t scale;        /* bits of the binary32 scale of the tensor */
    int32_t zero_point;
    uint32_t scale_block;  /* elements along `axis` that share a scale (AFFINE with BLOCKED) */
    size_t parameters;     /* how many parameters stand at the payload's start */
    /* coder */
    const uint8_t *table_ids; /* u16 little-endian, class by class, stream by stream */
    uint16_t table_count;
    uint16_t longest_table;   /* symbols of the longest of them */
    /* dcf_prepare */
    const uint8_t *codes;  /* Huffman codes in the caller's memory */
    size_t code_bytes;     /* of each */
    const uint8_t *lookup; /* host: lookup tables, or NULL */
    uint8_t lookup_fast;   /* host: there are tables of several symbols */
    uint8_t prepared;
} dcf_tensor;

/* Bits of a block that were not read yet. */
typedef struct dcf_bits {
    const uint8_t *data;
    size_t size;
    size_t pos;
    uint32_t acc;
    uint32_t have;
} dcf_bits;

/* A place inside a tensor. */
typedef struct dcf_cursor {
    const dcf_tensor *tensor;
    dcf_bits bits;
    const uint8_t *codes;  /* of the block's class */
    uint32_t lookup_table; /* host: the first lookup table of the class */
    size_t block;   /* the block after the present one */
    size_t left;    /* elements of the present block that are still to come */
    size_t run;     /* of these, background elements that were announced */
    uint32_t digit; /* layout_run: weight of the next digit */
    uint8_t stored; /* layout_gap: an element's symbols come next */
} dcf_cursor;

/* A layer of section FIXED; a fraction length n says that an integer q means q * 2^-n. */
typedef struct dcf_layer {
    uint32_t weight_index; /* or DCF_NO_TENSOR */
    uint32_t bias_index;
    int8_t input_fraction;
    uint8_t input_bits; /* 0: the format is not given */
    int8_t weight_fraction;
    uint8_t weight_bits;
    int8_t bias_fraction;
    uint8_t bias_bits;
    int8_t output_fraction;
    uint8_t output_bits;
    int16_t shift;
    int16_t bias_shift;
    uint8_t rounding;
    const uint8_t *name; /* not terminated */
    uint16_t name_bytes;
} dcf_layer;

/* ---- memory for dcf_prepare ---- */

#define DCF_CODE_HEADER 56

/* Enough for `tables` Huffman tables of at most `symbols` symbols each, without lookup tables.
 * A tensor has one table per stream and class: one for int8 numbers, two with layout_gap. */
#define DCF_WORKSPACE_BYTES(tables, symbols) ((tables) * (DCF_CODE_HEADER + (symbols) + 3) + 3)

/* ---- functions; each gives a dcf_status ---- */

/* Validate header, sections, tables and records of `size` bytes at `data`. Payloads are not
 * read. On failure `place` and `item` of the model say where. */
DCF_MUST_CHECK int dcf_open(dcf_model *model, const uint8_t *data, size_t size);

/* Describe tensor `index`. A tensor that cannot be decoded here is described as far as its
 * record can be read, with `unsupported` set. */
DCF_MUST_CHECK int dcf_tensor_at(const dcf_model *model, uint32_t index, dcf_tensor *tensor);

/* Bytes of workspace that dcf_prepare needs for `tensor`; 0 where it needs none. With DCF_HOST
 * they include lookup tables, which it does without where it is given less. */
size_t dcf_workspace_bytes(const dcf_tensor *tensor);

/* Check offsets and classes of the blocks and build the tables in `workspace`, of any
 * alignment. DCF_ERR_SPACE where it is too small. */
DCF_MUST_CHECK int dcf_prepare(dcf_tensor *tensor, void *workspace, size_t bytes);

/* Decode all numbers in stored order, little-endian: elements * width bytes at `out`. The CRC
 * is not checked: compare dcf_crc of them with `crc`. */
DCF_MUST_CHECK int dcf_decode(const dcf_tensor *tensor, uint8_t *out, size_t bytes);

/* Decode stored rows row0 to row0 + count - 1: count * columns * width bytes at `out`. The blocks
 * that hold them are decoded to their ends; a cursor stops where its caller does. */
DCF_MUST_CHECK int dcf_rows(const dcf_tensor *tensor, size_t row0, size_t count, uint8_t *out,
                            size_t bytes);

/* Place a cursor before row `row0`; the rows of its block before it are decoded and dropped. */
DCF_MUST_CHECK int dcf_cursor_init(dcf_cursor *cursor, const dcf_tensor *tensor, size_t row0);

/* Decode as many of the next numbers as `bytes` holds; `got` of them, 0 at the tensor's end. */
DCF_MUST_CHECK int dcf_cursor_next(dcf_cursor *cursor, uint8_t *out, size_t bytes, size_t *got);

/* DCF.md, "Full check". Tensors that cannot be decoded here are passed over. `workspace` holds
 * what dcf_prepare needs, and what is left of it serves as buffer. `failing` is the index of
 * the tensor with the fault, DCF_NO_TENSOR where it is that of a section. */
DCF_MUST_CHECK int dcf_check(const dcf_model *model, void *workspace, size_t bytes,
                             uint32_t *failing);

/* Bytes of workspace for dcf_check: the most that a tensor of the model needs. */
size_t dcf_check_bytes(const dcf_model *model);

/* Find a tensor by its name, in NAMES where it is stored, else in HASHES (where the first with
 * the same hash is found). DCF_ERR_ARGUMENT if there is none. */
DCF_MUST_CHECK int dcf_find(const dcf_model *model, const char *name, size_t bytes,
                            uint32_t *index);

/* Give the name of a tensor, not terminated. DCF_ERR_ARGUMENT where names are not in the file,
 * DCF_ERR_UNSUPPORTED where they are compressed. */
DCF_MUST_CHECK int dcf_name(const dcf_model *model, uint32_t index, const uint8_t **name,
                            uint16_t *bytes);

/* Read layer `index` of FIXED in place. DCF_ERR_ARGUMENT behind the last. */
DCF_MUST_CHECK int dcf_layer_at(const dcf_model *model, uint32_t index, dcf_layer *layer);

/* CRC-32 of the registry over `size` more bytes; begin with crc 0. */
uint32_t dcf_crc(uint32_t crc, const uint8_t *data, size_t size);

#ifdef __cplusplus
}
#endif

#endif

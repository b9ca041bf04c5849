/* The dcformat decoder in C99: one source for firmware and for the Python extension.
 *
 * Spec: spec/DCF.md and spec/registry.md. Sister: dcformat/decode.py. By example: docs/c-api.md.
 *
 * Freestanding: no allocation, no globals, no recursion, no floating point unless asked for. The
 * caller owns all memory, the file's bytes included, which stay where they are while a model is
 * in use.
 *
 *     dcf_model m;
 *     dcf_tensor t;
 *     if ((err = dcf_open(&m, file, file_size)) != DCF_OK) ...
 *     if ((err = dcf_tensor_at(&m, index, &t)) != DCF_OK) ...
 *     if ((err = dcf_prepare(&t, workspace, sizeof workspace)) != DCF_OK) ...
 *     if ((err = dcf_decode(&t, out, sizeof out)) != DCF_OK) ...
 */
#ifndef DCF_H
#define DCF_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Grows with every change that needs generated code to be generated anew. */
#define DCF_ABI 1

/* ---- switches: the same wherever this header is included ---- */

/* 1: lookup tables and several blocks in flight; same results, much more code. */
#ifndef DCF_HOST
#define DCF_HOST 0
#endif

/* 1: sizes are size_t. 0: they have 32 bits, and larger files and tensors answer DCF_ERR_LIMIT. */
#ifndef DCF_WIDE
#define DCF_WIDE DCF_HOST
#endif

/* 0 leaves a room or a feature of files out; tensors that use it answer DCF_ERR_UNSUPPORTED. */
#ifndef DCF_WITH_GAP
#define DCF_WITH_GAP 1
#endif
#ifndef DCF_WITH_RUN
#define DCF_WITH_RUN 1
#endif
#ifndef DCF_WITH_PACKED
#define DCF_WITH_PACKED 1
#endif
#ifndef DCF_WITH_HUFFMAN
#define DCF_WITH_HUFFMAN 1
#endif
#ifndef DCF_WITH_CONTEXT
#define DCF_WITH_CONTEXT DCF_HOST
#endif
#ifndef DCF_WITH_FIXED
#define DCF_WITH_FIXED 1
#endif
#ifndef DCF_WITH_AFFINE
#define DCF_WITH_AFFINE 1
#endif
#ifndef DCF_WITH_CODEBOOK
#define DCF_WITH_CODEBOOK 1
#endif
#ifndef DCF_WITH_POW2
#define DCF_WITH_POW2 1
#endif
#ifndef DCF_WITH_SYMBOLS /* numbers of several bytes */
#define DCF_WITH_SYMBOLS 1
#endif
#ifndef DCF_WITH_BLOCKS /* more than one block */
#define DCF_WITH_BLOCKS 1
#endif
#ifndef DCF_WITH_TIED /* other names for the same tensor */
#define DCF_WITH_TIED 1
#endif
#ifndef DCF_WITH_PERMUTED /* axes that are stored in another order */
#define DCF_WITH_PERMUTED 1
#endif

/* 0 leaves functions out. (A linker does so too, given -ffunction-sections and --gc-sections.) */
#ifndef DCF_WITH_CHECK /* dcf_check */
#define DCF_WITH_CHECK 1
#endif
#ifndef DCF_WITH_INFO /* dcf_info_of */
#define DCF_WITH_INFO 1
#endif
#ifndef DCF_WITH_NAMES /* dcf_find, dcf_name */
#define DCF_WITH_NAMES 1
#endif
#ifndef DCF_WITH_LAYERS /* dcf_layer_at */
#define DCF_WITH_LAYERS 1
#endif
#ifndef DCF_WITH_FLOAT /* dcf_floats: binary32 numbers, by the compiler's floating point; needs INFO */
#define DCF_WITH_FLOAT DCF_HOST
#endif
#ifndef DCF_WITH_STRERROR /* dcf_strerror */
#define DCF_WITH_STRERROR DCF_HOST
#endif
#ifndef DCF_WITH_CRC_TABLE /* CRCs three times as fast, for 70 bytes */
#define DCF_WITH_CRC_TABLE DCF_HOST
#endif
#ifndef DCF_WITH_READ_CALLBACK /* dcf_open_read in place of dcf_open: the file is not in memory */
#define DCF_WITH_READ_CALLBACK 0
#endif

/* Places of records kept in dcf_model; the file may hold 256 of them to a place, and without any
 * place DCF_TENSORS. */
#ifndef DCF_MARKS
#if DCF_HOST
#define DCF_MARKS 4096
#else
#define DCF_MARKS 0
#endif
#endif
#ifndef DCF_TENSORS
#define DCF_TENSORS 1024
#endif

/* How a byte of the file is read, and what its declaration says: for memory that is not read
 * through plain pointers (AVR: pgm_read_byte and PROGMEM). */
#ifndef DCF_READ8
#define DCF_READ8(p) (*(p))
#else
#define DCF_READ8_OWN 1
#endif
#ifndef DCF_PROGMEM
#define DCF_PROGMEM
#endif

#if defined(__GNUC__)
#define DCF_MUST_CHECK __attribute__((warn_unused_result))
#else
#define DCF_MUST_CHECK
#endif

#if DCF_WIDE
typedef size_t dcf_size;
#else
typedef uint32_t dcf_size;
#endif

/* 1: of all tensors that this build decodes, the tables give numbers of one byte. */
#define DCF_ALL_MAPPED \
    (DCF_WITH_HUFFMAN && !DCF_WITH_PACKED && !DCF_WITH_RUN && !DCF_WITH_SYMBOLS)

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
    DCF_VALUES_CODEBOOK = 3,
    DCF_VALUES_POW2 = 4
};

enum dcf_coder {
    DCF_CODER_PACKED = 0,
    DCF_CODER_HUFFMAN = 1,
    DCF_CODER_ZSTD = 2,
    DCF_CODER_CONTEXT = 3
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
    DCF_TABLE_CODEBOOK = 3,
    DCF_TABLE_CODEBOOK_SORTED = 4 /* of hosts: tensors with it are unsupported here */
};

enum dcf_meta {
    DCF_META_PRODUCER = 1,
    DCF_META_SOURCE_SHA256 = 2,
    DCF_META_LICENCE = 3,
    DCF_META_RECIPE = 4,
    DCF_META_LIBZSTD = 5,
    DCF_META_CONTENT_ID = 6,
    DCF_META_SOURCE_METADATA = 7,
    DCF_META_EVIDENCE = 8
};

enum dcf_graph {
    DCF_GRAPH_ONNX = 1,
    DCF_GRAPH_TFLITE = 2,
    DCF_GRAPH_PREDICTED = 3
};

enum dcf_prediction {
    DCF_PREDICTION_SCALE = 0,
    DCF_PREDICTION_LEAST = 1,
    DCF_PREDICTION_MOST = 2
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

#if DCF_WITH_READ_CALLBACK
/* Read `bytes` bytes at `offset` of the file. 0 for success; any negative number comes back from
 * the function that needed the bytes. */
typedef int dcf_read(void *user, uint32_t offset, uint8_t *to, uint32_t bytes);

/* A file that is not in memory. The caller sets the first four; a window of 32 to 64 bytes does. */
typedef struct dcf_source {
    dcf_read *read;
    void *user;
    uint8_t *window;
    uint32_t window_bytes;
    uint32_t size;
    uint32_t begin; /* of what the window holds */
    uint32_t held;  /* bytes */
    int status;     /* of the first read that failed */
} dcf_source;

typedef uint32_t dcf_at; /* a place in the file */
#else
typedef const uint8_t *dcf_at;
#endif

/* Sections that are kept stand at their id modulo 8: PAYLOAD first. */
#if DCF_WITH_LAYERS
#define DCF_KEPT 6
#elif DCF_WITH_NAMES
#define DCF_KEPT 5
#else
#define DCF_KEPT 3
#endif

/* Where a record begins, and where in PAYLOAD the payload before it ends. */
typedef struct dcf_mark {
    dcf_at record;
    dcf_size payload;
} dcf_mark;

/* An open file. The fields are for reading; dcf_open sets them. */
typedef struct dcf_model {
    uint8_t place;
    uint8_t align_log2; /* of PAYLOAD */
    uint8_t zstd;       /* bit i: section i is compressed */
    uint8_t sections;   /* entries of the section table */
    uint32_t item;      /* see dcf_place */
    uint32_t tensors;   /* records */
    uint32_t tables;    /* entries of TABLES */
    dcf_at data;
    dcf_size size;
#if DCF_WITH_READ_CALLBACK
    dcf_source *source;
#endif
    dcf_at start[DCF_KEPT];
    dcf_size stored[DCF_KEPT]; /* bytes; 0: missing or empty */
#if DCF_MARKS
    uint32_t stride; /* records from one mark to the next */
    dcf_mark mark[DCF_MARKS];
#endif
} dcf_model;

/* One tensor: what decoding it needs. dcf_tensor_at sets it, dcf_prepare the tables. (Bytes come
 * first: small processors reach them there in one instruction.) */
typedef struct dcf_tensor {
    uint8_t unsupported; /* 1: this reader cannot decode it */
    uint8_t tied;        /* 1: while records are read, another tensor's other name */
    uint8_t layout;
    uint8_t values;
    uint8_t coder;
    uint8_t number;      /* type of a decoded number (dcf_dtype) */
    uint8_t width;       /* its bytes */
    uint8_t symbols;     /* symbols of an element */
    uint8_t base;        /* symbol s is the number base + s, where there is no codebook */
    uint8_t highest_gap;
    uint8_t background_number; /* number of the background element, where tables give numbers */
#if DCF_WITH_PACKED || DCF_HOST
    uint8_t gap_bits;    /* of a packed gap */
    uint8_t symbol_bits; /* of another packed symbol */
#endif
#if DCF_WITH_BLOCKS
    uint8_t offset_width;
#endif
    uint8_t classes;
#if DCF_WITH_CONTEXT
    uint8_t centre;      /* coder_context: the symbol of magnitude 0 */
    uint8_t axes;        /* and the column axes that have scales */
#endif
    uint8_t shift;       /* 32 less the bits that the first part of a table looks up */
    uint8_t table_count;
#if !DCF_ALL_MAPPED
    uint8_t mapped;      /* 1: tables give numbers in place of symbols */
#endif
    uint16_t background; /* symbol of the background element */
    uint16_t filler;     /* layout_gap: a gap that no element follows, or more than any gap */
    uint16_t alphabet;
    uint16_t longest_table; /* symbols of the longest of its tables */
    uint16_t code_stride;   /* u16 from a code in the workspace to the next */
    uint32_t index;      /* of the record that has the payload: a tied one is followed */
    uint32_t crc;        /* of the decoded numbers */
    dcf_size rows;
    dcf_size columns;
    dcf_size elements;
    dcf_size block_rows;
    dcf_size blocks;
    dcf_size coded_size; /* of all blocks */
    const dcf_model *model;
    dcf_at record;
    dcf_at payload;
#if DCF_WITH_BLOCKS
    dcf_at offsets;      /* of the blocks: behind the values parameters */
#endif
    dcf_at coded;        /* the first block */
    dcf_at levels;       /* codebook, or none */
    dcf_at table_ids;    /* u16 little-endian, class by class, stream by stream */
    const uint16_t *codes; /* Huffman codes in the caller's memory, behind the first dcf_code, or
                            * what coder_context knows there; none: not prepared */
#if DCF_HOST
    const uint8_t *lookup; /* lookup tables, or NULL */
    uint8_t lookup_fast;   /* there are tables of several symbols */
#endif
} dcf_tensor;

/* A place inside a tensor: in a block, and between elements of it. */
typedef struct dcf_cursor {
#if !DCF_ALL_MAPPED
    uint8_t digit;       /* layout_run: log2 of the weight of the next digit */
    uint8_t part;        /* symbols of the present element that were read */
#endif
    const dcf_tensor *tensor;
    dcf_at at;           /* the next byte */
    dcf_at last;         /* behind the block */
    uint32_t bits;       /* Huffman: the next bits, at the top; of what is behind the block too.
                          * coder_context: whose block the workspace is of */
    int32_t have;        /* how many stand before `at`; packed: 0 or less, used bits of that byte */
    const uint16_t *first;  /* table of the first stream, */
    const uint16_t *values; /* of an element's first symbol, */
    const uint16_t *table;  /* of the next symbol */
    dcf_size left;       /* elements of the block that are not wanted now */
    dcf_size skip;       /* the first ones, that nobody wants */
    dcf_size run;        /* background elements that were announced */
    dcf_size block;      /* the block after the present one */
#if DCF_HOST
    dcf_at data;         /* of the block */
    dcf_size size;
    dcf_size bit;        /* the next one, for the long steps */
    uint16_t code;       /* the first table of the block's class */
#endif
} dcf_cursor;

#if DCF_WITH_INFO
/* What a record says beside that; for people, and for whoever scales numbers. */
typedef struct dcf_info {
    uint8_t dtype; /* logical element type */
    uint8_t rank;
    uint8_t row_axes;
    uint8_t order[DCF_MAX_RANK]; /* stored axis i is logical axis order[i] */
    uint32_t dims[DCF_MAX_RANK]; /* stored dims: dims[i] is that of logical axis order[i] */
    uint8_t axis;         /* stored axis of the parameters, or DCF_NO_AXIS */
    uint8_t affine_flags;
    uint8_t scale_kind;   /* of a codebook */
    int8_t fraction;      /* fraction length of the tensor */
    uint32_t scale;       /* bits of the binary32 scale of the tensor */
    int32_t zero_point;
    uint32_t scale_block; /* elements along `axis` that share a scale; 1 where there are none */
} dcf_info;
#endif

#if DCF_WITH_LAYERS
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
    dcf_at name; /* not terminated */
    uint16_t name_bytes;
} dcf_layer;
#endif

/* ---- memory for dcf_prepare ---- */

/* For `tables` Huffman tables of at most `symbols` symbols each: with small lookup tables, which
 * make decoding faster, and without. A tensor has one table per stream and class: one for int8
 * numbers, two with layout_gap. With coder_packed it needs none. */
#define DCF_WORKSPACE_BYTES(tables, symbols) \
    ((tables) * (((tables) > 1 ? 48U + 64U : 48U + 256U) + (((symbols) + 1U) & ~1U)) + 1U)
#define DCF_WORKSPACE_LEAST(tables, symbols) ((tables) * (48U + 4U + (((symbols) + 1U) & ~1U)) + 1U)

/* ---- functions; each gives a dcf_status ---- */

/* Validate header, sections, tables and records of `size` bytes at `data`. Payloads are not
 * read. On failure `place` and `item` of the model say where. */
#if DCF_WITH_READ_CALLBACK
DCF_MUST_CHECK int dcf_open_read(dcf_model *model, dcf_source *source, dcf_size size);
#else
DCF_MUST_CHECK int dcf_open(dcf_model *model, const uint8_t *data, dcf_size size);
#endif

/* Find tensor `index`. One that cannot be decoded here is described as far as its record can be
 * read, with `unsupported` set. */
DCF_MUST_CHECK int dcf_tensor_at(const dcf_model *model, uint32_t index, dcf_tensor *tensor);

/* Bytes of workspace that make dcf_prepare build all its tables; 0 where there are none. It does
 * with less, down to DCF_WORKSPACE_LEAST(table_count, longest_table). */
dcf_size dcf_workspace_bytes(const dcf_tensor *tensor);

/* Check offsets and classes of the blocks and build the tables in `workspace`, of any
 * alignment. DCF_ERR_SPACE where it is too small. */
DCF_MUST_CHECK int dcf_prepare(dcf_tensor *tensor, void *workspace, dcf_size bytes);

/* Decode all numbers in stored order, little-endian: elements * width bytes at `out`. The CRC
 * is not checked: compare dcf_crc of them with `crc`. */
DCF_MUST_CHECK int dcf_decode(const dcf_tensor *tensor, void *out, dcf_size bytes);

/* Decode stored rows row0 to row0 + count - 1: count * columns * width bytes at `out`. Rows before
 * them in their block are decoded and dropped; what follows them is not read. */
DCF_MUST_CHECK int dcf_rows(const dcf_tensor *tensor, dcf_size row0, dcf_size count, void *out,
                            dcf_size bytes);

/* Place a cursor before row `row0`. */
DCF_MUST_CHECK int dcf_cursor_init(dcf_cursor *cursor, const dcf_tensor *tensor, dcf_size row0);

/* Decode the next `count` elements, or as many as there are: count * width bytes of room at
 * `out`. `got` of them; 0 at the tensor's end. */
DCF_MUST_CHECK int dcf_cursor_next(dcf_cursor *cursor, void *out, dcf_size count, dcf_size *got);

/* Decode and drop the rest of the block that a cursor stands in: what is wrong with it is known
 * then. */
DCF_MUST_CHECK int dcf_cursor_finish(dcf_cursor *cursor);

#if DCF_WITH_CHECK
/* DCF.md, "Full check". Tensors that cannot be decoded here are passed over. In `workspace` stand
 * a tensor, its tables and a buffer, which what is left makes larger. `failing` is the index of
 * the tensor with the fault, DCF_NO_TENSOR where it is that of a section. */
DCF_MUST_CHECK int dcf_check(const dcf_model *model, void *workspace, dcf_size bytes,
                             uint32_t *failing);

/* Bytes of workspace for dcf_check: the most that a tensor of the model needs. */
dcf_size dcf_check_bytes(const dcf_model *model);
#endif

#if DCF_WITH_INFO
DCF_MUST_CHECK int dcf_info_of(const dcf_tensor *tensor, dcf_info *info);
#endif

#if DCF_WITH_FLOAT
/* What `count` decoded numbers mean, from stored element `first` on, in binary32. */
DCF_MUST_CHECK int dcf_floats(const dcf_tensor *tensor, dcf_size first, dcf_size count,
                              const void *numbers, float *out);
#endif

#if DCF_WITH_NAMES
/* Find a tensor by its name, in NAMES where it is stored, else in HASHES (where the first with
 * the same hash is found). DCF_ERR_ARGUMENT if there is none. */
DCF_MUST_CHECK int dcf_find(const dcf_model *model, const char *name, dcf_size bytes,
                            uint32_t *index);

/* Give the name of a tensor, not terminated. DCF_ERR_ARGUMENT where names are not in the file,
 * DCF_ERR_UNSUPPORTED where they are compressed. */
DCF_MUST_CHECK int dcf_name(const dcf_model *model, uint32_t index, dcf_at *name,
                            uint16_t *bytes);
#endif

#if DCF_WITH_LAYERS
/* Read layer `index` of FIXED in place. DCF_ERR_ARGUMENT behind the last. */
DCF_MUST_CHECK int dcf_layer_at(const dcf_model *model, uint32_t index, dcf_layer *layer);
#endif

/* CRC-32 of the registry over `size` more bytes in memory; begin with crc 0. */
uint32_t dcf_crc(uint32_t crc, const uint8_t *data, dcf_size size);

/* What a status means, in English. */
#if DCF_WITH_STRERROR
const char *dcf_strerror(int status);
#else
#define dcf_strerror(status) ((void)(status), "")
#endif

#ifdef __cplusplus
}
#endif

#endif

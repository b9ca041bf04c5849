/* Section RECORDS: what a record says, checked. Spec: spec/DCF.md, "RECORDS". Sister:
 * dcformat/container.py. */
#include "dcf_internal.h"

enum { FIRST_FIELDS = 12 };

/* Processors without this instruction would take a function of hundreds of bytes from a library. */
#if defined(__ARM_ARCH_6M__) || defined(__AVR__) || defined(__MSP430__) || \
    (defined(__riscv) && !defined(__riscv_div))
DCF_LOCAL dcf_size dcf_divide(dcf_size a, dcf_size b)
{
    dcf_size bit = 1;
    dcf_size quotient = 0;
    while (b < a && !(b >> (sizeof b * 8U - 1U))) {
        b <<= 1;
        bit <<= 1;
    }
    do {
        if (a >= b) {
            a -= b;
            quotient |= bit;
        }
        b >>= 1;
        bit >>= 1;
    } while (bit != 0);
    return quotient;
}
#else
DCF_LOCAL dcf_size dcf_divide(dcf_size a, dcf_size b)
{
    return a / b;
}
#endif

DCF_LOCAL uint32_t dcf_word(dcf_record *r)
{
    if (r->at == r->end) {
        r->truncated = 1;
        return 0;
    }
    r->at += 4;
    return DCF_U32(r->tensor->model, r->at - 4);
}

/* ---- shape ---- */

/* Where the dims of an untied record stand. */
static dcf_at dims_of(const dcf_model *m, dcf_at record)
{
    return record + ((DCF_BYTE(m, record + 7) & DCF_RECORD_WIDE) ? 20 : 16);
}

DCF_LOCAL uint32_t dcf_dim(const dcf_tensor *t, uint32_t axis)
{
    const dcf_model *m = t->model;
    const dcf_at dims = dims_of(m, t->record);
    if (DCF_BYTE(m, t->record + 7) & DCF_RECORD_PERMUTED) {
        axis = DCF_BYTE(m, dims + 4 * (dcf_size)DCF_BYTE(m, t->record + 2) + axis);
    }
    return DCF_U32(m, dims + 4 * (dcf_size)axis);
}

/* Check 6. */
DCF_APART static int extent_check(const dcf_model *m, dcf_at dims, uint32_t rank)
{
    dcf_size all = 1;
    for (; rank > 0; rank--) {
        const uint32_t dim = DCF_U32(m, dims);
        dims += 4;
        if (dim > dcf_divide(DCF_MOST_ELEMENTS, all)) {
            return DCF_ERR_LIMIT;
        }
        all *= dim ? dim : 1U;
    }
    return DCF_OK;
}

/* Check 7: `order` holds rank axes and their padding. */
static int order_check(const dcf_model *m, dcf_at order, uint32_t rank)
{
    uint32_t seen = 0;
    uint32_t moved = 0;
    uint32_t i;
    for (i = 0; i < rank; i++) {
        const uint32_t axis = DCF_BYTE(m, order + i);
        if (axis >= rank) {
            return DCF_ERR_STRUCTURE;
        }
        seen |= 1U << axis;
        moved |= axis ^ i;
    }
    if (moved == 0 || seen != (1U << rank) - 1U) {
        return DCF_ERR_STRUCTURE;
    }
    return dcf_zeros(m, order + rank, (0U - rank) & 3U) ? DCF_OK : DCF_ERR_PADDING;
}

/* Check 8. */
static int block_word_read(dcf_tensor *t, uint32_t word)
{
    if (word >> 28) {
        return DCF_ERR_PADDING;
    }
    t->block_rows = word & 0xFFFFFFU;
#if DCF_WITH_BLOCKS
    t->offset_width = (uint8_t)(1U + (word >> 24 & 3U));
#endif
    t->classes = (uint8_t)(1U + (word >> 26 & 3U));
    return t->block_rows == 0 ? DCF_ERR_STRUCTURE : DCF_OK;
}

/* Rows, columns and elements. */
static void extents(dcf_tensor *t, uint32_t rank, uint32_t row_axes)
{
    dcf_size product = 1;
    uint32_t i;
    for (i = 0;; i++) {
        if (i == row_axes) {
            t->rows = product;
            product = 1;
        }
        if (i == rank) {
            break;
        }
        product *= dcf_dim(t, i);
    }
    t->columns = product;
    t->elements = t->rows * product;
}

/* Checks 4 to 8; `r->at` moves behind the fields. */
static int shape_read(dcf_record *r, uint32_t flags)
{
    dcf_tensor *t = r->tensor;
    const dcf_model *m = t->model;
    const uint32_t rank = DCF_BYTE(m, r->at + 2);
    const uint32_t row_axes = DCF_BYTE(m, r->at + 3);
    const dcf_at dims = dims_of(m, r->at);
    const uint32_t order = (uint32_t)(dims - r->at) + 4U * rank;
    uint32_t word = order;
    int err;
    r->rank = rank;
    if (rank > DCF_MAX_RANK) {
        return DCF_ERR_LIMIT;
    }
    if (row_axes > rank) {
        return DCF_ERR_STRUCTURE;
    }
    if (flags & DCF_RECORD_PERMUTED) {
        word += (rank + 3U) & ~3U;
    }
    if (word + (flags & DCF_RECORD_BLOCKED) > (uint32_t)(r->end - r->at)) { /* BLOCKED is 4 */
        return DCF_ERR_TRUNCATED;
    }
    err = extent_check(m, dims, rank);
    if (err == DCF_OK && (flags & DCF_RECORD_PERMUTED)) {
        err = order_check(m, r->at + order, rank);
    }
    if (err != DCF_OK) {
        return err;
    }
    extents(t, rank, row_axes);
    t->block_rows = t->rows;
    r->at += word;
    return (flags & DCF_RECORD_BLOCKED) ? block_word_read(t, dcf_word(r)) : DCF_OK;
}

/* ---- payload ---- */

/* What the payload's start is a multiple of, less 1. */
static dcf_size payload_mask(const dcf_model *m, uint32_t kind, dcf_size bytes)
{
    if ((kind & DCF_PLAIN) || bytes == 0) {
        return 0;
    }
    if (bytes >= 64) {
        return ((dcf_size)1 << m->align_log2) - 1U;
    }
    bytes |= 4U;
    return (bytes & (0U - bytes)) - 1U;
}

/* Check 15, and where the parts of the payload stand. `at` is the end of the payload before. */
static int payload_place(dcf_record *r, uint32_t kind, dcf_size bytes, dcf_size parts,
                         dcf_size *at)
{
    dcf_tensor *t = r->tensor;
    const dcf_model *m = t->model;
    const dcf_size section = m->stored[DCF_SLOT(DCF_SECTION_PAYLOAD)];
    const dcf_size mask = payload_mask(m, kind, bytes);
    const dcf_size start = (*at + mask) & ~mask;
    if (start > section || bytes > section - start) {
        return DCF_ERR_TRUNCATED;
    }
    t->payload = m->start[DCF_SLOT(DCF_SECTION_PAYLOAD)] + start;
#if DCF_WITH_BLOCKS
    t->offsets = t->payload + r->parameters;
#endif
    t->coded = t->payload + parts;
    t->coded_size = bytes - parts;
    *at = start + bytes;
    return DCF_OK;
}

/* ---- records ---- */

/* A mark at or before record `index`; `index` becomes the number of records from there on. */
DCF_LOCAL dcf_mark dcf_mark_before(const dcf_model *m, uint32_t *index)
{
#if DCF_MARKS
    const dcf_mark mark = m->mark[*index / m->stride];
    *index %= m->stride;
#else
    dcf_mark mark;
    (void)index;
    mark.record = m->start[DCF_SECTION_RECORDS] + 4;
    mark.payload = 0;
#endif
    return mark;
}

#if DCF_WITH_TIED

/* Check 3. */
static int tied_read(const dcf_model *m, uint32_t index, dcf_tensor *t)
{
    const uint32_t first = DCF_U32(m, t->record);
    const uint32_t second = DCF_U32(m, t->record + 4);
    uint32_t target = DCF_U32(m, t->record + 8);
    dcf_mark mark;
    t->tied = 1;
    t->index = target;
    if ((first & 0xFFU) != FIRST_FIELDS / 4 || second >> 24 != DCF_RECORD_TIED) {
        return DCF_ERR_STRUCTURE;
    }
    if (first >> 8 != 0 || second << 8 != 0) {
        return DCF_ERR_PADDING;
    }
    if (target >= index) {
        return DCF_ERR_STRUCTURE;
    }
    mark = dcf_mark_before(m, &target);
    for (; target > 0; target--) {
        mark.record += 4U * (dcf_size)DCF_BYTE(m, mark.record);
    }
    return (DCF_BYTE(m, mark.record + 7) & DCF_RECORD_TIED) ? DCF_ERR_STRUCTURE : DCF_OK;
}

#endif

/* Checks 4 to 15. */
static int untied_read(dcf_record *r, dcf_size *end)
{
    dcf_tensor *t = r->tensor;
    const dcf_model *m = t->model;
    const uint32_t kind = DCF_U32(m, t->record + 4);
    dcf_size payload;
    dcf_size parts = 0;
    int err = shape_read(r, kind >> 24);
    if (err != DCF_OK) {
        return err;
    }
    payload = (kind >> 24 & DCF_RECORD_WIDE) ? DCF_SIZE(m, t->record + 12)
                                             : DCF_U32(m, t->record + 12);
    err = dcf_rooms_read(r, kind, payload, &parts);
    if (err == DCF_ERR_UNSUPPORTED) {
        t->unsupported = 1;
        err = DCF_OK;
    }
    return err == DCF_OK ? payload_place(r, kind, payload, parts, end) : err;
}

DCF_LOCAL int dcf_record_read(const dcf_model *m, uint32_t index, dcf_mark *mark, dcf_tensor *t)
{
    const dcf_at record = mark->record;
    const dcf_at section = m->start[DCF_SECTION_RECORDS];
    const dcf_size left = m->stored[DCF_SECTION_RECORDS] - (dcf_size)(record - section);
    dcf_size size;
    uint32_t flags;
    dcf_record r;
    if (left < FIRST_FIELDS) {
        return DCF_ERR_TRUNCATED;
    }
    size = 4U * (dcf_size)DCF_BYTE(m, record);
    if (size < FIRST_FIELDS) {
        return DCF_ERR_STRUCTURE;
    }
    if (size > left) {
        return DCF_ERR_TRUNCATED;
    }
    flags = DCF_BYTE(m, record + 7);
    if (flags >= 2U * DCF_RECORD_WIDE) {
        return DCF_ERR_STRUCTURE;
    }
    dcf_clear(t, sizeof *t);
    t->model = m;
    t->record = record;
    t->index = index;
    mark->record += size;
    if (flags & DCF_RECORD_TIED) {
#if DCF_WITH_TIED
        return tied_read(m, index, t);
#else
        t->tied = 1;
        t->unsupported = 1;
        return DCF_OK;
#endif
    }
    t->layout = DCF_BYTE(m, record + 4);
    t->values = DCF_BYTE(m, record + 5);
    t->coder = DCF_BYTE(m, record + 6);
    t->crc = DCF_U32(m, record + 8);
    t->classes = 1;
    r.tensor = t;
    r.at = record;
    r.end = record + size;
    r.parameters = 0;
    r.truncated = 0;
    r.scaled = 0;
    return untied_read(&r, &mark->payload);
}

DCF_LOCAL int dcf_records_check(dcf_model *m)
{
    const dcf_size size = m->stored[DCF_SECTION_RECORDS];
    dcf_mark mark = {m->start[DCF_SECTION_RECORDS] + size, 0};
    dcf_tensor t;
    m->place = DCF_PLACE_RECORDS;
    m->item = 0;
    if (size != 0) {
        if (size < 4) {
            return DCF_ERR_TRUNCATED;
        }
        m->tensors = DCF_U32(m, m->start[DCF_SECTION_RECORDS]);
        mark.record = m->start[DCF_SECTION_RECORDS] + 4;
    }
    if (m->tensors > DCF_MAX_TENSORS || m->tensors > DCF_MOST_TENSORS) {
        return DCF_ERR_LIMIT;
    }
#if DCF_MARKS
    m->stride = m->tensors / DCF_MARKS + 1U;
#endif
    for (; m->item < m->tensors; m->item++) {
        int err;
#if DCF_MARKS
        if (m->item % m->stride == 0) {
            m->mark[m->item / m->stride] = mark;
        }
#endif
        err = dcf_record_read(m, m->item, &mark, &t);
        if (err != DCF_OK) {
            return err;
        }
    }
    m->place = DCF_PLACE_END;
    m->item = DCF_SECTION_RECORDS;
    if (mark.record != m->start[DCF_SECTION_RECORDS] + size) {
        return DCF_ERR_STRUCTURE;
    }
    m->item = DCF_SECTION_PAYLOAD;
    return mark.payload == m->stored[DCF_SLOT(DCF_SECTION_PAYLOAD)] ? DCF_OK : DCF_ERR_STRUCTURE;
}

int dcf_tensor_at(const dcf_model *m, uint32_t index, dcf_tensor *t)
{
    int err = DCF_ERR_ARGUMENT;
    while (index < m->tensors) {
        uint32_t steps = index;
        dcf_mark mark = dcf_mark_before(m, &steps);
        uint32_t at = index - steps;
        do {
            err = dcf_record_read(m, at, &mark, t);
        } while (err == DCF_OK && at++ != index);
        if (err != DCF_OK || !DCF_WITH_TIED || !t->tied) {
            break;
        }
        index = t->index;
    }
    return DCF_RESULT(m, err);
}

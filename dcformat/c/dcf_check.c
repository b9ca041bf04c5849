/* The full check. Spec: spec/DCF.md, "Full check". Sister: dcformat/decode.py. */
#include "dcf_internal.h"

#if DCF_WITH_CHECK

/* What stands at the begin of the workspace, aligned; tables and buffer follow. */
typedef struct checker {
    dcf_tensor tensor;
    dcf_cursor cursor;
    dcf_mark mark;
} checker;

enum { ALIGN = sizeof(void *), BUFFER = 64 };

/* Decode piece by piece through `buffer` of `bytes` bytes. */
static int numbers_check(checker *w, uint8_t *buffer, dcf_size bytes)
{
    const uint32_t width = w->tensor.width;
    const dcf_size room = dcf_divide(bytes, width);
    uint32_t crc = 0;
    dcf_size got;
    int err = dcf_cursor_init(&w->cursor, &w->tensor, 0);
    do {
        if (err == DCF_OK) {
            err = dcf_cursor_next(&w->cursor, buffer, room, &got);
        }
        if (err != DCF_OK) {
            return err;
        }
        crc = dcf_crc(crc, buffer, got * width);
    } while (got > 0);
    return crc == w->tensor.crc ? DCF_OK : DCF_ERR_CHECKSUM;
}

static int tensor_check(checker *w, uint8_t *memory, dcf_size bytes)
{
    dcf_size used;
    int err;
    if (w->tensor.unsupported) {
        return DCF_OK;
    }
    if (bytes < BUFFER) {
        return DCF_ERR_SPACE;
    }
    err = dcf_prepare(&w->tensor, memory, bytes - BUFFER);
    used = dcf_workspace_bytes(&w->tensor);
    used = used < bytes - BUFFER ? used : bytes - BUFFER;
    return err == DCF_OK ? numbers_check(w, memory + used, bytes - used) : err;
}

/* All records: in pass 0 the padding before their payloads, in pass 1 their numbers. */
static int records_check(const dcf_model *m, checker *w, dcf_size bytes, uint32_t *failing)
{
    const dcf_at payload = m->start[DCF_SLOT(DCF_SECTION_PAYLOAD)];
    uint32_t pass;
    int err = DCF_OK;
    for (pass = 0; pass < 2; pass++) {
        *failing = 0;
        w->mark = dcf_mark_before(m, failing);
        for (; *failing < m->tensors; ++*failing) {
            const dcf_at end = payload + w->mark.payload;
            err = dcf_record_read(m, *failing, &w->mark, &w->tensor);
            if (err == DCF_OK && !w->tensor.tied) {
                if (pass != 0) {
                    err = tensor_check(w, (uint8_t *)(w + 1), bytes);
                } else if (!dcf_zeros(m, end, (dcf_size)(w->tensor.payload - end))) {
                    err = DCF_ERR_PADDING;
                }
            }
            if (err != DCF_OK) {
                return err;
            }
        }
    }
    *failing = DCF_NO_TENSOR;
    return DCF_OK;
}

int dcf_check(const dcf_model *m, void *workspace, dcf_size bytes, uint32_t *failing)
{
    const uint32_t spare = (uint32_t)(0U - (uintptr_t)workspace) & (ALIGN - 1U);
    checker *w = (checker *)(void *)((uint8_t *)workspace + spare);
    int err = dcf_sections_crc(m, 1, failing);
    *failing = DCF_NO_TENSOR;
    if (err == DCF_OK) {
        err = DCF_ERR_SPACE;
        if (bytes >= sizeof *w + ALIGN) {
            err = records_check(m, w, bytes - (dcf_size)sizeof *w - ALIGN, failing);
        }
    }
    return DCF_RESULT(m, err);
}

dcf_size dcf_check_bytes(const dcf_model *m)
{
    dcf_size most = 0;
    dcf_tensor t;
    uint32_t i = 0;
    dcf_mark mark = dcf_mark_before(m, &i);
    for (; i < m->tensors; i++) {
        if (dcf_record_read(m, i, &mark, &t) == DCF_OK && !t.tied) {
            const dcf_size bytes = dcf_workspace_bytes(&t);
            most = bytes > most ? bytes : most;
        }
    }
    return most + (dcf_size)sizeof(checker) + ALIGN + BUFFER;
}
#elif !defined(DCF_ONE_FILE)

typedef int dcf_no_check; /* ISO C wants something in every file */

#endif

/* What a record says beside what decoding needs. Spec: spec/DCF.md, "RECORDS", and the pages of the
 * values rooms. */
#include "dcf_internal.h"

#if DCF_WITH_INFO

/* The parameters of the values room, that `at` begins with; they were checked. */
static void values_info(const dcf_tensor *t, dcf_at at, dcf_info *info)
{
    const dcf_model *m = t->model;
    uint32_t word;
    if (t->values == DCF_VALUES_RAW) {
        return;
    }
    word = DCF_U32(m, at);
    at += 4;
    if (t->values == DCF_VALUES_CODEBOOK) {
        info->scale_kind = (uint8_t)(word >> 16);
        if (info->scale_kind == DCF_SCALE_AXIS) {
            info->axis = (uint8_t)(word >> 24);
        } else if (info->scale_kind == DCF_SCALE_FRACTION) {
            info->fraction = (int8_t)dcf_signed(word >> 24, 8);
        } else if (info->scale_kind == DCF_SCALE_TENSOR) {
            info->scale = DCF_U32(m, at);
        }
        return;
    }
    info->axis = (uint8_t)(word >> 8);
    if (t->width == 1) {
        at += 4;
    }
    if (t->values == DCF_VALUES_FIXED || t->values == DCF_VALUES_POW2) {
        info->fraction = (int8_t)dcf_signed(word >> 16 & 0xFFU, 8);
        return;
    }
    info->affine_flags = (uint8_t)(word >> 16);
    if (info->affine_flags & DCF_AFFINE_BLOCKED) {
        info->scale_block = DCF_U32(m, at);
    } else if (info->axis == DCF_NO_AXIS) {
        info->scale = DCF_U32(m, at);
        if (info->affine_flags & DCF_AFFINE_ZERO_POINTS) {
            info->zero_point = dcf_signed(DCF_U32(m, at + 4), 32);
        }
    }
}

int dcf_info_of(const dcf_tensor *t, dcf_info *info)
{
    const dcf_model *m = t->model;
    const uint32_t flags = DCF_BYTE(m, t->record + 7);
    dcf_at at = t->record + ((flags & DCF_RECORD_WIDE) ? 20 : 16);
    uint32_t i;
    dcf_clear(info, sizeof *info);
    info->dtype = DCF_BYTE(m, t->record + 1);
    info->rank = DCF_BYTE(m, t->record + 2);
    info->row_axes = DCF_BYTE(m, t->record + 3);
    info->axis = DCF_NO_AXIS;
    info->scale_block = 1;
    at += 4 * (dcf_size)info->rank;
    for (i = 0; i < info->rank; i++) {
        info->dims[i] = dcf_dim(t, i);
        info->order[i] = (uint8_t)((flags & DCF_RECORD_PERMUTED) ? DCF_BYTE(m, at + i) : i);
    }
    at += (flags & DCF_RECORD_PERMUTED) ? (info->rank + 3U) & ~3U : 0U;
    at += (flags & DCF_RECORD_BLOCKED) + (t->layout == DCF_LAYOUT_DENSE ? 0U : 4U); /* BLOCKED is 4 */
    if (!t->unsupported) {
        values_info(t, at, info);
    }
    return DCF_RESULT(m, DCF_OK);
}

#elif !defined(DCF_ONE_FILE)

typedef int dcf_no_info; /* ISO C wants something in every file */

#endif

/* Element types. Spec: spec/registry.md, "Element types". Sister: dcformat/ids.py. */
#include "dcf_internal.h"

/* Widths by id; 0 where no type has the id. */
static const uint8_t WIDTH[DCF_DTYPE_INT2 + 1] = {
    0, 4, 1, 1, 2, 2, 4, 8, 0, 1, 2, 8, 4, 8, 8, 16, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
};

uint32_t dcf_dtype_width(uint32_t dtype)
{
    return dtype <= DCF_DTYPE_INT2 ? WIDTH[dtype] : 0;
}

void dcf_dtype_range(uint32_t dtype, int32_t *low, int32_t *high)
{
    uint32_t bits = 8;
    if (dtype == DCF_DTYPE_BOOL) {
        bits = 1;
    } else if (dtype == DCF_DTYPE_UINT2 || dtype == DCF_DTYPE_INT2) {
        bits = 2;
    } else if (dtype >= DCF_DTYPE_UINT4 && dtype <= DCF_DTYPE_FLOAT4E2M1) {
        bits = 4;
    }
    *low = 0;
    *high = (int32_t)(((uint32_t)1 << bits) - 1U);
    if (dtype == DCF_DTYPE_INT8 || dtype == DCF_DTYPE_INT4 || dtype == DCF_DTYPE_INT2) {
        *low = -(int32_t)((uint32_t)1 << (bits - 1U));
        *high = -1 - *low;
    }
}

int dcf_dtype_scaled(uint32_t dtype)
{
    return dtype == DCF_DTYPE_FLOAT || dtype == DCF_DTYPE_FLOAT16 || dtype == DCF_DTYPE_BFLOAT16 ||
           dtype == DCF_DTYPE_DOUBLE;
}

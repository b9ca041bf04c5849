/* Element types. Spec: spec/registry.md, "Element types". Sister: dcformat/ids.py. */
#include "dcf_internal.h"

enum { WIDTH = 31, NARROWER = 5, SIGNED = 128, HALF = 1 << NARROWER, QUARTER = 2 << NARROWER, EIGHTH = 3 << NARROWER };

/* By id: the width, 0 where no type has the id; how often its bits are half of those of its bytes;
 * whether it is a signed integer. */
static const uint8_t DCF_PROGMEM TYPES[DCF_DTYPE_INT2 + 1] = {
    0, 4, 1, 1 | SIGNED, 2, 2 | SIGNED, 4, 8, 0, 1 | EIGHTH, 2, 8, 4, 8, 8, 16, 2, 1, 1, 1, 1,
    1 | HALF, 1 | HALF | SIGNED, 1 | HALF, 1, 1 | QUARTER, 1 | QUARTER | SIGNED,
};

static uint32_t type(uint32_t dtype)
{
    return dtype <= DCF_DTYPE_INT2 ? DCF_READ8(TYPES + dtype) : 0U;
}

DCF_LOCAL uint32_t dcf_dtype_width(uint32_t dtype)
{
    return type(dtype) & WIDTH;
}

DCF_LOCAL int dcf_dtype_holds(uint32_t dtype, int32_t value)
{
    const uint32_t t = type(dtype);
    const uint32_t bits = ((t & WIDTH) * 8U) >> ((t >> NARROWER) & 3U);
    uint32_t place = (uint32_t)value;
    if (t & SIGNED) {
        place += (uint32_t)1 << (bits - 1U);
    }
    return place >> bits == 0;
}

DCF_LOCAL int dcf_dtype_scaled(uint32_t dtype)
{
    const uint32_t scaled = DCF_BIT(DCF_DTYPE_FLOAT) | DCF_BIT(DCF_DTYPE_FLOAT16) |
                            DCF_BIT(DCF_DTYPE_BFLOAT16) | DCF_BIT(DCF_DTYPE_DOUBLE);
    return dtype <= DCF_DTYPE_INT2 && (scaled >> dtype & 1U);
}

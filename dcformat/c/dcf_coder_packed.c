/* Symbols of fixed width, least significant bit first. Spec: spec/encodings/coder_packed.md.
 * Sister: dcformat/encodings/coder_packed.py. */
#include "dcf_internal.h"

uint32_t dcf_packed_bits(uint32_t alphabet)
{
    uint32_t bits = 0;
    while (((uint32_t)1 << bits) < alphabet) {
        bits++;
    }
    return bits;
}

int dcf_packed_symbol(dcf_cursor *cursor, uint32_t stream, uint32_t *symbol)
{
    const dcf_tensor *t = cursor->tensor;
    dcf_bits *b = &cursor->bits;
    const int is_gap = stream == 0 && t->layout == DCF_LAYOUT_GAP;
    const uint32_t bits = is_gap ? t->gap_bits : t->symbol_bits;
    const uint32_t below = is_gap ? t->highest_gap + 1U : t->alphabet;
    if (b->have < bits) {
        while (b->have <= 24 && b->pos < b->size) {
            b->acc |= (uint32_t)b->data[b->pos++] << b->have;
            b->have += 8;
        }
        if (b->have < bits) {
            return DCF_ERR_TRUNCATED;
        }
    }
    *symbol = b->acc & (((uint32_t)1 << bits) - 1U);
    b->acc >>= bits;
    b->have -= bits;
    return *symbol < below ? DCF_OK : DCF_ERR_RANGE;
}

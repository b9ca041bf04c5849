/* Symbols of fixed width, least significant bit first. Spec: spec/encodings/coder_packed.md.
 * Sister: dcformat/encodings/coder_packed.py. */
#include "dcf_internal.h"

DCF_LOCAL uint32_t dcf_packed_bits(uint32_t alphabet)
{
    uint32_t bits = 0;
    while (((uint32_t)1 << bits) < alphabet) {
        bits++;
    }
    return bits;
}

/* CRC-32 of zlib, PNG and Ethernet. Spec: spec/DCF.md, "Conventions". */
#include "dcf_internal.h"

/* What a nibble adds to the CRC. */
static const uint32_t NIBBLE[16] = {
    0x00000000U, 0x1DB71064U, 0x3B6E20C8U, 0x26D930ACU, 0x76DC4190U, 0x6B6B51F4U,
    0x4DB26158U, 0x5005713CU, 0xEDB88320U, 0xF00F9344U, 0xD6D6A3E8U, 0xCB61B38CU,
    0x9B64C2B0U, 0x86D3D2D4U, 0xA00AE278U, 0xBDBDF21CU,
};

static uint32_t one_byte(uint32_t crc, uint32_t byte)
{
    crc ^= byte;
    crc = (crc >> 4) ^ NIBBLE[crc & 15U];
    return (crc >> 4) ^ NIBBLE[crc & 15U];
}

#if DCF_HOST

enum { SLICES = 16, SLICED_FROM = 8192 /* tables take 4096 steps */ };

/* Sixteen bytes at a time, with tables made here, as the core keeps none: table[k][n] is what
 * byte n adds to the CRC with k more bytes behind it. */
static uint32_t sliced(uint32_t crc, const uint8_t *data, size_t blocks)
{
    uint32_t table[SLICES][256];
    uint32_t i;
    int k;
    for (i = 0; i < 256; i++) {
        table[0][i] = one_byte(0, i);
        for (k = 1; k < SLICES; k++) {
            table[k][i] = one_byte(table[k - 1][i], 0);
        }
    }
    for (; blocks > 0; blocks--) {
        uint32_t words[4];
        uint32_t sum = 0;
        for (k = 0; k < 4; k++) {
            words[k] = dcf_u32(data + 4 * k);
        }
        words[0] ^= crc;
        for (k = 0; k < 4; k++) {
            const uint32_t w = words[k];
            sum ^= table[15 - 4 * k][w & 0xFFU] ^ table[14 - 4 * k][(w >> 8) & 0xFFU] ^
                   table[13 - 4 * k][(w >> 16) & 0xFFU] ^ table[12 - 4 * k][w >> 24];
        }
        crc = sum;
        data += SLICES;
    }
    return crc;
}

#endif

uint32_t dcf_crc(uint32_t crc, const uint8_t *data, size_t size)
{
    size_t i = 0;
    crc = ~crc;
#if DCF_HOST
    if (size >= SLICED_FROM) {
        i = size - size % SLICES;
        crc = sliced(crc, data, i / SLICES);
    }
#endif
    for (; i < size; i++) {
        crc = one_byte(crc, data[i]);
    }
    return ~crc;
}

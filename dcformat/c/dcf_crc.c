/* CRC-32 of zlib, PNG and Ethernet. Spec: spec/DCF.md, "Conventions". */
#include "dcf_internal.h"

#if DCF_WITH_CRC_TABLE

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

#else

static uint32_t one_byte(uint32_t crc, uint32_t byte)
{
    uint32_t i;
    crc ^= byte;
    for (i = 0; i < 8; i++) {
        crc = (crc >> 1) ^ (0xEDB88320U & (0U - (crc & 1U)));
    }
    return crc;
}

#endif

#if DCF_HOST
uint32_t dcf_crc_byte(uint32_t crc, uint32_t byte)
{
    return one_byte(crc, byte);
}
#endif

uint32_t dcf_crc(uint32_t crc, const uint8_t *data, dcf_size size)
{
    dcf_size i = 0;
    crc = ~crc;
#if DCF_HOST
    i = dcf_host_crc(&crc, data, size);
#endif
    for (; i < size; i++) {
        crc = one_byte(crc, data[i]);
    }
    return ~crc;
}

#ifndef dcf_crc_stored
DCF_LOCAL uint32_t dcf_crc_stored(const dcf_model *model, uint32_t crc, dcf_at at, dcf_size size)
{
    for (crc = ~crc; size > 0; size--) {
        crc = one_byte(crc, DCF_BYTE(model, at));
        at++;
    }
    return ~crc;
}
#endif

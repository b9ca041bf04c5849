/* Open a file whose first bytes are those of a good header, and whose other bytes are any. */
#include "dcf.h"

#include "__fc_builtin.h"

#ifndef BYTES
#define BYTES 88
#endif

static const uint8_t MAGIC[16] = {0x89, 0x44, 0x43, 0x46, 0x0d, 0x0a, 0x1a, 0x0a,
                                  0,    0,    1,    0,    0x30, 0,    0,    0};
static uint8_t file[BYTES];
static dcf_model model;

uint32_t dcf_crc(uint32_t crc, const uint8_t *data, dcf_size size)
{
    uint32_t any;
    Frama_C_make_unknown((char *)&any, sizeof any);
    return size ? crc ^ any ^ data[0] ^ data[size - 1] : any;
}

int main(void)
{
    int i;
    Frama_C_make_unknown((char *)file, BYTES);
    for (i = 0; i < 16; i++) {
        file[i] = MAGIC[i];
    }
    return dcf_open(&model, file, SIZE);
}

/* What decoding costs at least: 4-bit numbers, two a byte, each looked up among 16 levels. */
#include "board.h"
#include "dcf.h"

static uint8_t numbers[NUMBERS];
static int8_t levels[16];

__attribute__((noinline)) static void unpack(const uint8_t *packed, int8_t *out, size_t pairs)
{
    size_t i;
    for (i = 0; i < pairs; i++) {
        const uint8_t two = packed[i];
        out[2 * i] = levels[two & 15];
        out[2 * i + 1] = levels[two >> 4];
    }
}

int run(void)
{
    uint32_t said[2];
    size_t i;
    for (i = 0; i < 16; i++) {
        levels[i] = (int8_t)i;
    }
    mark();
    unpack(blob, (int8_t *)numbers, NUMBERS / 2);
    mark();
    said[0] = dcf_crc(0, numbers, NUMBERS);
    said[1] = sizeof levels;
    say("end", said, 2);
    return 0;
}

/* Unpack the blob with heatshrink's decoder in its static form. */
#include "board.h"
#include "dcf.h"
#include "heatshrink_decoder.h"

static heatshrink_decoder decoder;
static uint8_t numbers[NUMBERS];
static uint8_t packed[2 * NUMBERS]; /* what does not shrink takes 9 bits a byte */

static size_t unpack(size_t size)
{
    size_t at = 0;
    size_t made = 0;
    heatshrink_decoder_reset(&decoder);
    while (made < NUMBERS) {
        size_t count = 0;
        if (at < size && heatshrink_decoder_sink(&decoder, packed + at, size - at, &count) < 0) {
            return 0;
        }
        at += count;
        if (heatshrink_decoder_poll(&decoder, numbers + made, NUMBERS - made, &count) < 0) {
            return 0;
        }
        if (count == 0 && at == size) {
            return made;
        }
        made += count;
    }
    return made;
}

int run(void)
{
    const size_t size = (size_t)(blob_end - blob);
    uint32_t said[2];
    size_t i;
    for (i = 0; i < size && i < sizeof packed; i++) {
        packed[i] = blob[i];
    }
    mark();
    if (unpack(size) != NUMBERS) {
        return 1;
    }
    mark();
    said[0] = dcf_crc(0, numbers, NUMBERS);
    said[1] = sizeof decoder;
    say("end", said, 2);
    return 0;
}

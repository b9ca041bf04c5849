/* Inflate the blob, raw deflate without a checksum, with zlib. */
#include "board.h"
#include "dcf.h"
#include "zlib.h"

static uint8_t numbers[NUMBERS];
static uint8_t memory[65536];
static size_t used;

static voidpf take(voidpf opaque, uInt items, uInt size)
{
    uint8_t *taken = memory + used;
    (void)opaque;
    used += ((size_t)items * size + 7U) & ~(size_t)7U;
    return used <= sizeof memory ? taken : Z_NULL;
}

static void give(voidpf opaque, voidpf address)
{
    (void)opaque;
    (void)address;
}

static int unpack(z_stream *stream)
{
    stream->zalloc = take;
    stream->zfree = give;
    stream->next_in = (z_const Bytef *)blob;
    stream->avail_in = (uInt)(blob_end - blob);
    stream->next_out = numbers;
    stream->avail_out = NUMBERS;
    return inflateInit2(stream, -15) == Z_OK && inflate(stream, Z_FINISH) == Z_STREAM_END;
}

int run(void)
{
    static z_stream stream;
    uint32_t said[2];
    int done;
    mark();
    done = unpack(&stream);
    mark();
    said[0] = dcf_crc(0, numbers, NUMBERS);
    said[1] = (uint32_t)(sizeof stream + used);
    say("end", said, 2);
    return done && stream.avail_out == 0 ? 0 : 1;
}

/* libFuzzer entry: any bytes, as they are and with their CRCs made right.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -Idcformat/c -Itests/c \
 *         dcformat/c/*.c tests/c/exercise.c tests/fuzz/fuzz_decode.c -o fuzz_decode
 *     ./fuzz_decode corpus tests/vectors/valid
 *
 * What it looks for is the list of spec/SECURITY.md: S1 and S2 by AddressSanitizer on buffers of
 * exact size, S3 by allocating no more than the limits allow, S4 by libFuzzer's timeout, S6 by
 * comparing decode, rows and cursor, which must give the same numbers or the same error.
 */
#include <stdlib.h>
#include <string.h>

#include "dcf.h"
#include "exercise.h"

static uint32_t get(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put(uint8_t *p, uint32_t value)
{
    int i;
    for (i = 0; i < 4; i++) {
        p[i] = (uint8_t)(value >> (8 * i));
    }
}

/* Make file_size and the CRCs right, so that fuzzing reaches what stands behind them. */
static void repair(uint8_t *data, size_t size)
{
    const size_t header = size < 48 ? 0 : (size_t)data[12] | (size_t)data[13] << 8;
    const size_t count = size < 48 ? 0 : (size_t)data[14] | (size_t)data[15] << 8;
    size_t i;
    if (header < 48 || header > 64 || header + 32 * count > size) {
        return;
    }
    put(data + 16, (uint32_t)size);
    put(data + 20, 0);
    for (i = 0; i < count; i++) {
        uint8_t *entry = data + header + 32 * i;
        const size_t offset = get(entry + 8);
        const size_t stored = get(entry + 16);
        if (offset <= size && stored <= size - offset) {
            put(entry + 4, dcf_crc(0, data + offset, stored));
        }
    }
    put(data + 36, dcf_crc(0, data + header, 32 * count));
    put(data + 44, dcf_crc(dcf_crc(0, data, 44), data + 48, header - 48));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = (uint8_t *)malloc(size ? size : 1);
    int bad;
    if (!copy) {
        return 0;
    }
    if (size) {
        memcpy(copy, data, size);
    }
    bad = exercise(copy, size, NULL);
    repair(copy, size);
    bad |= exercise(copy, size, NULL);
    free(copy);
    if (bad) {
        abort();
    }
    return 0;
}

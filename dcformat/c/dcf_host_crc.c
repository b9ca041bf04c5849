/* CRC-32 in long steps. Only built with DCF_HOST=1. Spec: spec/DCF.md, "Conventions".
 *
 * Where the processor multiplies without carries, four lanes of 16 bytes are folded over what
 * follows them: the product with x^n modulo the polynomial stands for the same bits n places on
 * (Gopal et al., "Fast CRC Computation Using PCLMULQDQ", 2009). Elsewhere sixteen tables.
 */
#include "dcf_internal.h"

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
        table[0][i] = dcf_crc_byte(0, i);
        for (k = 1; k < SLICES; k++) {
            table[k][i] = dcf_crc_byte(table[k - 1][i], 0);
        }
    }
    for (; blocks > 0; blocks--) {
        uint32_t words[4];
        uint32_t sum = 0;
        for (k = 0; k < 4; k++) {
            words[k] = dcf_load32(data + 4 * k);
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

#if defined(__GNUC__) && defined(__x86_64__)

#include <immintrin.h>

#define FOLDS __attribute__((target("sse2,pclmul")))

enum { WIDE = 16, STEP = 4 * WIDE, PAIRS = 8 * WIDE };

static FOLDS inline __m128i bytes_at(const uint8_t *data)
{
    return _mm_loadu_si128((const __m128i *)(const void *)data);
}

/* `power` has x^(n + 32) and x^(n - 32), reflected, of which a product is one place too low. */
static FOLDS inline __m128i fold(__m128i x, __m128i power, __m128i next)
{
    const __m128i low = _mm_clmulepi64_si128(x, power, 0x00);
    const __m128i high = _mm_clmulepi64_si128(x, power, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

/* `size` is a multiple of 16, and 64 at least. */
static FOLDS uint32_t folded(uint32_t crc, const uint8_t *data, size_t size)
{
    const __m128i far = _mm_set_epi64x(0x1C6E41596, 0x154442BD4);  /* n = 512 */
    const __m128i near = _mm_set_epi64x(0x0CCAA009E, 0x1751997D0); /* n = 128 */
    __m128i x[4];
    uint8_t rest[WIDE];
    int i;
    for (i = 0; i < 4; i++) {
        x[i] = bytes_at(data + i * WIDE);
    }
    x[0] = _mm_xor_si128(x[0], _mm_cvtsi32_si128((int)crc));
    for (data += STEP, size -= STEP; size >= STEP; data += STEP, size -= STEP) {
        for (i = 0; i < 4; i++) {
            x[i] = fold(x[i], far, bytes_at(data + i * WIDE));
        }
    }
    for (i = 1; i < 4; i++) {
        x[0] = fold(x[0], near, x[i]);
    }
    for (; size > 0; data += WIDE, size -= WIDE) {
        x[0] = fold(x[0], near, bytes_at(data));
    }
    _mm_storeu_si128((__m128i *)(void *)rest, x[0]);
    for (crc = 0, i = 0; i < WIDE; i++) {
        crc = dcf_crc_byte(crc, rest[i]);
    }
    return crc;
}

#if (defined(__clang__) && __clang_major__ >= 7) || (!defined(__clang__) && __GNUC__ >= 9)

#define FOLDS_PAIRS __attribute__((target("avx2,pclmul,vpclmulqdq")))

static FOLDS_PAIRS inline __m256i pair_at(const uint8_t *data)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)data);
}

/* The same with eight lanes of 16 bytes, two in a register; `size` is a multiple of 128, and 128
 * at least. */
static FOLDS_PAIRS uint32_t folded_pairs(uint32_t crc, const uint8_t *data, size_t size)
{
    const __m256i power = _mm256_set_epi64x(0x14A7FE880, 0x1E88EF372, 0x14A7FE880, 0x1E88EF372); /* n = 1024 */
    __m256i x[4];
    uint8_t rest[PAIRS];
    int i;
    for (i = 0; i < 4; i++) {
        x[i] = pair_at(data + i * 2 * WIDE);
    }
    x[0] = _mm256_xor_si256(x[0], _mm256_zextsi128_si256(_mm_cvtsi32_si128((int)crc)));
    for (data += PAIRS, size -= PAIRS; size > 0; data += PAIRS, size -= PAIRS) {
        for (i = 0; i < 4; i++) {
            const __m256i low = _mm256_clmulepi64_epi128(x[i], power, 0x00);
            const __m256i high = _mm256_clmulepi64_epi128(x[i], power, 0x11);
            x[i] = _mm256_xor_si256(_mm256_xor_si256(low, high), pair_at(data + i * 2 * WIDE));
        }
    }
    for (i = 0; i < 4; i++) {
        _mm256_storeu_si256((__m256i *)(void *)(rest + i * 2 * WIDE), x[i]);
    }
    return folded(0, rest, PAIRS);
}

static int can_fold_pairs(size_t size)
{
    return size >= PAIRS && __builtin_cpu_supports("avx2") &&
           __builtin_cpu_supports("vpclmulqdq");
}

#else

static uint32_t folded_pairs(uint32_t crc, const uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
    return crc;
}

static int can_fold_pairs(size_t size)
{
    (void)size;
    return 0;
}

#endif

/* Move the CRC over `size` bytes or a few less; returns over how many. */
static size_t fold_all(uint32_t *crc, const uint8_t *data, size_t size)
{
    size_t done = 0;
    if (!__builtin_cpu_supports("pclmul")) {
        return 0;
    }
    if (can_fold_pairs(size)) {
        done = size - size % PAIRS;
        *crc = folded_pairs(*crc, data, done);
    }
    if (size - done >= STEP) {
        const size_t more = (size - done) - (size - done) % WIDE;
        *crc = folded(*crc, data + done, more);
        done += more;
    }
    return done;
}

#else

static size_t fold_all(uint32_t *crc, const uint8_t *data, size_t size)
{
    (void)crc;
    (void)data;
    (void)size;
    return 0;
}

#endif

size_t dcf_host_crc(uint32_t *crc, const uint8_t *data, size_t size)
{
    size_t done = fold_all(crc, data, size);
    if (done == 0 && size >= SLICED_FROM) {
        done = size - size % SLICES;
        *crc = sliced(*crc, data, done / SLICES);
    }
    return done;
}

#endif

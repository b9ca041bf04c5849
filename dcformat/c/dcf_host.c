/* Long steps for hosts, without tables. Only built with DCF_HOST=1.
 *
 * Spec: spec/encodings/coder_packed.md and those of the layouts.
 */
#include "dcf_internal.h"

#if DCF_HOST

/* ---- background ---- */

void dcf_host_fill(const dcf_tensor *tensor, uint8_t *out, size_t count)
{
    uint8_t number[16] = {0};
    const uint32_t width = tensor->width;
    size_t i;
    if (tensor->symbols == 1) {
        dcf_number(tensor, tensor->background, number);
    }
    for (i = 1; i < width && number[i] == number[0]; i++) {
    }
    if (i >= width) {
        memset(out, number[0], count * width);
        return;
    }
    for (i = 0; i < count; i++) {
        memcpy(out + i * width, number, width);
    }
}

/* ---- levels ---- */

/* Put levels in place of the symbols that stand at the end of `out`, from the first on: a level is
 * not written over a symbol before that was read. */
static inline void levels_of_width(const uint8_t *levels, uint8_t *out, size_t count, size_t width)
{
    const uint8_t *symbols = out + (width - 1U) * count;
    size_t i = 0;
    for (; count - i >= 8; i += 8) {
        uint64_t eight = dcf_u64(symbols + i);
        size_t k;
        for (k = 0; k < 8; k++) {
            memcpy(out + (i + k) * width, levels + (size_t)(eight & 0xFFU) * width, width);
            eight >>= 8;
        }
    }
    for (; i < count; i++) {
        memcpy(out + i * width, levels + symbols[i] * width, width);
    }
}

void dcf_host_levels(const dcf_tensor *t, uint8_t *out, size_t count)
{
    switch (t->width) {
    case 2:
        levels_of_width(t->levels, out, count, 2);
        break;
    case 4:
        levels_of_width(t->levels, out, count, 4);
        break;
    case 8:
        levels_of_width(t->levels, out, count, 8);
        break;
    default:
        levels_of_width(t->levels, out, count, 16);
    }
}

/* ---- layout_dense, coder_packed ---- */

/* Numbers of several bytes stand in the block as they are. */
static size_t packed_wide(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const uint32_t width = cursor->tensor->width;
    const size_t pos = cursor->bit >> 3;
    const size_t there = (cursor->size - pos) / width;
    const size_t n = count < there ? count : there;
    memcpy(out, cursor->data + pos, n * width);
    cursor->bit += 8U * n * width;
    return n;
}

/* Eight symbols at a time take as many bytes as one takes bits; `number` maps them. A symbol
 * outside the alphabet is left to the careful loop. */
static size_t packed_narrow(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const dcf_tensor *t = cursor->tensor;
    const size_t last = cursor->size < 8 ? 0 : cursor->size - 7U; /* behind it, eight are not left */
    size_t pos = cursor->bit >> 3;
    const uint32_t bits = t->symbol_bits;
    const uint32_t mask = ((uint32_t)1 << bits) - 1U;
    const uint32_t base = t->base;
    size_t i = 0;
    while (count - i >= 8 && pos < last) {
        uint64_t word = dcf_u64(cursor->data + pos);
        uint32_t most = 0;
        int j;
        for (j = 0; j < 8; j++) {
            const uint32_t symbol = (uint32_t)word & mask;
            most = symbol > most ? symbol : most;
            out[i + (size_t)j] = (uint8_t)(symbol + base);
            word >>= bits;
        }
        if (most >= t->alphabet) {
            break;
        }
        pos += bits;
        i += 8;
    }
    cursor->bit = 8U * pos;
    return i;
}

static size_t packed_levels(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const dcf_tensor *t = cursor->tensor;
    const size_t last = cursor->size < 8 ? 0 : cursor->size - 7U; /* behind it, eight are not left */
    size_t pos = cursor->bit >> 3;
    const uint32_t bits = t->symbol_bits;
    const uint32_t mask = ((uint32_t)1 << bits) - 1U;
    size_t i = 0;
    while (count - i >= 8 && pos < last) {
        uint64_t word = dcf_u64(cursor->data + pos);
        int j;
        for (j = 0; j < 8; j++) {
            const uint32_t symbol = (uint32_t)word & mask;
            if (symbol >= t->alphabet) {
                cursor->bit = 8U * pos;
                return i;
            }
            dcf_put(t, symbol, out + (i + (size_t)j) * t->width);
            word >>= bits;
        }
        pos += bits;
        i += 8;
    }
    cursor->bit = 8U * pos;
    return i;
}

size_t dcf_host_packed(dcf_cursor *cursor, uint8_t *out, size_t count)
{
    const dcf_tensor *t = cursor->tensor;
    size_t done = 0;
    if (t->coder != DCF_CODER_PACKED || (cursor->bit & 7U) != 0) {
        return 0;
    }
    if (t->symbols > 1) {
        done = packed_wide(cursor, out, count);
    } else if (t->levels) {
        done = packed_levels(cursor, out, count);
    } else {
        done = packed_narrow(cursor, out, count);
    }
    cursor->left -= done;
    return done;
}

/* ---- blocks ---- */

/* How many blocks from cursor->block on have at most `room` elements, and these: `count`. */
static size_t blocks_within(const dcf_cursor *cursor, size_t room, size_t *count)
{
    const dcf_tensor *t = cursor->tensor;
    const size_t per = t->block_rows * t->columns;
    const size_t rest = t->elements - cursor->block * per;
    if (room >= rest) {
        *count = rest;
        return t->blocks - cursor->block;
    }
    *count = room - room % per;
    return room / per;
}

size_t dcf_host_blocks(dcf_cursor *cursor, uint8_t *out, size_t room)
{
    const dcf_tensor *t = cursor->tensor;
    size_t count;
    const size_t blocks = blocks_within(cursor, room, &count);
    const size_t stop = cursor->block + blocks;
    int good = 0;
    if (blocks != 0 && t->lookup_fast) {
        good = dcf_host_narrow(t, cursor->block, stop, out, count);
    } else if (blocks != 0 && t->lookup && t->symbols > 1) {
        good = dcf_host_wide(t, cursor->block, stop, out);
    }
    if (!good) {
        return 0;
    }
    cursor->block = stop;
    return count;
}

#endif

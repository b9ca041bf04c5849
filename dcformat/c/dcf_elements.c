/* From bits to numbers: the elements of a block. Spec: spec/DCF.md, "Decoding a tensor", and the
 * pages of layouts and coders. */
#include "dcf_internal.h"

DCF_LOCAL void dcf_number(const dcf_tensor *t, uint32_t symbol, uint8_t *out)
{
    uint32_t i;
    for (i = 0; i < t->width; i++) {
        uint32_t number = symbol + t->base;
#if DCF_WITH_CODEBOOK
        if (t->levels) {
            number = DCF_BYTE(t->model, t->levels + (dcf_size)symbol * t->width + i);
        }
#endif
        out[i] = (uint8_t)number;
    }
}

/* More bits behind those that there are, fewer than a code may have. */
DCF_IN_PLACE static inline uint32_t more_bits(dcf_cursor *c, uint32_t bits, int32_t have)
{
#if DCF_WITH_HUFFMAN
    bits |= DCF_BITS(c->tensor->model, c->at) >> have;
    c->at += (31U - (uint32_t)have) >> 3;
#else
    (void)c;
    (void)have;
#endif
    return bits;
}

#if DCF_WITH_PACKED
#define TOO_LARGE ((uint32_t)1 << 16)

/* The next symbol, a gap or not; times 2^8, TOO_LARGE where it is that. */
DCF_APART static uint32_t packed_symbol(dcf_cursor *c, uint32_t is_gap)
{
    const dcf_tensor *t = c->tensor;
    const uint32_t width = is_gap ? t->gap_bits : t->symbol_bits;
    const uint32_t used = width - (uint32_t)c->have;
    const uint32_t symbol = DCF_U16(t->model, c->at) >> -c->have & ((1U << width) - 1U);
    c->at += used >> 3;
    c->have = -(int32_t)(used & 7U);
    return symbol > (is_gap ? t->highest_gap : t->alphabet - 1U) ? TOO_LARGE : symbol << 8;
}
#endif

#if !DCF_ALL_MAPPED
/* Use a symbol of an element that tables do not give the number of, with `left` elements left. 1: the
 * element is whole. 0: a part of one is, or c->run background elements are announced. */
DCF_APART static int symbol_use(dcf_cursor *c, uint32_t symbol, uint8_t *out, dcf_size left)
{
    const dcf_tensor *t = c->tensor;
#if DCF_WITH_RUN
    if (t->layout == DCF_LAYOUT_RUN) {
        const uint32_t digit = c->digit++;
        if (symbol >= t->alphabet) {
            symbol -= t->alphabet - 1U;
            c->run = (dcf_size)symbol << digit;
            /* in this form, because the run could overflow; digit stays below the bits of a size,
             * as each digit that passes takes at least 2^digit elements */
            return symbol > left >> digit ? DCF_ERR_RANGE : 0;
        }
        c->digit = 0;
    }
#else
    (void)left;
#endif
#if DCF_WITH_SYMBOLS
    if (t->symbols > 1) {
        out[c->part++] = (uint8_t)symbol;
        if (c->part < t->symbols) {
            return 0;
        }
        c->part = 0;
        return 1;
    }
#endif
    dcf_number(t, symbol, out);
    return 1;
}
#endif

#if !DCF_ALL_MAPPED
/* `n` background elements, at least one. */
DCF_APART static uint8_t *background(const dcf_tensor *t, uint8_t *out, dcf_size n, uint32_t step)
{
    dcf_number(t, t->background, out);
    for (n = (n - 1U) * step; n > 0; n--) {
        out[step] = *out;
        out++;
    }
    return out + step;
}
#endif

/* What the loop needs stays in registers: bytes that are written might alias the cursor. */
DCF_APART DCF_LOCAL int dcf_elements(dcf_cursor *c, uint8_t *out, dcf_size count, uint32_t step)
{
    const uint32_t shift = c->tensor->shift;
    const uint16_t *table = c->table;
    const uint16_t *mapped = DCF_MAPPED(c->tensor) ? c->values : NULL;
    uint32_t bits = c->bits;
    int32_t have = c->have;
    dcf_size run = c->run;
    int err = DCF_OK;
#if DCF_WITH_CONTEXT
    if (DCF_BY_CONTEXT(c->tensor)) {
        return dcf_context_elements(c, out, count, step);
    }
#endif
    c->left -= count;
    for (;;) {
        if (run != 0) {
            dcf_size n = run < count ? run : count;
            c->run = run - n;
            count -= n;
#if !DCF_ALL_MAPPED
            if (!mapped) {
                out = background(c->tensor, out, n, step);
            } else
#endif
            {
                const uint8_t number = c->tensor->background_number;
                do {
                    *out = number;
                    out += step;
                } while (--n > 0);
            }
            if (count == 0) {
                goto done;
            }
        }
        for (;;) {
            uint32_t item = table[bits >> shift];
            int32_t length = (int32_t)(item & DCF_LENGTH);
            if (have < length) {
                if (have < DCF_MAX_CODE_BITS) {
                    if (c->at > c->last + 1) { /* so more was taken than there is */
                        goto stop;
                    }
#if DCF_WITH_PACKED
                    if (length == DCF_NO_CODE) {
                        item = packed_symbol(c, table < c->values);
                        have = c->have;
                        if (item == TOO_LARGE) {
                            goto range;
                        }
                        length = 0;
                    } else
#endif
                    {
                        bits = more_bits(c, bits, have);
                        have |= 24;
                        continue;
                    }
                }
#if DCF_WITH_HUFFMAN
                else {
                    item = dcf_huffman_search(table, bits >> 20, item >> 8);
                    length = (int32_t)(item & DCF_LENGTH);
                }
#endif
            }
            have -= length;
            bits <<= length;
            item >>= 8;
            if (table == mapped) {
                *out = (uint8_t)item;
            } else if (DCF_ALL_MAPPED || table < c->values) {
                if (item < count + c->left && item < c->tensor->filler) {
                    table = c->values;
                } else if (item > count + c->left) {
                    goto range;
                }
                run = item;
                break;
            }
#if !DCF_ALL_MAPPED
            else {
                const int use = symbol_use(c, item, out, count + c->left);
                run = c->run;
                if (use < 0) {
                    goto range;
                }
                if (run != 0) {
                    break;
                }
                if (use == 0) {
                    table += c->tensor->table_count ? c->tensor->code_stride : 0;
                    continue;
                }
            }
#endif
            out += step;
            table = c->first;
            if (--count == 0) {
                goto done;
            }
        }
    }
range:
    err = DCF_ERR_RANGE;
stop:
    c->left += count;
done:
    c->table = table;
    c->bits = bits;
    c->have = have;
    return dcf_bits_left(c) < 0 ? DCF_ERR_TRUNCATED : err;
}

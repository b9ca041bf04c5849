/* Numbers of a tensor: cursors, rows, all of them. Spec: spec/DCF.md, "Decoding a tensor". Sister:
 * dcformat/decode.py. */
#include "dcf_internal.h"

#if DCF_HOST
/* Elements of the width, mostly through lookup tables or by eight packed symbols. */
static int host_elements(dcf_cursor *c, uint8_t *out, dcf_size count)
{
    const dcf_tensor *t = c->tensor;
    dcf_size n = 0;
    if (DCF_BY_CONTEXT(t)) {
        return dcf_elements(c, out, count, t->width);
    }
    while (count > 0 && (c->run != 0 || c->table != c->first)) { /* what is pending, by itself */
        int err;
        n = c->run == 0 ? 1 : c->run < count ? c->run : count;
        err = dcf_elements(c, out, n, t->width);
        if (err != DCF_OK) {
            return err;
        }
        out += n * t->width;
        count -= n;
    }
    c->bit = (dcf_size)(8 * (c->at - c->data) - c->have);
    n = 0;
    if (count > 0 && t->lookup) {
        n = dcf_host_elements(c, out, count);
    } else if (count > 0 && t->layout == DCF_LAYOUT_DENSE) {
        n = dcf_host_packed(c, out, count);
    }
    if (n > 0) {
        dcf_seek(c, c->data, c->bit);
    }
    return n < count ? dcf_elements(c, out + n * t->width, count - n, t->width) : DCF_OK;
}

int dcf_block_finish(dcf_cursor *c, uint8_t *out)
{
    int err;
    dcf_seek(c, c->data, c->bit);
    err = host_elements(c, out, c->left);
    return err == DCF_OK ? dcf_block_end(c) : err;
}
#endif

/* ---- cursors ---- */

int dcf_cursor_init(dcf_cursor *c, const dcf_tensor *t, dcf_size row0)
{
    if (!t->codes || row0 > t->rows) {
        return DCF_ERR_ARGUMENT;
    }
    c->tensor = t;
    c->block = t->blocks;
    c->left = 0;
    c->skip = 0;
    if (row0 < t->rows && t->elements != 0) {
        c->block = DCF_WITH_BLOCKS ? dcf_divide(row0, t->block_rows) : 0;
        c->skip = (row0 - c->block * t->block_rows) * t->columns;
    }
    return DCF_OK;
}

/* dcf_cursor_next, over the ends of blocks. */
DCF_APART static int next_far(dcf_cursor *c, uint8_t *out, dcf_size count, dcf_size *got)
{
    const dcf_tensor *t = c->tensor;
    dcf_size wanted = count;
    int err = DCF_OK;
#if DCF_HOST
    int plain = 0; /* until the end, once anything was wrong: no block is tried more than twice */
#endif
    while (err == DCF_OK && wanted > 0) {
        dcf_size n = wanted;
        uint32_t step;
        if (c->left == 0) {
            if (c->block == t->blocks) {
                break;
            }
#if DCF_HOST
            if (!plain && c->skip == 0) {
                n = dcf_host_blocks(c, out, n);
                out += n * t->width;
                wanted -= n;
                plain = n == 0;
                continue;
            }
#endif
            dcf_block_enter(c);
        }
        n = n < c->left ? n : c->left;
        step = t->width;
        if (c->skip) { /* over elements that nobody wants; there is room for one */
#if DCF_WITH_PACKED
            if ((t->layout | t->coder) == 0) { /* DENSE, PACKED: each takes the same bits */
                dcf_seek(c, c->at, c->skip * ((uint32_t)t->symbols * t->symbol_bits));
                c->left -= c->skip;
                c->skip = 0;
                continue;
            }
#endif
            n = c->skip;
            c->skip = 0;
            step = 0;
            wanted += n;
        }
#if DCF_HOST
        err = step ? host_elements(c, out, n) : dcf_elements(c, out, n, 0);
#else
        err = dcf_elements(c, out, n, step);
#endif
        out += n * step;
        wanted -= n;
        if (err == DCF_OK && c->left == 0) {
            err = dcf_block_end(c);
        }
    }
    *got = count - wanted;
    return DCF_RESULT(t->model, err);
}

int dcf_cursor_next(dcf_cursor *c, void *to, dcf_size count, dcf_size *got)
{
#if !DCF_HOST
    if (count - 1U < c->left) { /* a row within a block; nothing is left before a skip */
        int err;
        *got = count;
        err = dcf_elements(c, (uint8_t *)to, count, c->tensor->width);
        if (err == DCF_OK && c->left == 0) {
            err = dcf_block_end(c);
        }
        return DCF_RESULT(c->tensor->model, err);
    }
#endif
    return next_far(c, (uint8_t *)to, count, got);
}

int dcf_cursor_finish(dcf_cursor *c)
{
    uint8_t number[16];
    int err = DCF_OK;
    if (c->left != 0 && (c->tensor->layout | c->tensor->coder) != 0) { /* not DENSE, PACKED */
        err = dcf_elements(c, number, c->left, 0);
        if (err == DCF_OK) {
            err = dcf_block_end(c);
        }
    }
    return DCF_RESULT(c->tensor->model, err);
}

int dcf_rows(const dcf_tensor *t, dcf_size row0, dcf_size count, void *out, dcf_size bytes)
{
    dcf_cursor c;
    dcf_size got;
    int err = dcf_cursor_init(&c, t, row0);
    if (err != DCF_OK || count > t->rows - row0) {
        return DCF_ERR_ARGUMENT;
    }
    count *= t->columns;
    if (bytes < count * t->width) {
        return DCF_ERR_SPACE;
    }
    return next_far(&c, (uint8_t *)out, count, &got);
}

int dcf_decode(const dcf_tensor *t, void *out, dcf_size bytes)
{
    return dcf_rows(t, 0, t->rows, out, bytes);
}

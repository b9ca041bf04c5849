/* Encoder kernels of module dcformat._core, and what they share.
 *
 * Python side: dcformat/kernels.py, which checks every argument; these functions only check what
 * keeps them inside their buffers. Buffers come in as "y#" (read-only bytes, or anything whose
 * memory stays put, as NumPy arrays do) because Py_buffer is not in the limited API of 3.10.
 */
#ifndef DCF_KERNELS_H
#define DCF_KERNELS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

/* NULL-terminated; the module's glue adds them to its own. */
extern PyMethodDef dcf_kernel_methods[];
extern PyMethodDef dcf_walk_methods[];
extern PyMethodDef dcf_rounding_methods[];
extern PyMethodDef dcf_quantize_methods[];
extern PyMethodDef dcf_context_methods[];
extern PyMethodDef dcf_rans_methods[];

/* Write the canonical Huffman lengths of n <= 256 symbols with these counts. */
void dcf_code_lengths(const int64_t *counts, int n, uint8_t *lengths);

/* Running sums over the first i points: weights w, w x, w x^2. */
typedef struct {
    double w, x, xx;
} dcf_sums;

/* Write the ends of the best k clusters, 1 <= k < n, of points whose n + 1 running sums are
 * given. Returns 0, or -1 if memory ran out. */
int dcf_kmeans_ends(const dcf_sums *sums, int64_t n, int64_t k, int64_t *ends);

#endif

/* Everything: decode, rows and cursor must give the same numbers or the same error (S6), in
 * buffers of exact size (S1, S2), without asking for more than the limits allow (S3), and end (S4).
 */
#include <stdlib.h>

#include "exercise.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (exercise(data, size, NULL)) {
        abort();
    }
    return 0;
}

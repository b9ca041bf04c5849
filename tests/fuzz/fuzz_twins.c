/* The build for hosts against the one for firmware: the same answers, line by line.
 *
 * The firmware's half is compiled with its functions renamed (run.py makes the names).
 */
#include <stdlib.h>
#include <string.h>

#include "exercise.h"

int exercise_firmware(const uint8_t *data, size_t size, FILE *log);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef int exerciser(const uint8_t *data, size_t size, FILE *log);

static char *said(exerciser *one, const uint8_t *data, size_t size)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *log = open_memstream(&text, &bytes);
    if (!log || one(data, size, log) || fclose(log) != 0) {
        abort();
    }
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *host = said(exercise, data, size);
    char *firmware = said(exercise_firmware, data, size);
    if (strcmp(host, firmware) != 0) {
        abort();
    }
    free(host);
    free(firmware);
    return 0;
}

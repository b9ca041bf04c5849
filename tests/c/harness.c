/* Read batches of files and exercise each: `harness BATCH...`, a batch being for each file its
 * u32 size and its bytes. Exits 1 if two ways to the same numbers disagree. */
#include <stdlib.h>

#include "exercise.h"

static int batch(FILE *in)
{
    unsigned char head[4];
    int bad = 0;
    while (fread(head, 1, 4, in) == 4) {
        const size_t size = (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 |
                            (size_t)head[3] << 24;
        uint8_t *data = (uint8_t *)malloc(size ? size : 1);
        if (!data || fread(data, 1, size, in) != size) {
            free(data);
            return 2;
        }
        bad |= exercise(data, size, stdout);
        printf("end\n");
        free(data);
    }
    return bad;
}

int main(int argc, char **argv)
{
    int bad = 0;
    int i;
    for (i = 1; i < argc; i++) {
        FILE *in = fopen(argv[i], "rb");
        if (!in) {
            perror(argv[i]);
            return 2;
        }
        bad |= batch(in);
        fclose(in);
    }
    return bad;
}

/* Say of each file named how many elements its first tensor has, and how many of them the tables
 * of several symbols give: where they gave up, the plain decoder would hide it. */
#include <stdio.h>
#include <stdlib.h>

#include "dcf_internal.h" /* dcf_host_blocks */

static int one_file(const char *path, dcf_model *model)
{
    static uint8_t data[1 << 20];
    static uint8_t workspace[1 << 20];
    dcf_tensor t;
    dcf_cursor cursor;
    uint8_t *out;
    size_t size;
    size_t given;
    FILE *in = fopen(path, "rb");
    if (!in) {
        return 1;
    }
    size = fread(data, 1, sizeof data, in);
    fclose(in);
    if (dcf_open(model, data, size) != DCF_OK || dcf_tensor_at(model, 0, &t) != DCF_OK ||
        dcf_prepare(&t, workspace, sizeof workspace) != DCF_OK ||
        dcf_cursor_init(&cursor, &t, 0) != DCF_OK) {
        return 1;
    }
    out = (uint8_t *)malloc(t.elements * t.width);
    if (!out) {
        return 1;
    }
    given = dcf_host_blocks(&cursor, out, t.elements);
    printf("%lu %lu\n", (unsigned long)t.elements, (unsigned long)given);
    free(out);
    return 0;
}

int main(int argc, char **argv)
{
    dcf_model *model = (dcf_model *)malloc(sizeof *model);
    int bad = model == NULL;
    int i;
    for (i = 1; i < argc && !bad; i++) {
        bad = one_file(argv[i], model);
    }
    free(model);
    return bad;
}

/* Say of each file named what the numbers of its tensors mean: `index count` and the bits of as many
 * binary32 numbers in stored order, or `index status`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dcf.h"

static void one_tensor(const dcf_model *model, uint32_t index)
{
    dcf_tensor t;
    int err = dcf_tensor_at(model, index, &t);
    const dcf_size bytes = dcf_workspace_bytes(&t);
    void *workspace = malloc(bytes + 1U);
    uint8_t *numbers = (uint8_t *)malloc(t.elements * t.width + 1U);
    float *floats = (float *)malloc(t.elements * sizeof(float) + 1U);
    dcf_size half = t.elements / 2U;
    dcf_size i;
    if (!workspace || !numbers || !floats) {
        exit(1);
    }
    if (err == DCF_OK) {
        err = dcf_prepare(&t, workspace, bytes);
    }
    if (err == DCF_OK) {
        err = dcf_decode(&t, numbers, t.elements * t.width);
    }
    if (err == DCF_OK) {
        err = dcf_floats(&t, 0, half, numbers, floats);
    }
    if (err == DCF_OK) {
        err = dcf_floats(&t, half, t.elements - half, numbers + half * t.width, floats + half);
    }
    printf("%u %ld", (unsigned)index, err == DCF_OK ? (long)t.elements : (long)err);
    for (i = 0; err == DCF_OK && i < t.elements; i++) {
        uint32_t bits;
        memcpy(&bits, &floats[i], sizeof bits);
        printf(" %08x", (unsigned)bits);
    }
    printf("\n");
    free(workspace);
    free(numbers);
    free(floats);
}

int main(int argc, char **argv)
{
    static uint8_t data[1 << 20];
    static dcf_model model;
    int i;
    for (i = 1; i < argc; i++) {
        uint32_t k;
        dcf_size size;
        FILE *in = fopen(argv[i], "rb");
        if (!in) {
            return 1;
        }
        size = (dcf_size)fread(data, 1, sizeof data, in);
        fclose(in);
        if (dcf_open(&model, data, size) != DCF_OK) {
            return 1;
        }
        for (k = 0; k < model.tensors; k++) {
            one_tensor(&model, k);
        }
        printf("end\n");
    }
    return 0;
}

/* Flip every bit of the file in the program, one by one: each has to be an error. */
#include "board.h"
#include "dcf.h"

enum { BYTES = 2048, WORKSPACE = 2048 };

static uint8_t file[BYTES];
static uint8_t workspace[WORKSPACE];
static dcf_model model;

static int check(dcf_size size)
{
    uint32_t failing;
    const int status = dcf_open(&model, file, size);
    return status ? status : dcf_check(&model, workspace, sizeof workspace, &failing);
}

int run(void)
{
    const dcf_size size = (dcf_size)(blob_end - blob);
    uint32_t said[2];
    dcf_size i;
    if (size > BYTES) {
        return 1;
    }
    for (i = 0; i < size; i++) {
        file[i] = blob[i];
    }
    said[0] = (uint32_t)check(size);
    say("whole", said, 1);
    for (i = 0; i < 8 * size; i++) {
        file[i >> 3] = (uint8_t)(file[i >> 3] ^ 1U << (i & 7U));
        said[0] = (uint32_t)i;
        said[1] = (uint32_t)check(size);
        if (said[1] == DCF_OK || said[1] == (uint32_t)DCF_ERR_SPACE) {
            say("missed", said, 2);
        }
        file[i >> 3] = (uint8_t)(file[i >> 3] ^ 1U << (i & 7U));
    }
    said[0] = (uint32_t)i;
    said[1] = (uint32_t)check(size);
    say("end", said, 2);
    return 0;
}

/* The self-test of an emitted model, on a board: "selftest ffffffff" says that all is well. */
#include "board.h"
#include "model.h"

static uint8_t scratch[MODEL_SCRATCH_BYTES];

int run(void)
{
    uint32_t said[1];
    said[0] = (uint32_t)model_selftest(scratch, sizeof scratch);
    say("selftest", said, 1);
    return 0;
}

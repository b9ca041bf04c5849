"""coder_context learns in the workspace: of a tensor one cursor at a time can be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cases import raw, sparse, stored
from handmade import file_of_form
from test_c_core import CORE, GCC, SOURCES, WARNINGS, compiler, run

from dcformat.encodings.coder_context import Context
from dcformat.forms_context import context_form
from dcformat.ids import DType

pytestmark = pytest.mark.skipif(GCC is None, reason="no gcc on this machine")

PROGRAM = """\
#include <stdio.h>
#include "dcf.h"
static const uint8_t FILE_BYTES[] = {%s};
static uint64_t workspace[1024];
int main(void)
{
    static dcf_model m;
    dcf_tensor t;
    dcf_cursor a, b;
    dcf_size got;
    uint8_t out[64];
    int said[8];
    int i;
    said[0] = dcf_open(&m, FILE_BYTES, sizeof FILE_BYTES);
    said[1] = dcf_tensor_at(&m, 0, &t);
    said[2] = dcf_prepare(&t, workspace, sizeof workspace);
    said[3] = dcf_cursor_init(&a, &t, 0) | dcf_cursor_init(&b, &t, 0);
    said[4] = dcf_cursor_next(&a, out, 5, &got);
    said[5] = dcf_cursor_next(&b, out, 7, &got);
    said[6] = dcf_cursor_next(&a, out, 5, &got); /* its block is not in the workspace any more */
    said[7] = dcf_cursor_next(&b, out, 7, &got);
    for (i = 0; i < 8; i++) {
        printf("%%d ", said[i]);
    }
    printf("%%d\\n", (int)dcf_workspace_bytes(&t));
    return 0;
}
"""


@pytest.mark.parametrize("host", [0, 1])
def test_a_cursor_cannot_go_on_after_another_one_began(tmp_path: Path, host: int) -> None:
    numbers = sparse(np.random.default_rng(4), (6, 20), 0.5)
    tensor = stored(raw("w", numbers, DType.INT8))
    centre = -int(numbers.min())
    data = file_of_form(context_form(tensor, Context(centre, 1), 6))
    (tmp_path / "main.c").write_text(PROGRAM % ",".join(map(str, data)))
    flags = ["-std=c99", *WARNINGS, f"-DDCF_HOST={host}", "-DDCF_WITH_CONTEXT=1", f"-I{CORE}"]
    program = tmp_path / "main"
    run(compiler(GCC), *flags, *SOURCES, tmp_path / "main.c", "-o", program)
    *said, size = map(int, run(program).split())
    assert said == [0, 0, 0, 0, 0, 0, -1, 0]
    assert size < 1700


def test_512_channels_of_3_by_3_take_three_and_a_half_kib(tmp_path: Path) -> None:
    numbers = np.zeros((2, 3, 3, 512), np.int8)
    numbers[0, 0, 0] = np.arange(512) % 5
    data = file_of_form(context_form(stored(raw("w", numbers, DType.INT8)), Context(0, 1), 2))
    (tmp_path / "main.c").write_text(PROGRAM % ",".join(map(str, data)))
    flags = ["-std=c99", "-m32", "-DDCF_WITH_CONTEXT=1", f"-I{CORE}"]
    program = tmp_path / "main"
    run(compiler(GCC), *flags, *SOURCES, tmp_path / "main.c", "-o", program)
    assert 3500 < int(run(program).split()[-1]) <= 3584

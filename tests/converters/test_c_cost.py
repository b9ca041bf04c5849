"""What dcconvert says that C costs was measured; and the decoder that it copies is enough."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
from c_building import COMPILERS, compiled, need, refused, run
from conftest import ROOT

import dcformat
from dcformat.coded import Affine, CodedModel, CodedTensor, Raw
from dcformat.converters.c_cost import FOLDER, VARIED, decoder_bytes
from dcformat.errors import ConvertError
from dcformat.ids import DType

SIZES: dict[str, Any] = json.loads((FOLDER / "decoder_sizes.json").read_text())


def integers(name: str = "w") -> CodedTensor:
    return CodedTensor(name, DType.INT8, np.arange(12, dtype=np.int8).reshape(3, 4), Raw())


def scaled() -> CodedTensor:
    values = Affine(DType.INT8, np.ones(3, "<f4"), np.zeros(3, "<i4"), 0)
    return CodedTensor("s", DType.FLOAT, np.ones((3, 4), np.int8), values)


def made(folder: Path, *tensors: CodedTensor, **options: Any) -> Any:
    return dcformat.write(CodedModel(tensors), folder / "model.c", **options)


def test_every_combination_is_measured_on_every_machine() -> None:
    for machine in SIZES["machines"].values():
        flash = machine["flash"]
        assert len(flash) == 3 * 2 ** (len(VARIED) - 2)
        assert max(flash.values()) == flash[" ".join(VARIED)]
        assert machine["soft_float"] > 0 < machine["structures"]


def test_the_sizes_are_those_of_the_decoder_that_is_here(tmp_path: Path) -> None:
    need("arm-none-eabi-gcc")
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        import decoder_sizes  # noqa: PLC0415
    finally:
        sys.path.remove(str(ROOT / "bench"))
    if decoder_sizes.version() != SIZES["compiler"]:
        pytest.skip(f"measured with {SIZES['compiler']}")
    target = decoder_sizes.TARGETS["M0+"]
    kept = SIZES["machines"]["Cortex-M0+"]
    for key in ("PACKED HUFFMAN GAP RUN AFFINE CODEBOOK", "HUFFMAN"):
        chosen = {name: name in key.split() for name in VARIED}
        again = "measure again: python bench/decoder_sizes.py --write"
        size = decoder_sizes.decoder_size(target, chosen, tmp_path)
        assert size == pytest.approx(kept["flash"][key], rel=0.03), again  # it says "about"
    assert decoder_sizes.structures(target, tmp_path) == kept["structures"]


def test_costs_are_printed_and_in_the_facts(tmp_path: Path) -> None:
    result = made(tmp_path, integers(), scaled())
    facts = result.facts
    assert facts["flash"]["numbers"] == result.stored
    chosen = dict.fromkeys(VARIED, False) | {"PACKED": True, "AFFINE": True}
    assert facts["flash"]["decoder"] == decoder_bytes(chosen)
    assert set(facts["flash"]["soft_float"]) == set(SIZES["machines"])
    assert facts["ram"]["row"] == 4
    assert facts["ram"]["tensor"] == 12
    assert [label for label, _ in result.rows] == ["flash", "soft float", "RAM"]
    assert f"numbers {result.stored} B, decoder about " in result.rows[0][1]
    assert result.rows[1][1].startswith("tensors that mean floats: 1;")


def test_integers_need_no_soft_float_and_arrays_no_decoder(tmp_path: Path) -> None:
    assert [label for label, _ in made(tmp_path, integers()).rows] == ["flash", "RAM"]
    dense = made(tmp_path, integers(), form="dense")
    assert dense.rows == (("flash", "numbers 12 B"),)
    assert dense.facts["flash"] == {"numbers": 12, "decoder": {}, "soft_float": {}}
    each = {"scale": 1.0}
    layer = {"weight": "s", "input": each, "output": each}
    (tmp_path / "a.json").write_text(json.dumps({"version": 1, "layers": [layer]}))
    scaled_only = made(tmp_path, scaled(), activations=tmp_path / "a.json")
    assert [label for label, _ in scaled_only.rows] == ["flash", "RAM"]


MAIN = """\
#include "model.h"
int main(void)
{
    static uint8_t scratch[MODEL_SCRATCH_BYTES + 1U];
    return model_selftest(scratch, sizeof scratch) != -1;
}
"""


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_copied_decoder_is_all_that_a_model_needs(tmp_path: Path, compiler: str) -> None:
    rng = np.random.default_rng(5)
    skewed = CodedTensor("w", DType.INT8, cases.sparse(rng, (40, 60), 0.8), Raw())
    result = made(tmp_path, skewed, selftest=True, with_decoder=True)
    names = {path.name for path in result.files}
    assert names == {"model.c", "model.h", "model_selftest.c", "dcf.h", "dcf.c"}
    assert "#define DCF_WITH_CODEBOOK 0" in (tmp_path / "dcf.h").read_text()
    (tmp_path / "main.c").write_text(MAIN)
    sources = [tmp_path / name for name in ("main.c", "model.c", "model_selftest.c", "dcf.c")]
    objects = [compiled(source, compiler, f"-I{tmp_path}") for source in sources]
    run(need(COMPILERS[compiler][0]), *objects, "-o", tmp_path / "program")
    run(tmp_path / "program")


def test_a_decoder_without_what_a_model_needs_is_refused(tmp_path: Path) -> None:
    made(tmp_path, integers(), with_decoder=True)
    index = np.zeros((30, 40), np.uint8)
    index[::3] = 1
    book = cases.codebook("b", index, DType.INT8, np.array([1, 2], np.int8), scale=np.float32(1))
    dcformat.write(CodedModel((book,)), tmp_path / "other.c")
    assert "DCF_WITH_CODEBOOK=1" in refused(tmp_path / "other.c", "-iquote", str(tmp_path))


def test_a_model_with_more_tensors_than_the_decoder_takes_is_refused(tmp_path: Path) -> None:
    made(tmp_path, *(integers(f"w{i}") for i in range(5)))
    assert "5 tensors" in refused(tmp_path / "model.c", "-DDCF_TENSORS=4")


def test_arrays_need_no_decoder(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="no decoder"):
        made(tmp_path, integers(), form="dense", with_decoder=True)


def test_a_model_without_tables_still_has_scratch_to_declare(tmp_path: Path) -> None:
    made(tmp_path, integers(), selftest=True, with_decoder=True)
    assert "#define MODEL_SCRATCH_BYTES 1U" in (tmp_path / "model.h").read_text()


def test_a_large_array_comes_with_a_hint(tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).integers(-128, 128, (1200, 1000)).astype(np.int8)
    large = CodedTensor("w", DType.INT8, numbers, Raw())
    assert "--c-form blob" in dict(made(tmp_path, large).rows)["note"]
    assert "note" not in dict(made(tmp_path, large, form="blob").rows)

"""Write the test vectors: the only program that writes below tests/vectors.

    python tests/vectors/make.py          write them all
    python tests/vectors/make.py --check  write nothing; fail if a file would change

`<stem>/` and `valid/` hold files with the numbers they decode to, as JSON beside them;
`invalid/` holds files whose names begin with the error they give, `sections/` files whose names
begin with a section and the error that reading it gives. zstd frames are those of one libzstd, so
`--check` compares such files by what they say.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import cases  # noqa: E402
import first_fault  # noqa: E402
import invalid  # noqa: E402
import read_later  # noqa: E402
from handmade import file_of_form  # noqa: E402

from dcformat.canonical import frames_compared  # noqa: E402
from dcformat.coded import Affine, Codebook, CodedModel, CodedTensor, expand_tensor  # noqa: E402
from dcformat.container import write_container  # noqa: E402
from dcformat.encode import Settings, encode_model  # noqa: E402
from dcformat.file import File  # noqa: E402
from dcformat.forms import Form  # noqa: E402
from dcformat.ids import Coder, DType, Layout, Meta, SectionCodec, ValuesId  # noqa: E402
from dcformat.model import Graph, LayerFormat  # noqa: E402
from dcformat.stored import ROOM_OF  # noqa: E402

HOSTILE = (
    "../../etc/passwd", "*/ int x; /*", "??/", "line\nbreak", "\x1b[31mred", "[bold]b[/]",
    "a" * 300, "ö-重み", "%s%n",
)  # fmt: skip


def room_files() -> Iterator[tuple[str, bytes]]:
    """Yield files for the folders of the rooms: each tensor in a few of its forms."""
    for tensor in cases.tensors():
        chosen: dict[str, tuple[str, bytes]] = {}
        for name, form in cases.forms(cases.stored(tensor)):
            if form.legal():
                for stem in stems(form):
                    chosen.setdefault(f"{stem}/{tensor.name}", (name, file_of_form(form)))
                    if name.endswith("_3"):
                        chosen[f"{stem}/{tensor.name}"] = (name, file_of_form(form))
                    if name.startswith("classes") and tensor.name in ("skewed", "codebook"):
                        chosen[f"{stem}/{tensor.name}_classes"] = (name, file_of_form(form))
        for path, (name, data) in chosen.items():
            if wanted(path, tensor):
                yield f"{path}-{name}", data


def stems(form: Form) -> list[str]:
    """Return the stems of the rooms of a form."""
    values = ROOM_OF[type(form.stored.plan.values)]
    return [
        f"layout_{Layout(form.layout).name.lower()}",
        f"values_{ValuesId(values).name.lower()}",
        f"coder_{Coder(form.coder).name.lower()}",
    ]


def wanted(path: str, tensor: CodedTensor) -> bool:
    """Keep every tensor where its values room is at issue, and a few elsewhere."""
    few = ("affine_axis", "skewed", "far_apart", "pruned_float", "rows_of_one", "all_equal")
    return path.startswith("values_") or tensor.name in few


def valid_files() -> Iterator[tuple[str, bytes]]:
    """Yield whole models."""
    tensors = tuple(cases.tensors())
    tied = CodedTensor("tied", tensors[0].dtype, tensors[0].symbols, tensors[0].values)
    graph = Graph(1, b"\0\0\0\0" + b"not a real graph " * 20)
    layer = LayerFormat("conv1", "affine_axis", "scalar", 7, 8, 9, 8, 12, 32, 5, 8, 1)
    texts = {
        Meta.LICENCE: b"CC0-1.0",
        Meta.SOURCE_METADATA: b'{"format":"pt"}',
        Meta.EVIDENCE: b'{"metric":"top1","before":0.5,"after":0.25,"samples":4}',
    }
    everything = CodedModel((*tensors, tied), graph, (layer,), texts)
    names = tuple(
        CodedTensor(name, t.dtype, t.symbols, t.values)
        for name, t in zip(HOSTILE, tensors, strict=False)
    )
    yield "valid/empty", encode_model(CodedModel())
    yield "valid/nothing_at_all", b"".join(write_container({}, 4))
    yield "valid/everything_mcu", encode_model(everything, Settings("mcu"))
    yield "valid/everything_host", encode_model(everything, Settings("host"))
    yield "valid/everything_smallest", encode_model(everything, Settings("smallest"))
    yield "valid/everything_by_row", encode_model(everything, Settings("mcu", row_access=True))
    stripped = Settings("mcu", names=False, graph=False, metadata=False)
    yield "valid/stripped", encode_model(everything, stripped)
    yield "valid/hostile_names", encode_model(CodedModel(names))
    yield "valid/predicted_graph", encode_model(predicted())
    yield "valid/sorted_levels", encode_model(CodedModel((shared(),)), Settings("smallest"))


def shared() -> CodedTensor:
    """Return a tensor of so many levels that they are packed."""
    levels = (np.arange(-60, 70).astype(np.float32) / np.float32(513)).astype("<f4")
    symbols = ((np.arange(1300).reshape(26, 50) * 53) % 130).astype(np.uint8)
    return CodedTensor("shared", DType.FLOAT, symbols, Codebook(DType.FLOAT, levels))


def predicted() -> CodedModel:
    """Return a model whose graph says scales again, times a factor too, and ranges."""
    numbers = ((np.arange(240).reshape(40, 6) * 37) % 251 - 125).astype(np.int8)
    scale = np.arange(17, 57).astype(np.float32) / np.float32(1009)
    values = Affine(DType.INT8, scale, np.arange(40, dtype=np.int32), 0)
    tensor = CodedTensor("w", DType.FLOAT, numbers, values)
    real = expand_tensor(tensor)
    vectors = (
        scale,
        scale * np.float32(0.3),
        real.min(axis=1),
        real.max(axis=1) * np.float32(1.01),
    )
    said = b"".join(struct.pack("<I", 40) + v.astype("<f4").tobytes() for v in vectors)
    return CodedModel((tensor,), Graph(2, bytes(4) + b"range" + said))


def expectation(data: bytes) -> str:
    """Return what a file decodes to, as JSON."""
    file = File(data)
    rows = []
    for name in file.names:
        tensor = file.coded(name)
        numbers = tensor.numbers()
        row = {
            "name": name,
            "dtype": tensor.dtype.name,
            "shape": tensor.shape,
            "number_type": tensor.number_type().name,
            "numbers": numbers.tobytes().hex(),
        }
        if tensor.number_type() is not tensor.dtype:
            row["elements"] = expand_tensor(tensor).tobytes().hex()
        rows.append(row)
    return json.dumps({"tensors": rows}, indent=1) + "\n"


def all_files() -> Iterator[tuple[str, bytes]]:
    """Yield (path, content) of every vector."""
    for source in (room_files(), valid_files()):
        for path, data in source:
            yield f"{path}.dcf", data
            yield f"{path}.json", expectation(data).encode()
    for source in (invalid.files(), first_fault.files()):
        yield from ((f"invalid/{name}.dcf", data) for name, data in source)
    for name, data in read_later.files():
        yield f"sections/{name}.dcf", data


def has_frames(file: File) -> bool:
    """Tell whether the file holds zstd frames."""
    coders = {record.head.coder for record in file.opened.records}
    codecs = {entry.codec for entry in file.opened.container.entries.values()}
    return Coder.ZSTD in coders or SectionCodec.ZSTD in codecs


def same(path: Path, data: bytes) -> bool:
    """Tell whether the file on disk is the one that would be written."""
    if not path.is_file():
        return False
    old = path.read_bytes()
    if old == data or path.suffix != ".dcf" or path.parent.name in ("invalid", "sections"):
        return old == data
    file = File(old)
    return has_frames(file) and not frames_compared(file) and meaning(old) == meaning(data)


def meaning(data: bytes) -> tuple[object, ...]:
    """Return all that a file says, but for the libzstd that wrote it."""
    file = File(data)
    metadata = {key: value for key, value in file.metadata.items() if key != Meta.LIBZSTD}
    return expectation(data), metadata, file.hashes, file.layers, file.graph


def main() -> int:
    check = "--check" in sys.argv[1:]
    files = dict(all_files())
    stale = [p for p in HERE.rglob("*") if p.suffix in (".dcf", ".json")]
    strange = [str(p.relative_to(HERE)) for p in stale if str(p.relative_to(HERE)) not in files]
    changed = [name for name, data in files.items() if not same(HERE / name, data)]
    for name in [] if check else changed:
        (HERE / name).parent.mkdir(exist_ok=True)
        (HERE / name).write_bytes(files[name])
    for name in [] if check else strange:
        (HERE / name).unlink()
    print(f"{len(files)} files, {len(changed)} changed, {len(strange)} to remove")
    print("\n".join(changed + strange))
    return 1 if check and (changed or strange) else 0


if __name__ == "__main__":
    sys.exit(main())

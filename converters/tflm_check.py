"""What the DECODE operators of a file give, and whether a runtime stays inside of their tensors.

TFLite Micro itself checks versions and types only: an index behind its table, or a stream that ends
early, is read from whatever stands there. Sisters: tflm_decode.py, write_tflm.py (asks before it
gives a file away).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from dcformat.errors import ConvertError, CorruptError
from dcformat.ids import NUMPY

from .tflite_operators import CUSTOM
from .tflite_schema import DTYPES, Subgraph, TfModel, TfOperator, TfTensor, parse
from .tflm_decode import Output, decode
from .weights import check_dims

NAME = "TFLM_DECODE"
_UINT8 = 3
_ALIGN = 16


def decoded_of(data: bytes) -> list[bytes]:
    """Return what each output of each DECODE operator holds, in the order of the file.

    Raises CorruptError where a runtime would refuse the file or read what is not there, and
    ConvertError where the file is no TFLite model.
    """
    model = parse(data)
    for number, region in enumerate(model.buffers):
        if region.size and region.start % _ALIGN:
            raise CorruptError(f"buffer {number} stands at byte {region.start}, not at 16 bytes")
    return [raw for graph in model.subgraphs for raw in _of_graph(data, model, graph)]


def _of_graph(data: bytes, model: TfModel, graph: Subgraph) -> Iterator[bytes]:
    for operator in graph.operators:
        if operator.op != f"{CUSTOM} {NAME}":
            continue
        try:
            yield from _outputs(data, model, graph, operator)
        except (ConvertError, CorruptError) as error:
            raise CorruptError(error.message, place=operator.label) from error


def _outputs(data: bytes, model: TfModel, graph: Subgraph, operator: TfOperator) -> Iterator[bytes]:
    if len(operator.inputs) != 2 * len(operator.outputs) or -1 in operator.inputs:
        raise CorruptError(f"{len(operator.inputs)} inputs, {len(operator.outputs)} outputs")
    for place, index in enumerate(operator.outputs):
        tensor = graph.tensors[index]
        pair = operator.inputs[2 * place : 2 * place + 2]
        encoded, ancillary = (_constant(data, model, graph.tensors[one]) for one in pair)
        if model.buffers[tensor.buffer].size or tensor.type not in DTYPES or tensor.sparse:
            raise CorruptError(f"output {place} is no tensor that can be decoded")
        yield decode(encoded, ancillary, _output(tensor)).tobytes()


def _constant(data: bytes, model: TfModel, tensor: TfTensor) -> bytes:
    region = model.buffers[tensor.buffer]
    if tensor.type != _UINT8 or tensor.shape != (region.size,):
        raise CorruptError(f"an input of type {tensor.type} and shape {tensor.shape}")
    return data[region.start : region.end]


def _output(tensor: TfTensor) -> Output:
    kind, count = NUMPY[DTYPES[tensor.type]], prod(check_dims(tensor.shape))
    found = tensor.quantization
    if found is None:
        return Output(kind, count)
    channels, last = found.scale.size, found.axis == len(tensor.shape) - 1
    if found.axis and not (last and channels > 1):
        raise CorruptError(f"scales along axis {found.axis} of {len(tensor.shape)}")
    return Output(kind, count, channels, last and channels > 1)

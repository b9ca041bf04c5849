"""Networks released with Deep Compression: every bit of their numbers, and what is no such file."""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path

import pytest
from deep_compression_files import BLOBS, NET, Blob, decoded, net_of, write

import dcformat
from dcformat.converters import read_deep_compression as reader
from dcformat.converters.caffe_net import layers_of
from dcformat.errors import ConvertError
from dcformat.file import model_of


@pytest.mark.parametrize("seed", range(5))
def test_numbers_are_those_of_the_description(tmp_path: Path, seed: int) -> None:
    net, prototxt = write(tmp_path, net_of(seed=seed))
    model = dcformat.read(net, prototxt=prototxt)
    assert {t.name: t.data.tobytes() for t in model.tensors} == decoded(net.read_bytes())
    assert [t.shape for t in model.tensors if "weight" in t.name] == [b.weight for b in BLOBS]
    window = (slice(1, 3), slice(0, 2))
    first = model["conv1.weight"]
    assert first.piece(window).tobytes() == first.data[window].tobytes()


def test_every_bit_goes_through_a_file(tmp_path: Path) -> None:
    net, prototxt = write(tmp_path)
    dcformat.save(dcformat.read(net, prototxt=prototxt), tmp_path / "n.dcf")
    back = model_of(dcformat.load(tmp_path / "n.dcf"))
    assert {t.name: t.data.tobytes() for t in back.tensors} == decoded(net.read_bytes())


def test_of_several_definitions_beside_it_the_one_that_fits_is_taken(tmp_path: Path) -> None:
    net, prototxt = write(tmp_path)
    with pytest.raises(ConvertError, match=r"none is beside it: use --prototxt"):
        dcformat.read(net)
    (tmp_path / "a.prototxt").write_text(NET.replace("num_output: 6", "num_output: 8"))
    with pytest.raises(ConvertError, match=r"none of those beside it fits: use --prototxt"):
        dcformat.read(net)
    (tmp_path / "b.prototxt").write_text(NET)
    (tmp_path / "c.prototxt").write_text(NET.replace("dropout_ratio: 0.5", ""))
    assert dcformat.read(net).notes == ("its layers are those of b.prototxt",)
    turned = NET.replace("kernel_h: 5 kernel_w: 3", "kernel_h: 3 kernel_w: 5")
    same_sizes = turned.replace("input_dim: 17 input_dim: 12", "input_dim: 12 input_dim: 17")
    (tmp_path / "d.prototxt").write_text(same_sizes.replace("pad_h", "pad_w"))
    with pytest.raises(ConvertError, match=r"b\.prototxt and c\.prototxt and d\.prototxt fit it"):
        dcformat.read(net)
    assert dcformat.read(net, prototxt=prototxt).files == (prototxt,)


def test_alexnet_has_the_blobs_that_are_known_of_it() -> None:
    text = """layer { name: "data" type: "Input" top: "d"
        input_param { shape: { dim: [10, 3, 227, 227] } } }"""
    convolutions = (
        (96, 11, 4, 0, 1), (256, 5, 1, 2, 2), (384, 3, 1, 1, 1), (384, 3, 1, 1, 2),
        (256, 3, 1, 1, 2),
    )  # fmt: skip
    for number, (outputs, kernel, stride, pad, group) in enumerate(convolutions, 1):
        text += f"""layer {{ name: "conv{number}" type: "Convolution" bottom: "d" top: "d"
            convolution_param {{ num_output: {outputs} kernel_size: {kernel} stride: {stride}
            pad: {pad} group: {group} }} }}"""
        if number in (1, 2, 5):
            text += """layer { name: "norm" type: "LRN" bottom: "d" top: "d" }
                layers { name: "no" type: DATA }
                layer { name: "pool" type: "Pooling" bottom: "d" top: "d"
                pooling_param { kernel_size: 3 stride: 2 } }"""
    for number, outputs in ((6, 4096), (7, 4096), (8, 1000)):
        text += f"""layer {{ name: "fc{number}" type: "InnerProduct" bottom: "d" top: "d"
            inner_product_param {{ num_output: {outputs} }} }}"""
    layers = layers_of(text.encode())
    assert [layer.weight for layer in layers] == [
        (96, 3, 11, 11), (256, 48, 5, 5), (384, 256, 3, 3), (384, 192, 3, 3), (256, 192, 3, 3),
        (4096, 9216), (4096, 4096), (1000, 4096),
    ]  # fmt: skip
    assert sum(prod(layer.weight) + layer.bias for layer in layers) == 60_965_224


def test_what_reading_has_no_option_for_is_an_error(tmp_path: Path) -> None:
    net, _ = write(tmp_path)
    with pytest.raises(ConvertError, match="reading deep-compression has no option 'layers'"):
        dcformat.read(net, layers=1)


FAULTS = (
    ("num_output: 6", "num_output: 7", r"conv2'/?:? 7 channels to 8 in 2 groups"),
    ("num_output: 10", "num_output: 11", r"need [\d,]+ bytes, it has [\d,]+: it is not whole, or"),
    ("num_output: 6", "num_output: 0", r"layer 'conv1': its num_output is missing or 0"),
    ("num_output: 6", "num_output: six", r"layer 'conv1': num_output: 'six' is no count"),
    ("num_output: 6", "num_output: 6 bias_term: false", r"'conv1': files of this kind have a bias"),
    ("num_output: 6", "num_output: 6 bias_term: no", r"bias_term: 'no' is neither true nor false"),
    ("kernel_size: 3 stride: 2 group", "stride: 2 group", r"its kernel_size is missing or 0"),
    ('input: "data"', "", r"'conv1': the channels of its input are not known"),
    ('type: "ReLU"', 'type: "New"', r"layer 'conv2': the channels of its input are not known"),
    ('"fc3" type', '"conv1" type', r"layer 'conv1': there are two layers of this name"),
    ('"score" type', '"" type', r"layer '': its name is empty"),
    ("num_output: 10", "num_output: 2000000000", r"'fc3': 96,000,000,000 weights in so few bytes"),
    ("layer {", "layer }", r"n\.prototxt / line \d+: a value is missing|line \d+: ':' is missing"),
    ("phase: TRAIN }", "phase: TRAIN", r"line \d+: cut short"),
    ("# a comment", "\x01", r"line 2: unexpected '\\x01'"),
    ("name: 'small'", "7: 8", r"line 2: '7' is no name of a field"),
)


@pytest.mark.parametrize(("old", "new", "says"), FAULTS)
def test_another_definition_is_an_error_of_one_line(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    assert old in NET
    net, prototxt = write(tmp_path, text=NET.replace(old, new))
    with pytest.raises(ConvertError, match=says) as caught:
        dcformat.read(net, prototxt=prototxt)
    assert str(caught.value).startswith(str(net))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_or_longer_is_an_error(tmp_path: Path) -> None:
    whole = net_of()
    for data in (whole[:-1], whole[:2000], whole[:15], whole + b"\0"):
        net, prototxt = write(tmp_path, data)
        with pytest.raises(ConvertError, match=r"it is not whole, or of another|too short for 4"):
            dcformat.read(net, prototxt=prototxt)


def test_stored_weights_behind_the_last_are_an_error(tmp_path: Path) -> None:
    data = bytearray(net_of((Blob("conv1", (6, 3, 5, 3)),)))
    data[-9:] = b"\xff" * 9
    text = NET[: NET.index('layer { name: "relu_conv1"')]
    net, prototxt = write(tmp_path, bytes(data), text)
    says = r"layer 'conv1': stored weight \d+ stands behind its last, 269"
    with pytest.raises(ConvertError, match=says):
        dcformat.read(net, prototxt=prototxt)
    struct.pack_into("<I", data, 0, 271)
    net.write_bytes(data)
    with pytest.raises(ConvertError, match=r"'conv1': 271 weights are stored, it has 270"):
        dcformat.read(net, prototxt=prototxt)


@pytest.mark.realdata
def test_squeezenet_is_read_to_the_bit(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "caffe_deep_compression"
    net = folder / "compressed_SqueezeNet.net"
    layers = layers_of((folder / "SqueezeNet_deploy.prototxt").read_bytes())
    assert len(layers) == 26
    blobs = tuple(Blob(layer.name, layer.weight) for layer in layers)
    wanted = decoded(net.read_bytes(), blobs)
    model = dcformat.read(net)
    assert {t.name: t.data.tobytes() for t in model.tensors} == wanted
    assert sum(t.size for t in model.tensors if "weight" in t.name) == 1_244_448
    size = dcformat.save(model, tmp_path / "s.dcf")
    back = model_of(dcformat.load(tmp_path / "s.dcf"))
    assert {t.name: t.data.tobytes() for t in back.tensors} == wanted
    assert size <= 545_000  # of 675,763


def test_nothing_is_made_of_many_weights_in_few_bytes(tmp_path: Path) -> None:
    blob = Blob("conv1", (6, 3, 5, 3), 0)
    text = NET[: NET.index('layer { name: "relu_conv1"')].replace("kernel_w: 3", "kernel_w: 900000")
    net, prototxt = write(tmp_path, net_of((blob,)), text)
    with pytest.raises(ConvertError, match="weights in so few bytes"):
        reader.read(net, prototxt)

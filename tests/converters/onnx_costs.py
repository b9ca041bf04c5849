"""Graphs for the tests of costs, built layer by layer; weights are names and shapes alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from onnx import TensorProto, helper
from onnx_models import model_of, value


def weight(name: str, *dims: int, kind: int = TensorProto.FLOAT) -> Any:
    return TensorProto(name=name, data_type=kind, dims=dims)


def model(
    nodes: list[Any], inputs: list[Any], weights: list[Any], outputs: tuple[str, ...] = ("y",)
) -> Any:
    ends = [helper.make_empty_tensor_value_info(name) for name in outputs]
    return model_of(helper.make_graph(nodes, "g", inputs, ends, weights))


@dataclass
class Chain:
    """A network whose every layer takes the result of the one before."""

    shape: tuple[int, ...]
    nodes: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)
    top: str = "x"

    def add(self, op: str, *dims: tuple[int, ...], **attributes: Any) -> Chain:
        number = len(self.nodes)
        names = [f"{op.lower()}{number}.{i}" for i in range(len(dims))]
        self.weights += [weight(n, *d) for n, d in zip(names, dims, strict=True)]
        out = f"t{number}"
        self.nodes.append(
            helper.make_node(op, [self.top, *names], [out], f"{op.lower()}{number}", **attributes)
        )
        self.top = out
        return self

    def conv(self, out: int, into: int, size: int = 3, stride: int = 1, group: int = 1) -> Chain:
        return self.add(
            "Conv",
            (out, into // group, size, size),
            (out,),
            strides=[stride] * 2,
            pads=[size // 2] * 4,
            group=group,
        ).add("Relu")

    def pool(self) -> Chain:
        return self.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])

    def dense(self, out: int, into: int) -> Chain:
        return self.add("Gemm", (out, into), (out,), transB=1)

    @property
    def model(self) -> Any:
        return model(self.nodes, [value("x", *self.shape)], self.weights, (self.top,))


def vgg16() -> Any:
    """VGG-16, configuration D."""
    net, into = Chain((1, 3, 224, 224)), 3
    for width, times in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(times):
            net.conv(width, into)
            into = width
        net.pool()
    net.add("Flatten").dense(4096, 512 * 49).dense(4096, 4096).dense(1000, 4096)
    return net.model


def mobilenet() -> Any:
    """MobileNetV1 of width 1 on 224 by 224."""
    net, into = Chain((1, 3, 224, 224)).conv(32, 3, stride=2), 32
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    for width, stride in [*plan, *[(512, 1)] * 5, (1024, 2), (1024, 1)]:
        net.conv(into, into, stride=stride, group=into).conv(width, into, size=1)
        into = width
    net.add("GlobalAveragePool").add("Flatten").dense(1000, 1024)
    return net.model

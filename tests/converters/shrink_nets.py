"""Networks with filters of zeros in them, by hand and at random, to be shrunk."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

_ALONE = ("Relu", "Sigmoid", "HardSwish", "LeakyRelu", "Tanh", "Clip", "Identity", "Softplus")


@dataclass
class Net:
    """A graph that grows; `shapes` are those of its values."""

    rng: np.random.Generator
    nodes: list[Any] = field(default_factory=list)
    tensors: dict[str, Any] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=lambda: {"x": (1, 3, 8, 8)})
    zeros: float = 0.4  #: share of filters, and of biases, that are zero

    def add(self, op: str, inputs: list[str], shape: tuple[int, ...], **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], f"{op}_{len(self.nodes)}",
                                           **attributes))  # fmt: skip
        self.shapes[name] = shape
        return name

    def tensor(self, data: Any) -> str:
        name = f"t{len(self.tensors)}"
        self.tensors[name] = np.asarray(data)
        return name

    def weight(self, *shape: int) -> Any:
        """Return weights, [out, in, ...], of which some filters and some channels are zero."""
        data = self.rng.standard_normal(shape).astype(np.float32)
        data[self.rng.random(shape[0]) < self.zeros] = 0
        data[:, self.rng.random(shape[1]) < self.zeros / 2] = 0
        return data

    def bias(self, count: int) -> Any:
        data = self.rng.standard_normal(count).astype(np.float32)
        return data * (self.rng.random() < 0.5) * (self.rng.random(count) < 0.7)

    def conv(self, x: str, out: int, kernel: int, pad: int, biased: bool = True) -> str:
        n, channels, height, width = self.shapes[x]
        inputs = [x, self.tensor(self.weight(out, channels, kernel, kernel))]
        inputs += [self.tensor(self.bias(out))] if biased else []
        lost = kernel - 1 - 2 * pad
        return self.add("Conv", inputs, (n, out, height - lost, width - lost), pads=[pad] * 4,
                        kernel_shape=[kernel, kernel])  # fmt: skip

    def depthwise(self, x: str, times: int, pad: int) -> str:
        n, channels, height, width = self.shapes[x]
        out = channels * times
        inputs = [x, self.tensor(self.weight(out, 1, 3, 3)), self.tensor(self.bias(out))]
        lost = 2 - 2 * pad
        return self.add("Conv", inputs, (n, out, height - lost, width - lost), pads=[pad] * 4,
                        group=channels)  # fmt: skip

    def norm(self, x: str) -> str:
        count = self.shapes[x][1]
        data = [self.rng.standard_normal(count), self.bias(count), self.rng.standard_normal(count),
                self.rng.random(count) + 0.5]  # fmt: skip
        names = [self.tensor(one.astype(np.float32)) for one in data]
        return self.add("BatchNormalization", [x, *names], self.shapes[x])

    def flat(self, x: str, reshape: bool) -> str:
        n, *rest = self.shapes[x]
        shape = (n, int(np.prod(rest)))
        if reshape:
            return self.add("Reshape", [x, self.tensor(np.array(shape, np.int64))], shape)
        return self.add("Flatten", [x], shape)

    def gemm(self, x: str, out: int, right: bool = True) -> str:
        n, count = self.shapes[x]
        weight = self.weight(out, count)
        inputs = [x, self.tensor(weight if right else weight.T), self.tensor(self.bias(out))]
        return self.add("Gemm", inputs, (n, out), transB=int(right))

    def matmul(self, x: str, out: int) -> str:
        n, count = self.shapes[x]
        y = self.add("MatMul", [x, self.tensor(self.weight(out, count).T)], (n, out))
        return self.add("Add", [y, self.tensor(self.bias(out))], (n, out))

    def model(self, outputs: list[str]) -> ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shapes["x"])],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, self.shapes[n]) for n in outputs],
            [numpy_helper.from_array(data, name) for name, data in self.tensors.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def random_net(seed: int) -> ModelProto:
    """Return a network of a dozen operators that go wherever their shapes let them."""
    net = Net(np.random.default_rng(seed))
    rng, live = net.rng, [net.conv("x", 6, 3, 1)]
    for _ in range(int(rng.integers(3, 14))):
        live.append(_step(net, str(rng.choice(live[-4:])), live))
    last = live[-1]
    if rng.random() < 0.3:
        last = net.add("GlobalAveragePool", [last], (*net.shapes[last][:2], 1, 1))
    if rng.random() < 0.3:
        n, channels, height, width = net.shapes[last]
        last = net.add("Transpose", [last], (n, height, width, channels), perm=[0, 2, 3, 1])
    flat = net.flat(last, bool(rng.random() < 0.5))
    hidden = net.gemm(flat, 8, bool(rng.random() < 0.5)) if rng.random() < 0.5 else flat
    hidden = net.matmul(hidden, 9) if rng.random() < 0.3 else hidden
    out = net.gemm(net.add("Relu", [hidden], net.shapes[hidden]), 4)
    return net.model([out, str(rng.choice(live))] if rng.random() < 0.1 else [out])


def _step(net: Net, x: str, live: list[str]) -> str:
    rng, shape = net.rng, net.shapes[x]
    twins = [one for one in live if net.shapes[one] == shape]
    near = [one for one in live if net.shapes[one][2:] == shape[2:]]
    wide = shape[2] > 3
    kind = int(rng.integers(10))
    if kind < 3:
        kernel, pad = (3, int(rng.integers(2)) if wide else 1) if rng.random() < 0.6 else (1, 0)
        return net.conv(x, int(rng.integers(2, 9)), kernel, pad, bool(rng.random() < 0.6))
    if kind == 3:
        return net.depthwise(x, int(rng.integers(1, 3)), int(rng.integers(2)) if wide else 1)
    if kind == 4:
        return net.norm(x)
    if kind == 5:
        op = str(rng.choice(["Add", "Mul", "Sub", "Max"]))
        return net.add(op, [x, str(rng.choice(twins))], shape)
    if kind == 6:
        other = str(rng.choice(near))
        count = shape[1] + net.shapes[other][1]
        return net.add("Concat", [x, other], (1, count, *shape[2:]), axis=1)
    return _plain(net, x, int(rng.integers(5)), wide)


def _plain(net: Net, x: str, kind: int, wide: bool) -> str:
    """Add a pooling, a slope or number for each channel, a gate, or an activation."""
    shape = net.shapes[x]
    count = shape[1]
    if kind == 0 and wide:
        op = str(net.rng.choice(["MaxPool", "AveragePool"]))
        more = {"count_include_pad": 1} if op == "AveragePool" and net.rng.random() < 0.5 else {}
        return net.add(op, [x], shape, kernel_shape=[3, 3], pads=[1] * 4, **more)
    if kind == 1:
        slope = net.tensor(net.rng.random((count, 1, 1)).astype(np.float32))
        return net.add(str(net.rng.choice(["PRelu", "Mul", "Add"])), [x, slope], shape)
    if kind == 2:
        pooled = net.add("GlobalAveragePool", [x], (1, count, 1, 1))
        gate = net.add("Sigmoid", [net.conv(pooled, count, 1, 0)], (1, count, 1, 1))
        return net.add("Mul", [x, gate], shape)
    op = str(net.rng.choice(_ALONE))
    bounds = [net.tensor(np.float32(n)) for n in (-0.5, 0.7)] if op == "Clip" else []
    return net.add(op, [x, *bounds], shape)


_OPS = ("Transpose", "Squeeze", "Reshape", "Concat", "Resize", "ReduceMean", "Gemm", "MatMul",
        "Flatten", "PRelu", "Softmax", "AveragePool")  # fmt: skip
_STATED: tuple[Any, ...] = (1, [0, 1], [2], -5, [3, 2, 1, 0], [0, 2, 3, 1], 1.5)


def damaged(model: ModelProto, rng: random.Random) -> ModelProto:
    """Return a model of which something was changed: names, operators, attributes, shapes."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice((_rewired, _renamed, _stated, _reshaped, _lost, _doubled))(model.graph, rng)
    return model


def _rewired(graph: Any, rng: random.Random) -> None:
    node = rng.choice(graph.node)
    names = [rng.choice(graph.node).output[0], rng.choice(graph.initializer).name, "x", "", "none"]
    if node.input and rng.random() < 0.8:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    else:
        node.input.append(rng.choice(names))


def _renamed(graph: Any, rng: random.Random) -> None:
    rng.choice(graph.node).op_type = rng.choice([*_OPS, rng.choice(graph.node).op_type])


def _stated(graph: Any, rng: random.Random) -> None:
    node = rng.choice(graph.node)
    name = rng.choice(["axis", "axes", "perm", "group", "transB", "pads"])
    kept = [one for one in node.attribute if one.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, rng.choice(_STATED))])


def _reshaped(graph: Any, rng: random.Random) -> None:
    proto = rng.choice(graph.initializer)
    data = numpy_helper.to_array(proto)
    flat = data.reshape(-1)
    made = rng.choice(
        [
            flat,
            data[None],
            data.T,
            flat[:1],
            flat[:0],
            flat[0],
            data.astype(np.float16),
            data + np.inf,
        ]
    )
    proto.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(made), proto.name))


def _lost(graph: Any, rng: random.Random) -> None:
    if len(graph.node) > 1:
        del graph.node[rng.randrange(len(graph.node))]


def _doubled(graph: Any, rng: random.Random) -> None:
    graph.node.insert(rng.randrange(len(graph.node)), rng.choice(graph.node))

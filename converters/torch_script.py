"""Parameters and buffers of a TorchScript archive, named as its state_dict() names them.

`data.pkl` holds objects of classes `__torch__...`, whose state is a dict of attributes. Which of
them are parameters and buffers stands in the classes' source, which is never run; two of its lines
are read:

    class Conv1d(Module):
      __parameters__ = ["weight", "bias", ]
      __buffers__ = []

The class `__torch__.a.b.Conv1d` is in `code/__torch__/a/b.py`. The order is that of state_dict():
of each module its parameters, its buffers, then the modules in it. Other attributes are left out.
Tensors of `constants.pkl` belong to the code: they are left out too, but where there are no
parameters at all, as after torch.jit.freeze, which makes constants of them: there they are the
model, as the code calls them, `CONSTANTS.c0` and so on.

Sister: converters/read_torch.py
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from dcformat.errors import ConvertError

from .torch_names import Left, Named, Nest, printed
from .torch_pickle import kind
from .torch_values import Script, Table, Unreadable, Value, View
from .weights import check_name, shown

_MAX_DEPTH = 256
_NAME = re.compile(r'"[^"\\]*"')
_LINE = re.compile(
    r"^(?:class (\w+)(\(Module\))?|  __(parameters|buffers)__ = \[(.*)\]$)", re.MULTILINE
)


@dataclass(frozen=True)
class Class:
    """What a class's source says; `module` is False of classes that are no modules."""

    module: bool
    parameters: frozenset[str] = frozenset()
    buffers: frozenset[str] = frozenset()


@dataclass
class Classes:
    """Classes by name, read from their files when they are met; `source` gives a file's text."""

    source: Callable[[str], str]

    def __post_init__(self) -> None:
        self._files: dict[str, dict[str, Class]] = {}

    def __getitem__(self, name: str) -> Class:
        module, _, short = name.rpartition(".")
        if module not in self._files:
            self._files[module] = classes_in(self.source(f"code/{module.replace('.', '/')}.py"))
        if short not in self._files[module]:
            raise ConvertError(f"the archive has no class {shown(name)}")
        return self._files[module][short]


def classes_in(text: str) -> dict[str, Class]:
    """Return the classes that a source file declares."""
    found: dict[str, Class] = {}
    name = ""
    for line in _LINE.finditer(text):
        if line[1]:
            name = line[1]
            found[name] = Class(line[2] is not None)
        elif name and line[3] == "parameters":
            found[name] = replace(found[name], parameters=_names(line[4]))
        elif name:
            found[name] = replace(found[name], buffers=_names(line[4]))
    return found


def _names(text: str) -> frozenset[str]:
    """Return the names in a list of texts, which have no escapes and no commas."""
    items = [item.strip() for item in text.split(",")]
    if not all(_NAME.fullmatch(item) for item in items if item):
        raise ConvertError(f"a list of attributes that is none: {shown(text)}")
    return frozenset(item[1:-1] for item in items if item)


def parameters(root: Value, classes: Classes) -> tuple[list[Named], Left]:
    """Return what state_dict() would: tensors by name; and which others are left out."""
    if not isinstance(root, Script):
        raise ConvertError(f"it holds {kind(root)}, not a module")
    named: dict[str, View | Unreadable] = {}
    others = Left()
    left: list[tuple[str, Script, int]] = [("", root, 0)]
    nest = Nest(root)
    while left:
        prefix, module, depth = left.pop()
        if depth == _MAX_DEPTH:
            raise ConvertError(f"modules are nested more than {_MAX_DEPTH} deep, or in themselves")
        state, declared = _state(prefix, module, nest), classes[module.of]
        for name, value in _tensors(prefix, state, declared):
            named[check_name(name)] = value
        for name in _others(prefix, state, declared, nest, classes):
            others.add(printed(name))
        inner = _modules(prefix, state, nest, classes, depth + 1)
        left += list(inner)[::-1]
    return list(named.items()), others


def _state(prefix: str, module: Script, nest: Nest) -> dict[str, Value]:
    """Return the attributes of a module by name."""
    if not isinstance(module.state, Table):
        raise ConvertError(f"module {shown(prefix)} of {shown(module.of)} saves a state of its own")
    state: dict[str, Value] = {}
    nest.spend(len(module.state.items))
    for key, value in module.state.items:
        if not isinstance(key, str) or key in state:
            raise ConvertError(f"attributes of module {shown(prefix)} that are named wrongly")
        nest.spend(0, len(prefix) + len(key))
        state[key] = value
    return state


def _tensors(prefix: str, state: dict[str, Value], declared: Class) -> Iterator[Named]:
    for wanted in (declared.parameters, declared.buffers):
        for key, value in state.items():
            if key not in wanted:
                continue
            if isinstance(value, (View, Unreadable)):
                yield f"{prefix}{key}", value
            elif value is not None:
                raise ConvertError(f"parameter {shown(prefix + key)} is {kind(value)}, no tensor")


def _others(
    prefix: str, state: dict[str, Value], declared: Class, nest: Nest, classes: Classes
) -> Iterator[str]:
    """Yield the names of attributes with tensors that are no parameters; refuse packed ones."""
    for key, value in state.items():
        known = key in declared.parameters or key in declared.buffers
        if known or not nest.holds(value):
            continue
        if isinstance(value, Script) and ".torch.classes." in value.of:
            what = f"{printed(prefix + key)} has its weights packed in {shown(value.of)}"
            raise ConvertError(f"{what}: save the model before it is converted or quantized")
        if not isinstance(value, Script) or not classes[value.of].module:
            yield f"{prefix}{key}"


def _modules(
    prefix: str, state: dict[str, Value], nest: Nest, classes: Classes, depth: int
) -> Iterator[tuple[str, Script, int]]:
    """Yield the modules in a module that have tensors."""
    for key, value in state.items():
        if isinstance(value, Script) and nest.holds(value) and classes[value.of].module:
            yield f"{prefix}{key}.", value, depth

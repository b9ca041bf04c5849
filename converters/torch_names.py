"""Which tensors of an unpickled file are the model, and what they are called.

A file is a state dict, or a checkpoint that holds one beside the optimizer's state, or any nest of
dicts, lists and tuples. The rule, in order:

1. a dict with one of the keys of MODELS whose value is a dict with tensors: that value is the
   model (the first of these keys in the order of MODELS), and is looked at again;
2. else everything is the model but dicts and lists of a training run (TRAINING, or what
   optimizers save), if there is another entry with tensors; a tensor at the top is always taken.

Below the model's dict, names are the keys, joined by "." where dicts, lists and tuples are nested;
elements of lists and tuples are called by their numbers. A lone tensor is called "tensor". Values
that are no tensors are left out and named in a note, as is everything beside the model.

Sister: converters/read_torch.py
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dcformat.errors import ConvertError
from dcformat.ids import MAX_TENSORS

from .torch_pickle import kind
from .torch_values import Inert, Script, Storage, Table, Unreadable, Value, View
from .weights import check_name, shown

#: Keys of checkpoints under which the model's state dict stands, the most telling first.
MODELS = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "module",
    "weights", "params",
)  # fmt: skip
#: How keys of a training run begin.
TRAINING = ("optim", "lr_sched", "scheduler", "scaler", "grad_scaler", "rng", "cuda_rng")
_MAX_DEPTH = 64
_MAX_LETTERS = 1 << 25
_LISTED = 8  # entries that a note names
_NESTS = (Table, list, tuple, Inert, Script, View, Unreadable)  # what may be, or hold, a tensor

Named = tuple[str, "View | Unreadable"]
Entry = tuple[str, Value, Value]  # path, key, value


class Nest:
    """A value and all that is in it, looked at once; values may be shared, or hold themselves.

    Walks through all names go through a shared value more than once; `spend` bounds them by the
    places that there are, so that sharing cannot multiply a small file.
    """

    def __init__(self, root: Value) -> None:
        self.root = root
        self._parents: dict[int, list[int]] = {}
        tensors = self._look()
        self.tensors = len(tensors)  #: one that is there twice counts once
        self._steps = 4 * sum(map(len, self._parents.values())) + 1000
        self._letters = _MAX_LETTERS
        self._holders = self._rise(tensors)

    def spend(self, steps: int, letters: int = 0) -> None:
        """Take steps and letters of names from what is left; ConvertError where there is none."""
        self._steps -= steps
        self._letters -= letters
        if self._steps < 0:
            raise ConvertError("it holds the same values too often")
        if self._letters < 0:
            raise ConvertError(f"its names take more than {_MAX_LETTERS} letters")

    def holds(self, value: Value) -> bool:
        """Tell whether `value`, which is in the nest, is a tensor or has one in it."""
        return id(value) in self._holders

    def _look(self) -> list[int]:
        """Return the ids of all tensors; note who holds what."""
        left, found = [self.root], []
        self._parents[id(self.root)] = []
        while left:
            value = left.pop()
            if isinstance(value, (View, Unreadable)):
                found.append(id(value))
            for inner in _below(value):
                if id(inner) not in self._parents:
                    self._parents[id(inner)] = []
                    left.append(inner)
                self._parents[id(inner)].append(id(value))
        return found

    def _rise(self, left: list[int]) -> set[int]:
        """Return the ids `left` and those of everything that holds one of them."""
        found = set(left)
        while left:
            for parent in self._parents[left.pop()]:
                if parent not in found:
                    found.add(parent)
                    left.append(parent)
        return found


@dataclass
class Left:
    """What is left out: the first few by name, and how many there are."""

    first: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, name: str) -> None:
        """Note one more."""
        self.count += 1
        if len(self.first) < _LISTED:
            self.first.append(name)

    def __str__(self) -> str:
        more = self.count - len(self.first)
        return f"left out: {', '.join(self.first)}{f' and {more} more' if more else ''}"


def model_of(value: Value) -> tuple[list[Named], list[str]]:
    """Return the model's tensors by name, and notes on what was chosen and left out.

    Raises ConvertError where there is no tensor, or a name that cannot be one.
    """
    nest, path, beside, seen = Nest(value), "", list[Entry](), set[int]()
    while isinstance(value, Table) and (key := _model_key(value, nest)):
        if id(value) in seen or len(seen) > _MAX_DEPTH:
            raise ConvertError(f"it is nested more than {_MAX_DEPTH} deep, or holds itself")
        seen.add(id(value))
        beside += [(path, k, v) for k, v in value.items if k != key]
        value, path = next(v for k, v in value.items if k == key), f"{path}{key}."
    value, training = _without_training(value, nest)
    beside += [(path, k, v) for k, v in training]
    named, others = _flat(value)
    if not named:
        raise ConvertError("it holds no tensors")
    left_out = Left([_entry(*entry) for entry in beside[:_LISTED]], len(beside))
    for other in others.first:
        left_out.add(f"{path}{other}")
    left_out.count += others.count - len(others.first)
    return named, list(_notes(path[:-1], left_out, named))


def _model_key(value: Table, nest: Nest) -> str:
    """Return the key under which a checkpoint has its model; empty where it is one itself."""
    dicts = {k for k, v in value.items if isinstance(v, Table) and k in MODELS and nest.holds(v)}
    return next((key for key in MODELS if key in dicts), "")


def _without_training(value: Value, nest: Nest) -> tuple[Value, list[tuple[Value, Value]]]:
    """Part a dict into what may be the model and what is of the training run."""
    items = value.items if isinstance(value, Table) else []
    of_run = [pair for pair in items if _is_training(*pair)]
    others = [pair for pair in items if not _is_training(*pair)]
    if of_run and any(nest.holds(v) for _, v in others):
        return Table(others), of_run
    return value, []


def _is_training(key: Value, value: Value) -> bool:
    """Tell whether an entry is a nest of a training run."""
    named = isinstance(key, str) and "." not in key and key.lower().startswith(TRAINING)
    return _is_optimizer(value) or (named and isinstance(value, (Table, list, tuple)))


def _is_optimizer(value: Value) -> bool:
    """Tell whether a value is what torch.optim's optimizers save, whatever it is called."""
    items = value.items if isinstance(value, Table) else []
    return {key for key, _ in items if isinstance(key, str)} == {"state", "param_groups"}


def _below(value: Value) -> list[Value]:
    """Return the values in `value` that may be tensors, or have some in them."""
    if isinstance(value, Table):
        inner: Iterable[Value] = (v for _, v in value.items)
    elif isinstance(value, (list, tuple)):
        inner = value
    elif isinstance(value, Inert):
        inner = value.parts
    else:
        inner = [value.state] if isinstance(value, Script) else []
    return [v for v in inner if isinstance(v, _NESTS)]


def _entry(path: str, key: Value, value: Value) -> str:
    """Name an entry that is left out, with the number of its tensors."""
    count = 0 if isinstance(value, View) else Nest(value).tensors
    tensors = f" ({count} {'tensor' if count == 1 else 'tensors'})" if count else ""
    return f"{path}{printed(key)}{tensors}"


def printed(key: Value) -> str:
    """Return a key as notes show it."""
    if isinstance(key, str):
        return key if key.isprintable() and len(key) <= 100 else shown(key)
    return str(key) if type(key) is int else kind(key)


def _flat(value: Value) -> tuple[list[Named], Left]:
    """Return tensors by name, in their order, and what has none in it."""
    named: dict[str, View | Unreadable] = {}
    others = Left()
    for path, leaf in _leaves(Nest(value)):
        if not isinstance(leaf, (View, Unreadable)):
            others.add(kind(leaf) if path is None else printed(path))
            continue
        name = _checked("tensor" if path is None else path)
        if name in named:
            raise ConvertError(f"two tensors are named {shown(name)}")
        named[name] = leaf
        if len(named) > MAX_TENSORS:
            raise ConvertError(f"it has more than {MAX_TENSORS} tensors")
    return list(named.items()), others


def _checked(name: str) -> str:
    try:
        return check_name(name)
    except ConvertError as error:
        raise error.at(f"tensor {shown(name)}") from error.__cause__


def _leaves(nest: Nest) -> Iterator[tuple[str | None, Value]]:
    """Yield tensors and what has none in it, each with its name, in order; the root has none."""
    left: list[tuple[str | None, Value, int]] = [(None, nest.root, 0)]
    while left:
        name, value, depth = left.pop()
        if not isinstance(value, (Table, list, tuple)) or not nest.holds(value):
            if not _is_empty(value):
                yield name, value
            continue
        if depth == _MAX_DEPTH:
            raise ConvertError(f"it is nested more than {_MAX_DEPTH} deep, or holds itself")
        pairs = _pairs(value)
        nest.spend(len(pairs))
        left += [(_joined(name, k, v, nest), v, depth + 1) for k, v in pairs[::-1]]


def _is_empty(value: Value) -> bool:
    """Tell whether there is nothing worth a word."""
    if isinstance(value, Table):
        return not value.items
    return value is None or (isinstance(value, (list, tuple)) and not value)


def _pairs(value: Table | list[Value] | tuple[Value, ...]) -> list[tuple[Value, Value]]:
    if not isinstance(value, Table):
        return list(enumerate(value))
    texts: set[str] = set()
    for key, _ in value.items:
        if isinstance(key, str) and key in texts:
            raise ConvertError(f"a dict has the key {shown(key)} twice")
        if isinstance(key, str):
            texts.add(key)
    return value.items


def _joined(name: str | None, key: Value, value: Value, nest: Nest) -> str:
    """Return the name of what stands under `key` in what is called `name`."""
    plain = isinstance(key, str) or type(key) is int
    if not plain and nest.holds(value):
        raise ConvertError(f"a tensor under a key that is {kind(key)}, in {shown(name or '')}")
    last = str(key) if plain else kind(key)
    nest.spend(0, len(name or "") + len(last))
    return last if name is None else f"{name}.{last}"


def _notes(path: str, left_out: Left, named: list[Named]) -> Iterator[str]:
    parts = [f"the model is {path}"] if path else []
    parts += [str(left_out)] if left_out.count else []
    if parts:
        yield "; ".join(parts)
    if all(name.startswith("module.") for name, _ in named):
        yield "every name begins with 'module.', as DataParallel saves them: kept"


def fault_of(storage: Storage) -> str:
    """Say why the numbers of a storage cannot be had; empty where they can."""
    if storage.location.split(":")[0] == "meta":
        return "its storage is on the meta device: it has no numbers"
    return storage.fault

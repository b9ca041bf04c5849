"""Which tensors of an unpickled file are the model, and what they are called.

A file is a state dict, or a checkpoint that holds one beside the optimizer's state, or any nest of
dicts, lists and tuples. The rule, in order:

1. a dict with one of the keys of MODELS whose value is a dict with tensors: that value is the
   model (the first of these keys in the order of MODELS), and is looked at again;
2. else everything is the model but dicts and lists of a training run (TRAINING), if there is
   another entry with tensors; a tensor at the top is always taken.

Below the model's dict, names are the keys, joined by "." where dicts, lists and tuples are nested;
elements of lists and tuples are called by their numbers. A lone tensor is called "tensor". Values
that are no tensors are left out and named in a note, as is everything beside the model.

Sister: converters/read_torch.py
"""

from __future__ import annotations

from collections.abc import Iterator

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
_LISTED = 8  # entries that a note names

Named = tuple[str, "View | Unreadable"]
Entry = tuple[str, Value, Value]  # path, key, value


class Nest:
    """A value and all that is in it, looked at once; values may be shared, or hold themselves."""

    def __init__(self, root: Value) -> None:
        self.root = root
        self.slots = 0  #: places in containers
        self._parents: dict[int, list[int]] = {}
        tensors = self._tensors()
        self.tensors = len(tensors)  #: one that is there twice counts once
        self._holders = self._rise(tensors)

    @property
    def most(self) -> int:
        """How many steps a walk through all names may take: sharing must not multiply them."""
        return 4 * self.slots + 1000

    def holds(self, value: Value) -> bool:
        """Tell whether `value`, which is in the nest, is a tensor or has one in it."""
        return id(value) in self._holders

    def _tensors(self) -> list[int]:
        """Return the ids of all tensors; note who holds what."""
        left, found = [self.root], []
        self._parents[id(self.root)] = []
        while left:
            value = left.pop()
            if isinstance(value, (View, Unreadable)):
                found.append(id(value))
            for inner in _below(value):
                self.slots += 1
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


def model_of(value: Value) -> tuple[list[Named], list[str]]:
    """Return the model's tensors by name, and notes on what was chosen and left out.

    Raises ConvertError where there is no tensor, or a name that cannot be one.
    """
    nest, path, beside = Nest(value), "", list[Entry]()
    for _ in range(_MAX_DEPTH):
        key = _model_key(value, nest)
        if not key or not isinstance(value, Table):
            break
        beside += [(path, k, v) for k, v in value.items if k != key]
        value, path = next(v for k, v in value.items if k == key), f"{path}{key}."
    else:
        raise ConvertError(f"it is nested more than {_MAX_DEPTH} deep, or holds itself")
    value, training = _without_training(value, nest)
    beside += [(path, k, v) for k, v in training]
    named, others = _flat(value)
    if not named:
        raise ConvertError("it holds no tensors")
    left_out = [_entry(*entry) for entry in beside[:_LISTED]]
    left_out += [f"{path}{other}" for other in others]
    more = len(beside) - _LISTED
    return named, list(_notes(path, left_out, max(0, more), named))


def _model_key(value: Value, nest: Nest) -> str:
    """Return the key under which a checkpoint has its model; empty where it is one itself."""
    items = value.items if isinstance(value, Table) else []
    dicts = {k for k, v in items if isinstance(k, str) and isinstance(v, Table) and nest.holds(v)}
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
    return named and isinstance(value, (Table, list, tuple))


def _below(value: Value) -> list[Value]:
    """Return the values that stand in `value`."""
    if isinstance(value, Table):
        return [v for _, v in value.items]
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, Inert):
        return value.parts
    return [value.state] if isinstance(value, Script) else []


def _entry(path: str, key: Value, value: Value) -> str:
    """Name an entry that is left out, with the number of its tensors."""
    count = 0 if isinstance(value, View) else Nest(value).tensors
    tensors = f" ({count} {'tensor' if count == 1 else 'tensors'})" if count else ""
    return f"{path}{_printed(key)}{tensors}"


def _printed(key: Value) -> str:
    """Return a key as notes show it."""
    if isinstance(key, str):
        return key if key.isprintable() and len(key) <= 100 else shown(key)
    return str(key) if type(key) is int else kind(key)


def _flat(value: Value) -> tuple[list[Named], list[str]]:
    """Return tensors by name, in their order, and the names of what has none in it."""
    named: dict[str, View | Unreadable] = {}
    others: list[str] = []
    for path, leaf in _leaves(Nest(value)):
        if not isinstance(leaf, (View, Unreadable)):
            others.append(kind(leaf) if path is None else _printed(path))
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
    for _ in range(nest.most):
        if not left:
            return
        name, value, depth = left.pop()
        if not isinstance(value, (Table, list, tuple)) or not nest.holds(value):
            if value is not None and (_below(value) or not isinstance(value, (Table, list, tuple))):
                yield name, value
        elif depth == _MAX_DEPTH:
            raise ConvertError(f"it is nested more than {_MAX_DEPTH} deep, or holds itself")
        else:
            pairs = _pairs(value)
            left += [(_joined(name, k, v, nest), v, depth + 1) for k, v in pairs[::-1]]
    raise ConvertError("it holds the same values too often")


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
    return last if name is None else f"{name}.{last}"


def _notes(path: str, beside: list[str], more: int, named: list[Named]) -> Iterator[str]:
    where = f"the model is {path[:-1]}" if path else ""
    more += max(0, len(beside) - _LISTED)
    rest = f" and {more} more" if more else ""
    out = f"left out: {', '.join(beside[:_LISTED])}{rest}" if beside else ""
    if where or out:
        yield "; ".join(filter(None, (where, out)))
    if all(name.startswith("module.") for name, _ in named):
        yield "every name begins with 'module.', as DataParallel saves them: kept"


def fault_of(storage: Storage) -> str:
    """Say why the numbers of a storage cannot be had; empty where they can."""
    if storage.location.split(":")[0] == "meta":
        return "its storage is on the meta device: it has no numbers"
    return storage.fault

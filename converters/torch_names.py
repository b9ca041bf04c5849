"""Which tensors of an unpickled file are the model, and what they are called.

A file is a state dict, or a checkpoint that holds one beside the optimizer's state, or any nest of
dicts, lists and tuples. The rule, in order:

1. a dict with one of the keys of MODELS whose value is a dict with tensors: that value is the
   model (the first of these keys in the order of MODELS), and is looked at again;
2. else everything is the model but entries of a training run (TRAINING), if there is another one.

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
TRAINING = ("optim", "lr_sched", "scheduler", "scaler", "amp", "rng", "cuda_rng", "random", "loss")
_MAX_DEPTH = 64
_MAX_STEPS = 1 << 22  # values that are looked at: a list may hold one list many times
_LISTED = 8  # entries that a note names

Named = tuple[str, "View | Unreadable"]


def model_of(value: Value) -> tuple[list[Named], list[str]]:
    """Return the model's tensors by name, and notes on what was chosen and left out.

    Raises ConvertError where there is no tensor, or a name that cannot be one.
    """
    path: list[str] = []
    beside: list[str] = []
    while isinstance(value, Table) and (key := _model_key(value)):
        beside += [_entry(path, k, v) for k, v in value.items if k != key]
        path.append(key)
        value = next(v for k, v in value.items if k == key)
        if len(path) > _MAX_DEPTH:
            raise ConvertError(f"it is nested more than {_MAX_DEPTH} deep")
    value, training = _without_training(value)
    beside += [_entry(path, k, v) for k, v in training]
    named, others = _flat(value)
    if not named:
        raise ConvertError("it holds no tensors")
    prefix = "".join(f"{key}." for key in path)
    return named, list(_notes(path, beside + [f"{prefix}{other}" for other in others], named))


def _model_key(value: Table) -> str:
    """Return the key under which a checkpoint has its model; empty where it is one itself."""
    dicts = {k: v for k, v in value.items if isinstance(k, str) and isinstance(v, Table)}
    return next((key for key in MODELS if key in dicts and count_tensors(dicts[key])), "")


def _without_training(value: Value) -> tuple[Value, list[tuple[Value, Value]]]:
    """Part a dict into what may be the model and what is of the training run."""
    if not isinstance(value, Table):
        return value, []
    of_run = [pair for pair in value.items if _is_training(pair[0])]
    others = Table([pair for pair in value.items if not _is_training(pair[0])])
    return (others, of_run) if of_run and count_tensors(others) else (value, [])


def _is_training(key: Value) -> bool:
    """Tell whether the entry `key` is of a training run."""
    return isinstance(key, str) and "." not in key and key.lower().startswith(TRAINING)


def count_tensors(value: Value) -> int:
    """Return how many tensors are below `value`; a value that is there twice counts once."""
    seen: set[int] = set()
    left, count = [value], 0
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        count += isinstance(value, (View, Unreadable))
        left += _below(value)
    return count


def _below(value: Value) -> list[Value]:
    """Return the values that stand in `value`."""
    if isinstance(value, Table):
        return [v for _, v in value.items]
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, Inert):
        return value.parts
    return [value.state] if isinstance(value, Script) else []


def _entry(path: list[str], key: Value, value: Value) -> str:
    """Name an entry that is left out, with the number of its tensors."""
    name = ".".join([*path, _printed(key)])
    count = count_tensors(value)
    if isinstance(value, View) or not count:
        return name
    return f"{name} ({count} {'tensor' if count == 1 else 'tensors'})"


def _printed(key: Value) -> str:
    """Return a key as notes show it."""
    if isinstance(key, str):
        return key if key.isprintable() and len(key) <= 100 else shown(key)
    return str(key) if type(key) is int else kind(key)


def _flat(value: Value) -> tuple[list[Named], list[str]]:
    """Return tensors by name, in their order, and the names of what is none."""
    named: dict[str, View | Unreadable] = {}
    others: list[str] = []
    for path, leaf in _leaves(value):
        if not isinstance(leaf, (View, Unreadable)):
            others.append(_printed(path) or kind(leaf))
            continue
        name = _checked(path or "tensor")
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


def _leaves(value: Value) -> Iterator[tuple[str, Value]]:
    """Yield what is no container, each with its name, in order."""
    left: list[tuple[str, Value, int]] = [("", value, 0)]
    for _ in range(_MAX_STEPS):
        if not left:
            return
        name, value, depth = left.pop()
        if not isinstance(value, (Table, list, tuple)):
            if value is not None:
                yield name, value
            continue
        if depth == _MAX_DEPTH:
            raise ConvertError(f"it is nested more than {_MAX_DEPTH} deep, or holds itself")
        pairs = [(_joined(name, key, inner), inner, depth + 1) for key, inner in _pairs(value)]
        left += pairs[::-1]
    raise ConvertError(f"it has more than {_MAX_STEPS} values")


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


def _joined(name: str, key: Value, value: Value) -> str:
    """Return the name of what stands under `key` in what is called `name`."""
    if isinstance(key, str) or type(key) is int:
        return f"{name}.{key}" if name else str(key)
    if count_tensors(value):
        raise ConvertError(f"a tensor under a key that is {kind(key)}, in {shown(name)}")
    return f"{name}.{kind(key)}" if name else kind(key)


def _notes(path: list[str], beside: list[str], named: list[Named]) -> Iterator[str]:
    where = f"the model is {'.'.join(path)}" if path else ""
    if beside:
        more = len(beside) - _LISTED
        rest = f" and {more} more" if more > 0 else ""
        out = f"left out: {', '.join(beside[:_LISTED])}{rest}"
        yield f"{where}; {out}" if where else out
    elif where:
        yield where
    if all(name.startswith("module.") for name, _ in named):
        yield "every name begins with 'module.', as DataParallel saves them: kept"


def fault_of(storage: Storage) -> str:
    """Say why the numbers of a storage cannot be had; empty where they can."""
    if storage.location.split(":")[0] == "meta":
        return "its storage is on the meta device: it has no numbers"
    return storage.fault

"""The words that a pickle of torch may use, and what each means here.

A word that may be called has a function of this module, which checks the exact shape of its
arguments. All others are only named: types, functions of NumPy whose result does not matter.

Persistent ids: ("storage", type, key, location, elements), in legacy files with a sixth entry,
None or (key of the view, first element, elements). An UntypedStorage counts bytes.

Spec: torch/_utils.py, torch/serialization.py.    Sisters: torch_pickle.py, torch_values.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dcformat.errors import ConvertError
from dcformat.ids import WIDTH, DType

from .torch_pickle import MAX_STEPS, kind
from .torch_values import Inert, Script, Storage, Table, Unreadable, Value, View, Word
from .weights import shown

Arguments = tuple[Value, ...]
_MOST = 1 << 62  # of an offset, a size or a stride
_MOST_ARGUMENTS = 16
_DIGITS = 20  # of a number that an error names
_READ = "only tensors, numbers, texts and containers of them are read"

#: Element types by the names that torch gives them; more names follow.
DTYPES: dict[str, DType] = {
    "float64": DType.DOUBLE, "float32": DType.FLOAT, "float16": DType.FLOAT16,
    "bfloat16": DType.BFLOAT16, "complex64": DType.COMPLEX64, "complex128": DType.COMPLEX128,
    "int64": DType.INT64, "int32": DType.INT32, "int16": DType.INT16, "int8": DType.INT8,
    "uint64": DType.UINT64, "uint32": DType.UINT32, "uint16": DType.UINT16, "uint8": DType.UINT8,
    "bool": DType.BOOL, "float8_e4m3fn": DType.FLOAT8E4M3FN, "float8_e5m2": DType.FLOAT8E5M2,
    "float8_e4m3fnuz": DType.FLOAT8E4M3FNUZ, "float8_e5m2fnuz": DType.FLOAT8E5M2FNUZ,
    "float8_e8m0fnu": DType.FLOAT8E8M0,
}  # fmt: skip
_STORAGES = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16",
    "ComplexFloat": "complex64", "ComplexDouble": "complex128", "Long": "int64", "Int": "int32",
    "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
}  # fmt: skip
_QUANTIZED = {"QInt8": 1, "QUInt8": 1, "QInt32": 4, "QUInt4x2": 1, "QUInt2x4": 1}
#: Types that torch has and a .dcf has not, or not so.
_OTHER_DTYPES = (
    "qint8", "quint8", "qint32", "quint4x2", "quint2x4", "complex32", "float4_e2m1fn_x2",
    "bits8", "bits16", "bits1x8", "bits2x4", "bits4x2",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 8)),
)  # fmt: skip
_OTHER_WORDS = (
    "strided", "sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc", "jagged",
    "per_tensor_affine", "per_channel_affine", "per_channel_affine_float_qparams",
    "contiguous_format", "channels_last", "channels_last_3d", "preserve_format",
)  # fmt: skip


def word(text: str) -> Word:
    """Return the word of a dotted name."""
    module, _, name = text.rpartition(".")
    return Word(module, name)


def storage_type(name: Word) -> tuple[DType | None, int, str]:
    """Return element type and width of a storage class, and why it cannot be read."""
    short = name.name.removesuffix("Storage")
    if short in _STORAGES:
        dtype = DTYPES[_STORAGES[short]]
        return dtype, WIDTH[dtype], ""
    if short in _QUANTIZED:
        return None, _QUANTIZED[short], f"its storage is quantized ({name.name})"
    return None, 1, ""


class TorchWords:
    """The table at work on one pickle; `scripts` allows classes of TorchScript."""

    def __init__(self, scripts: bool = False) -> None:
        self.scripts = scripts
        self.storages: dict[str, Storage] = {}  #: the first mention of each key
        self.copies = 0

    def named(self, module: str, name: str) -> Value:
        """Return the word, if it is in the table."""
        found = Word(module, name)
        if self.scripts and found.module.split(".")[0] == "__torch__":
            return found
        if found not in WORDS:
            raise ConvertError(f"it names {shown(f'{module}.{name}')}, which is refused: {_READ}")
        return found

    def called(self, function: Value, arguments: Value) -> Value:
        """Return what stands for the result of a call of a word."""
        if not isinstance(function, Word):
            raise ConvertError(f"it calls {kind(function)}, which is refused")
        action = WORDS.get(function)
        if action is None:
            raise ConvertError(f"it calls {shown(str(function))}, which is refused")
        if not isinstance(arguments, tuple):
            raise ConvertError(f"it calls {function} with {kind(arguments)}, not with a tuple")
        self._spend(function, arguments)
        try:
            return action(arguments)
        except ConvertError as error:
            raise ConvertError(f"{function}: {error.message}") from error

    def _spend(self, function: Word, arguments: Arguments) -> None:
        """Bound what calls copy of their arguments: a pickle can hand the same to many."""
        if len(arguments) > _MOST_ARGUMENTS:
            raise ConvertError(f"it calls {function} with {len(arguments)} arguments")
        self.copies += sum(len(a) for a in arguments if isinstance(a, (list, tuple)))
        if self.copies > MAX_STEPS:
            raise ConvertError(f"it calls {function} with the same values too often")

    def made(self, cls: Value, arguments: Value) -> Value:
        """Return a new object of TorchScript; no other class is made."""
        if isinstance(cls, Word) and cls.module.split(".")[0] == "__torch__" and arguments == ():
            return Script(str(cls))
        raise ConvertError(f"it makes an object of {kind(cls)}, which is refused")

    def built(self, instance: Value, state: Value) -> None:
        """Give a state to what may have one; attributes of an OrderedDict are dropped."""
        if isinstance(instance, Script) and not instance.built:
            instance.state, instance.built = state, True
        elif isinstance(instance, Inert) and instance.takes_state:
            instance.parts.append(state)
        elif not (isinstance(instance, Table) and instance.takes_state and type(state) is Table):
            raise ConvertError(f"it sets the state of {kind(instance)}, which is refused")

    def found(self, reference: Value) -> Value:
        """Return the storage that a persistent id means."""
        if not isinstance(reference, tuple) or len(reference) > _MOST_ARGUMENTS:
            raise ConvertError("its persistent id is none of a storage")
        match reference:
            case ("storage", Word() as of, str(key), str(location), int(elements), *view):
                pass
            case ("module", *_):
                raise ConvertError("it refers to the source of a module, which is refused")
            case _:
                raise ConvertError("its persistent id is none of a storage")
        right = type(elements) is int and 0 <= elements < _MOST
        if WORDS.get(of) is not _storage_class or not right:
            digits = str(elements)
            count = digits if len(digits) <= _DIGITS else f"{digits[:_DIGITS]}..."
            stated = f"{count} elements of {shown(str(of))}"
            raise ConvertError(f"its persistent id is wrong: {stated}")
        dtype, width, fault = storage_type(of)
        whole = Storage(key, dtype, elements, width, location, elements, fault)
        self.storages.setdefault(key, whole)
        return _part(whole, view) if view else whole


def _part(whole: Storage, view: list[Value]) -> Storage:
    """Return the view of a legacy storage; nearly always there is none."""
    match view:
        case [None]:
            return whole
        case [(str(), int(first), int(elements))] if 0 <= first <= first + elements:
            if first + elements > whole.elements:
                raise ConvertError("a view of a storage that ends behind it")
            return replace(whole, first=first, end=first + elements)
    raise ConvertError("its persistent id has a view of a wrong shape")


def _storage_class(_: Arguments) -> Value:
    raise ConvertError("a storage is not made by a call")


def _tensor(arguments: Arguments) -> Value:
    """_rebuild_tensor(storage, offset, size, stride)"""
    match arguments:
        case (Storage() as storage, offset, size, stride):
            return _view(storage, offset, size, stride, storage.dtype)
    raise _wrong(arguments)


def _tensor_v2(arguments: Arguments) -> Value:
    """_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])"""
    match arguments:
        case (Storage() as storage, offset, size, stride, bool(), Table(items=[]), *rest):
            return _bits(_view(storage, offset, size, stride, storage.dtype), rest)
    raise _wrong(arguments)


def _tensor_v3(arguments: Arguments) -> Value:
    """_rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype[, metadata])"""
    match arguments:
        case (
            Storage() as storage,
            offset,
            size,
            stride,
            bool(),
            Table(items=[]),
            Word() as of,
            *rest,
        ):
            if WORDS.get(of) is not _dtype:
                raise ConvertError(f"{shown(str(of))} is no element type")
            if of.name not in DTYPES:
                return Unreadable(f"a .dcf has no element type {of}")
            return _bits(_view(storage, offset, size, stride, DTYPES[of.name]), rest)
    raise _wrong(arguments)


def _bits(tensor: Value, rest: list[Value]) -> Value:
    """Take the metadata: bits that say that the numbers are to be conjugated or negated."""
    match rest:
        case [] | [None] | [Table(items=[])]:
            return tensor
        case [Table(items=bits)] if all(value is False for _, value in bits):
            return tensor
        case [Table()]:
            return Unreadable("it is lazily conjugated or negated: save tensor.resolve_conj()")
    raise ConvertError("its metadata has a wrong shape")


def _view(
    storage: Storage, offset: Value, size: Value, stride: Value, dtype: DType | None
) -> Value:
    """Return a view, its numbers checked to be numbers; where it ends is checked by its user."""
    axes, steps = _numbers(size), _numbers(stride)
    (first,) = _numbers((offset,))
    if len(axes) != len(steps):
        raise ConvertError(f"{len(axes)} sizes and {len(steps)} strides")
    if storage.fault:
        return Unreadable(storage.fault)
    if dtype is None:
        raise ConvertError("a tensor of an untyped storage has no element type")
    return View(storage, first, axes, steps, dtype)


def _numbers(values: Value) -> tuple[int, ...]:
    if not isinstance(values, tuple):
        raise ConvertError(f"{kind(values)} where a tuple of numbers belongs")
    found = [n for n in values if type(n) is int and 0 <= n < _MOST]
    if len(found) != len(values):
        raise ConvertError("a size, offset or stride that is none")
    return tuple(found)


def _parameter(arguments: Arguments) -> Value:
    """_rebuild_parameter(data, requires_grad, hooks), with a state: attributes set by users"""
    match arguments:
        case ((View() | Unreadable()) as data, bool(), Table(items=[]), *rest) if len(rest) <= 1:
            return data
    raise _wrong(arguments)


def _parameter_class(arguments: Arguments) -> Value:
    """Parameter(data[, requires_grad]), of very old files"""
    match arguments:
        case ((View() | Unreadable()) as data, *rest) if len(rest) <= 1:
            return data
    raise _wrong(arguments)


def _from_type(arguments: Arguments) -> Value:
    """_rebuild_from_type_v2(function, class, arguments, state): a tensor with attributes"""
    match arguments:
        case (Word() as function, Word() as cls, tuple(inner), _):
            if cls not in _TENSORS:
                raise ConvertError(f"a tensor of class {shown(str(cls))}, which is refused")
            if function in _REBUILDS and len(inner) <= _MOST_ARGUMENTS:
                return _REBUILDS[function](inner)
    raise _wrong(arguments)


def _unreadable(reason: str) -> Callable[[Arguments], Value]:
    return lambda _: Unreadable(reason)


def _ordered(arguments: Arguments) -> Value:
    """OrderedDict(), and of Python 2 OrderedDict([[key, value], ...])"""
    match arguments:
        case ():
            return Table(takes_state=True)
        case (list(pairs),) if all(isinstance(p, (list, tuple)) and len(p) == 2 for p in pairs):
            return Table([(p[0], p[1]) for p in pairs], takes_state=True)
    raise _wrong(arguments)


def _default(arguments: Arguments) -> Value:
    """defaultdict([factory]): the factory is not kept"""
    match arguments:
        case () | (None | Word(),):
            return Table()
    raise _wrong(arguments)


def _same(arguments: Arguments) -> Value:
    """A wrapper around one value: torch.Size, lists of TorchScript"""
    match arguments:
        case ((tuple() | list()) as value,):
            return value
    raise _wrong(arguments)


def _tagged(arguments: Arguments) -> Value:
    """restore_type_tag(value, type)"""
    match arguments:
        case (value, str()):
            return value
    raise _wrong(arguments)


def _inert(what: str, takes_state: bool = False) -> Callable[[Arguments], Value]:
    return lambda arguments: Inert(what, [arguments], takes_state)


def _dtype(_: Arguments) -> Value:
    raise ConvertError("an element type is not called")


def _just_named(_: Arguments) -> Value:
    raise ConvertError("it may be named, not called")


def _wrong(arguments: Arguments) -> ConvertError:
    given = ", ".join(kind(a) for a in arguments[:8])
    return ConvertError(f"its arguments have a wrong shape: {given or 'none'}")


Action = Callable[[Arguments], Value]
_REBUILDS: dict[Word, Action] = {
    word("torch._utils._rebuild_tensor"): _tensor,
    word("torch._utils._rebuild_tensor_v2"): _tensor_v2,
    word("torch._utils._rebuild_tensor_v3"): _tensor_v3,
    word("torch._utils._rebuild_qtensor"): _unreadable("it is quantized: save its int_repr()"),
    word("torch._utils._rebuild_sparse_tensor"): _unreadable("it is sparse: save its to_dense()"),
    word("torch._utils._rebuild_sparse_csr_tensor"): _unreadable("it is sparse"),
    word("torch._utils._rebuild_nested_tensor"): _unreadable("it is nested: save its parts"),
    word("torch._utils._rebuild_meta_tensor_no_storage"): _unreadable(
        "it is on the meta device: it has no numbers"
    ),
    word("torch._utils._rebuild_device_tensor_from_numpy"): _unreadable(
        "its numbers are in the pickle: save it from the CPU"
    ),
    word("torch._utils._rebuild_xla_tensor"): _unreadable(
        "its numbers are in the pickle: save it from the CPU"
    ),
}
_TENSORS = {
    word("torch.Tensor"),
    word("torch._tensor.Tensor"),
    word("torch.nn.parameter.Parameter"),
}

#: Every word that a pickle may use, and what its call means.
WORDS: dict[Word, Action] = {
    **_REBUILDS,
    word("torch._utils._rebuild_parameter"): _parameter,
    word("torch._utils._rebuild_parameter_with_state"): _parameter,
    word("torch._tensor._rebuild_from_type_v2"): _from_type,
    word("torch._tensor._rebuild_from_type"): _from_type,
    word("torch.tensor._rebuild_from_type"): _from_type,
    word("torch.nn.parameter.Parameter"): _parameter_class,
    word("torch.Tensor"): _just_named,
    word("torch._tensor.Tensor"): _just_named,
    word("torch.Size"): _same,
    word("torch.device"): _inert("a device"),
    word("torch.serialization._get_layout"): _inert("a layout"),
    word("collections.OrderedDict"): _ordered,
    word("collections.defaultdict"): _default,
    word("collections.Counter"): _inert("a Counter"),
    word("_codecs.encode"): _inert("bytes"),
    word("torch.jit._pickle.restore_type_tag"): _tagged,
}
for _name in ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist"):
    WORDS[word(f"torch.jit._pickle.{_name}")] = _same
for _name in (*_STORAGES, *_QUANTIZED, "Untyped"):
    for _module in ("torch", "torch.cuda", "torch.storage"):
        WORDS[Word(_module, f"{_name}Storage")] = _storage_class
for _name in (*DTYPES, *_OTHER_DTYPES):
    WORDS[Word("torch", _name)] = _dtype
for _name in _OTHER_WORDS:
    WORDS[Word("torch", _name)] = _just_named
for _module in ("builtins", "__builtin__"):
    for _name in ("int", "float", "str", "bool", "list", "tuple", "dict", "object",
                  "long", "unicode"):  # fmt: skip # what protocol 2 calls int and str
        WORDS[Word(_module, _name)] = _just_named
    for _name in ("set", "frozenset", "bytearray", "bytes", "complex", "slice"):
        WORDS[Word(_module, _name)] = _inert(f"a {_name}")
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    WORDS[Word(_module, "scalar")] = _inert("a NumPy number")
    WORDS[Word(_module, "_reconstruct")] = _inert("a NumPy array", takes_state=True)
WORDS[word("numpy._core.numeric._frombuffer")] = _inert("a NumPy array")
WORDS[word("numpy.core.numeric._frombuffer")] = _inert("a NumPy array")
WORDS[word("numpy.ndarray")] = _just_named
WORDS[word("numpy.dtype")] = _inert("a NumPy type", takes_state=True)
for _name in ("Bool", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64",
              "Float16", "Float32", "Float64", "Complex64", "Complex128"):  # fmt: skip
    WORDS[Word("numpy.dtypes", f"{_name}DType")] = _inert("a NumPy type", takes_state=True)
for _name in ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64",
              "uint32", "uint16", "uint8", "bool_"):  # fmt: skip
    WORDS[Word("numpy", _name)] = _just_named

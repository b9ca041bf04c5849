"""The program of a torch.export archive, rebuilt from the parts that cannot do harm.

PyTorch's loader trusts the file: it looks up functions by name in the whole of torch, evaluates
expressions of sizes as Python, writes names into Python source that it runs, and imports classes.
So it gets what this module makes of the JSON: fields that are known, names that are identifiers,
operators of ATen, expressions of symbols and whole numbers. Anything else is refused.

Spec: spec/SECURITY.md (S5), torch/_export/serde/schema.py (version 8)
Sisters: pt2_sizes.py (expressions), pt2_graph.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from dcformat.errors import ConvertError

from .pt2_sizes import SYMBOL, expression
from .strict_json import parse
from .weights import shown

Check = Callable[[Any], Any]  #: returns what is kept of a value; ConvertError where it is refused

MAJOR = 8
_DIALECTS = ("TRAINING", "ATEN")
_OPERATOR = re.compile(
    r"torch\.ops\.(?:aten|prims)\.(?P<op>[A-Za-z_]\w*)\.[A-Za-z]\w*"
    r"|torch\.ops\.higher_order\.(?:cond|wrap_with_set_grad_enabled|wrap_with_autocast)"
    r"|_operator\.(?:eq|ne|le|ge|lt|gt|neg|pos|mul|add|sub|floordiv|mod|truediv|and_|or_|getitem)"
    r"|math\.(?:trunc|floor|ceil)|torch\.sym_(?:not|int|float|ite|max|min|sqrt)",
    re.ASCII,
)
_DUNDERS = frozenset({"__and__", "__or__", "__xor__", "__lshift__", "__rshift__"})
_FILES = frozenset({"from_file", "save"})  # operators that open files
_CONTAINERS = ("builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")


def checked(program: Any) -> dict[str, Any]:
    """Return the safe part of a parsed `models/<name>.json`; ConvertError says what is not."""
    version = program.get("schema_version") if isinstance(program, dict) else None
    if not isinstance(version, dict) or version.get("major") != MAJOR:
        raise ConvertError(f"its schema is not of version {MAJOR}")
    try:
        found: dict[str, Any] = _PROGRAM(program)
    except RecursionError:
        raise ConvertError("its graph is nested too deeply") from None
    return found


def _refused(what: str, value: Any) -> ConvertError:
    return ConvertError(f"{what} {shown(str(value))} is refused")


def _text(what: str, pattern: str) -> Check:
    compiled = re.compile(pattern, re.ASCII)

    def check(value: Any) -> Any:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise _refused(what, value)
        return value

    return check


def _is(kind: type, what: str) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise _refused(what, value)
        return value

    return check


def _whole(value: Any) -> Any:
    if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
        raise _refused("number", value)
    return value


def _real(value: Any) -> Any:
    if value in ("Infinity", "-Infinity", "NaN") or type(value) in (int, float):
        return value
    raise _refused("number", value)


def _maybe(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _each(check: Check) -> Check:
    def checks(value: Any) -> Any:
        if not isinstance(value, list):
            raise _refused("list", value)
        return [check(item) for item in value]

    return checks


def _table(key: Check, check: Check) -> Check:
    def checks(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _refused("table", value)
        return {key(name): check(item) for name, item in value.items()}

    return checks


def _struct(**fields: Check) -> Check:
    """Keep the known fields of an object; fields that are missing are left to PyTorch."""

    def check(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _refused("object", value)
        return {name: field(value[name]) for name, field in fields.items() if name in value}

    return check


def _union(**cases: Check) -> Check:
    """One field of the known ones, which says what the value is."""

    def check(value: Any) -> Any:
        if not isinstance(value, dict) or len(value) != 1:
            raise _refused("value", value)
        ((name, item),) = value.items()
        if name not in cases:
            raise _refused("kind of value", name)
        return {name: cases[name](item)}

    return check


def _fixed(made: Callable[[], Any]) -> Check:
    """Replace a field that is not needed."""
    return lambda value: made()


def _nothing(value: Any) -> Any:
    if value:
        raise ConvertError("it holds custom objects, which are code")
    return value


def _target(value: Any) -> Any:
    match = _OPERATOR.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _refused("operator", value)
    op = match["op"] or ""
    if op in _FILES or (op.startswith("__") and op not in _DUNDERS):
        raise _refused("operator", value)
    return value


def _tree(value: Any) -> Any:
    """Take a description of arguments that is made of tuples, lists and dicts."""
    found = _inner_json(value)
    if not isinstance(found, list) or len(found) != 2 or found[0] != 1:
        raise _refused("description of arguments", value)
    return json.dumps([1, _branch(found[1])])


def _inner_json(value: Any) -> Any:
    """Return what JSON in a string of JSON says."""
    if not isinstance(value, str) or not value.isascii():
        raise _refused("description of arguments", value)
    return parse(value.encode())


def _branch(value: Any) -> Any:
    found = _struct(type=_kind, context=_maybe(_context), children_spec=_each(_branch))(value)
    if len(found) != 3:
        raise _refused("description of arguments", value)
    return found


def _kind(value: Any) -> Any:
    if value is not None and value not in _CONTAINERS:
        raise ConvertError(f"its arguments or results are a {shown(str(value))}")
    return value


def _context(value: Any) -> Any:
    """Take the keys of a dict, as JSON in JSON, or null."""
    found = _inner_json(value)
    if found is None:
        return value
    return json.dumps(_each(_text("key", r"[\w.\- ]*"))(found))


def _device(value: Any) -> Any:
    """Whatever it was made on: there is a processor."""
    return {"type": "cpu", "index": None}


def _calls(value: Any) -> Any:
    """Keep how the whole is called; the parts are not looked at."""
    whole = [call for call in _each(_CALL)(value) if call.get("fqn") == ""]
    if len(whole) != 1:
        raise ConvertError("it does not say how it is called")
    return whole


def _dialects(value: Any) -> Any:
    return [dialect for dialect in _DIALECTS if isinstance(value, list) and dialect in value]


def _graph(value: Any) -> Any:
    return _GRAPH(value)


_NAME = _text("name", r"[A-Za-z_]\w*")
_PATH = _text("name", r"[\w.\-]*")
_WORDS = _text("text", r"[\w,.>\- ]{0,200}")
_FLAG = _is(bool, "flag")
_TENSOR = _struct(name=_NAME)
_HINT = _union(as_int=_whole, as_bool=_FLAG, as_float=_real)
_SYMBOLIC = _struct(expr_str=expression, hint=_maybe(_HINT))
_SYM_INT = _union(as_expr=_SYMBOLIC, as_int=_whole)
_SYM_FLOAT = _union(as_expr=_SYMBOLIC, as_float=_real)
_SYM_BOOL = _union(as_expr=_SYMBOLIC, as_bool=_FLAG)
_INT = _union(as_name=_NAME, as_int=_whole)
_FLOAT = _union(as_name=_NAME, as_float=_real)
_BOOL = _union(as_name=_NAME, as_bool=_FLAG)
_OPTIONAL = _union(as_tensor=_TENSOR, as_none=_FLAG)
_META = _struct(
    dtype=_whole,
    sizes=_each(_SYM_INT),
    requires_grad=_FLAG,
    device=_device,
    strides=_each(_SYM_INT),
    storage_offset=_SYM_INT,
    layout=_whole,
)
_ARGUMENT = _union(
    as_none=_FLAG,
    as_tensor=_TENSOR,
    as_tensors=_each(_TENSOR),
    as_int=_whole,
    as_ints=_each(_whole),
    as_float=_real,
    as_floats=_each(_real),
    as_string=_WORDS,
    as_strings=_each(_WORDS),
    as_sym_int=_INT,
    as_sym_ints=_each(_INT),
    as_scalar_type=_whole,
    as_memory_format=_whole,
    as_layout=_whole,
    as_device=_device,
    as_bool=_FLAG,
    as_bools=_each(_FLAG),
    as_sym_bool=_BOOL,
    as_sym_bools=_each(_BOOL),
    as_graph=_struct(name=_NAME, graph=_graph),
    as_optional_tensors=_each(_OPTIONAL),
    as_sym_float=_FLOAT,
    as_sym_floats=_each(_FLOAT),
    as_optional_tensor=_OPTIONAL,
    as_complex=_struct(real=_real, imag=_real),
    as_nested_tensors=_each(_each(_TENSOR)),
    as_int_lists=_each(_each(_whole)),
    as_float_lists=_each(_each(_real)),
)
_INPUT = _struct(name=_text("name", r"([A-Za-z_]\w*)?"), arg=_ARGUMENT, kind=_maybe(_whole))
_NODE = _struct(
    target=_target,
    inputs=_each(_INPUT),
    outputs=_each(_ARGUMENT),
    metadata=_fixed(dict),
    is_hop_single_tensor_return=_maybe(_FLAG),
    name=_maybe(_NAME),
)
_GRAPH = _struct(
    inputs=_each(_ARGUMENT),
    outputs=_each(_ARGUMENT),
    nodes=_each(_NODE),
    tensor_values=_table(_NAME, _META),
    sym_int_values=_table(_NAME, _SYM_INT),
    sym_bool_values=_table(_NAME, _SYM_BOOL),
    sym_float_values=_table(_NAME, _SYM_FLOAT),
    is_single_tensor_return=_FLAG,
    custom_obj_values=_nothing,
)
_CONSTANT = _union(as_none=_FLAG, as_int=_whole, as_float=_real, as_string=_WORDS, as_bool=_FLAG)
_INPUT_SPEC = _union(
    user_input=_struct(arg=_ARGUMENT),
    parameter=_struct(arg=_TENSOR, parameter_name=_PATH),
    buffer=_struct(arg=_TENSOR, buffer_name=_PATH, persistent=_FLAG),
    tensor_constant=_struct(arg=_TENSOR, tensor_constant_name=_PATH),
    constant_input=_struct(name=_NAME, value=_CONSTANT),
)
_OUTPUT_SPEC = _union(
    user_output=_struct(arg=_ARGUMENT),
    buffer_mutation=_struct(arg=_TENSOR, buffer_name=_PATH),
    user_input_mutation=_struct(arg=_TENSOR, user_input_name=_NAME),
)
_CALL = _struct(
    fqn=_is(str, "name"),
    signature=_maybe(
        _struct(
            inputs=_each(_ARGUMENT),
            outputs=_each(_ARGUMENT),
            in_spec=_tree,
            out_spec=_tree,
            forward_arg_names=_maybe(_each(_NAME)),
        )
    ),
)
_PROGRAM = _struct(
    graph_module=_struct(
        graph=_graph,
        signature=_struct(input_specs=_each(_INPUT_SPEC), output_specs=_each(_OUTPUT_SPEC)),
        module_call_graph=_calls,
        metadata=_fixed(dict),
        treespec_namedtuple_fields=_fixed(dict),
    ),
    opset_version=_table(_NAME, _whole),
    range_constraints=_table(
        _text("symbol", SYMBOL), _struct(min_val=_maybe(_whole), max_val=_maybe(_whole))
    ),
    schema_version=_struct(major=_whole, minor=_whole),
    verifiers=_dialects,
    torch_version=_text("version", r"[\w.+<= -]{0,60}"),
    guards_code=_fixed(list),
)

#: What the tables of weights say of one tensor (PayloadMeta), for pt2_archive.py.
Payload = Mapping[str, Any]
PAYLOADS = _struct(
    config=_table(
        _is(str, "name"),
        _struct(
            path_name=_text("path", r"[\w.\-]+"),
            is_param=_FLAG,
            use_pickle=_FLAG,
            tensor_meta=_maybe(_META),
        ),
    )
)

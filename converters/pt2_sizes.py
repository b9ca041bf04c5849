"""Expressions of sizes in a torch.export program: sums and quotients of symbols and whole numbers.

PyTorch hands their text to sympy, which evaluates it as Python. Here the text is parsed, and not
evaluated; what is not listed below is refused.

Sister: pt2_checks.py
"""

from __future__ import annotations

import ast
import re

from dcformat.errors import ConvertError

from .weights import shown

SYMBOL = r"(?:zuf|zf|s|u)\d{1,9}"
_LONGEST = 4000
_HIGHEST = 8  # power
_LARGEST = 1 << 63
_SUMS = {"Add", "Mul", "Max", "Min", "Integer", "Rational"}
_QUOTIENTS = {
    "FloorDiv",
    "CeilDiv",
    "CleanDiv",
    "IntTrueDiv",
    "ModularIndexing",
    "PythonMod",
    "Mod",
}
_ROUNDINGS = {"ToFloat", "TruncToInt", "FloorToInt", "CeilToInt", "floor", "ceiling"}
_ORDERS = {"StrictLessThan", "LessThan", "StrictGreaterThan", "GreaterThan"}
_LOGIC = {"Where", "Equality", "Unequality", "And", "Or", "Not"}
_FUNCTIONS = _SUMS | _QUOTIENTS | _ROUNDINGS | _ORDERS | _LOGIC
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv)
_CONSTANTS = frozenset({"true", "false"})


def expression(value: object) -> object:
    """Return the text of an expression; ConvertError where it is more than that."""
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise _refused(value)
    try:
        good = _is_good(ast.parse(value, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        good = False
    if not good:
        raise _refused(value)
    return value


def _refused(value: object) -> ConvertError:
    return ConvertError(f"expression {shown(str(value))} is refused")


def _is_good(node: ast.expr) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return _is_good_call(node.func.id, node)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, _OPERATORS) and _is_good(node.left) and _is_good(node.right)
    if isinstance(node, ast.Name):
        return node.id in _CONSTANTS or re.fullmatch(SYMBOL, node.id, re.ASCII) is not None
    return _whole(node) is not None


def _is_good_call(name: str, node: ast.Call) -> bool:
    if name == "Symbol":
        return _is_symbol(node)
    if node.keywords or not node.args:
        return False
    if name == "Pow":
        return len(node.args) == 2 and _is_one_symbol(node.args[0]) and _is_low(node.args[1])
    return name in _FUNCTIONS and all(_is_good(argument) for argument in node.args)


def _is_one_symbol(node: ast.expr) -> bool:
    """Tell whether this is a symbol alone: powers of powers would take for ever."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Symbol"
        and _is_symbol(node)
    )


def _is_symbol(node: ast.Call) -> bool:
    """Tell whether this is a symbol and what is assumed of it: Symbol('s7', integer=True)."""
    (name,) = node.args if len(node.args) == 1 else (None,)
    if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
        return False
    said = [keyword.value for keyword in node.keywords if keyword.arg is not None]
    plain = all(isinstance(v, ast.Constant) and isinstance(v.value, bool) for v in said)
    known = re.fullmatch(SYMBOL, name.value, re.ASCII) is not None
    return known and plain and len(said) == len(node.keywords)


def _is_low(node: ast.expr) -> bool:
    """Tell whether this is a small whole number, for a power."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1:
        number = _whole(node.args[0]) if node.func.id == "Integer" else None
        return number is not None and -1 <= number <= _HIGHEST
    return False


def _whole(node: ast.expr) -> int | None:
    """Return the whole number that a node is; None where it is none."""
    sign = 1
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        sign, node = -1, node.operand
    if not isinstance(node, ast.Constant) or type(node.value) is not int:
        return None
    return sign * node.value if node.value <= _LARGEST else None

"""Presets changed from the command line: `--set rate=1e-3 config.width=32`."""

import ast
import dataclasses
import types
import typing
from typing import Any, TypeVar

P = TypeVar("P")


def changed(plan: P, settings: tuple[str, ...]) -> P:
    """A preset with some values replaced.

    Args:
        plan: a dataclass; fields that are dataclasses are reached with a dot, "config.width".
        settings: "key=value" each; the value as in Python, text also without quotation marks.

    Returns:
        Another one of the same kind.

    Raises:
        ValueError: there is no such key, or the value is of another type than the key's.

    Example:
        >>> from train.configs.kernel_size import Preset
        >>> new = changed(Preset(), ("rate=1e-3", "config.depth=10", "light=linear"))
        >>> new.rate, new.config.depth, new.light
        (0.001, 10, 'linear')
    """
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"--set {setting}: write key=value, such as rate=1e-3")
        plan = _replaced(plan, key.split("."), text, setting)
    return plan


def _replaced(plan: Any, path: list[str], text: str, setting: str) -> Any:
    kinds = typing.get_type_hints(type(plan))
    names = [field.name for field in dataclasses.fields(plan)]
    if path[0] not in names:
        raise ValueError(f"--set {setting}: there is no {path[0]!r}; there are {', '.join(names)}")
    old = getattr(plan, path[0])
    inner = dataclasses.is_dataclass(old)
    if len(path) > 1:
        if not inner:
            raise ValueError(f"--set {setting}: {path[0]!r} has no parts; write {path[0]}=VALUE")
        return dataclasses.replace(plan, **{path[0]: _replaced(old, path[1:], text, setting)})
    if inner:
        parts = ", ".join(f"{path[0]}.{field.name}" for field in dataclasses.fields(old))
        raise ValueError(f"--set {setting}: {path[0]!r} is several values; set one of {parts}")
    value = _value(text)
    kind = kinds[path[0]]
    fit, value = _fits(value, kind)
    if not fit:
        raise ValueError(
            f"--set {setting}: {value!r} is {type(value).__name__}, but {path[0]} is "
            f"{_name(kind)} (now {old!r}); give one of that type"
        )
    return dataclasses.replace(plan, **{path[0]: value})


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _fits(value: Any, kind: Any) -> tuple[bool, Any]:
    """Whether a value is of a type, and the value in it: whole numbers are floats too."""
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        for one in typing.get_args(kind):
            fit, new = _fits(value, one)
            if fit:
                return fit, new
        return False, value
    if origin is typing.Literal:
        return value in typing.get_args(kind), value
    if origin is tuple:
        if not isinstance(value, tuple | list):
            return False, value
        kinds = typing.get_args(kind)
        if kinds[-1] is Ellipsis:
            kinds = (kinds[0],) * len(value)
        found = [_fits(v, k) for v, k in zip(value, kinds, strict=False)]
        return len(kinds) == len(value) and all(f for f, _ in found), tuple(v for _, v in found)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return True, float(value)
    if kind is int and isinstance(value, bool):
        return False, value
    if kind in (None, type(None)):
        return value is None, value
    return isinstance(value, kind), value


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind)) if typing.get_origin(kind) is None else str(kind)

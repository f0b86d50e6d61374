"""A run's options as Python's keyword arguments: checks of their types, and signatures that show them."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args, get_origin

from skylift.client.job.run_options import OPTIONS, TYPES, Option, SharedOptions, is_list
from skylift.python.wording import in_python


def check_types(function: str, options: Mapping[str, Any]) -> None:
    """Raises TypeError, as Python does itself, for a keyword that there is not and for a value that it cannot have."""
    for name, value in options.items():
        if name not in OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, n=1)
            hint = f". Did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"{function} got an unexpected keyword argument {name!r}{hint}")
        if not any(_is(value, kind) for kind in TYPES[name]):
            kinds = " or ".join(_spell_type(kind) for kind in TYPES[name])
            raise TypeError(f"{function}: {name} must be {kinds}, not {_of(value)}")


def check_texts(function: str, **values: object) -> None:
    """Raises TypeError for a parameter that is no str."""
    for name, value in values.items():
        if not isinstance(value, str):
            raise TypeError(f"{function}: {name} must be str, not {_of(value)}")


def with_environ(options: SharedOptions, environ: Mapping[str, str]) -> SharedOptions:
    """The options, with the variables of the environment for those that are not given."""
    found = {name: environ.get(each.environ) for name, each in OPTIONS.items() if each.environ is not None}
    given = {name: value for name, value in options.items() if value is not None}
    return cast(SharedOptions, {**{name: value for name, value in found.items() if value}, **given})


def spell_out(function: Any, table: Mapping[str, Option] = OPTIONS) -> None:
    """Have `help`, and the completion of notebooks, see each option in the place of `**options`. Of those that no run
    has, the docstring tells."""
    signature = inspect.signature(function)
    others = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    more = [_parameter(name, each) for name, each in table.items()]
    function.__signature__ = signature.replace(parameters=[*others, *more])
    listed = "".join(f"    {name:<15} {_help(name)}\n" for name in table if table[name] is OPTIONS.get(name))
    function.__doc__ = f"{inspect.cleandoc(function.__doc__)}\n\n{listed}"


def _parameter(name: str, option: Option) -> inspect.Parameter:
    default = False if bool in option.types else option.default
    kinds = " | ".join(map(_spell_type, option.types))
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kinds)


def _help(name: str) -> str:
    several = " One, or a list." if str in TYPES[name] and is_list(name) else ""
    return in_python(OPTIONS[name].help) + several


def _is(value: object, kind: Any) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Sequence:
        return (
            isinstance(value, Sequence)
            and not isinstance(value, str | bytes)
            and all(_is(each, inner[0]) for each in value)
        )
    if origin is Mapping:
        return isinstance(value, Mapping) and all(isinstance(each, str) for pair in value.items() for each in pair)
    if origin is os.PathLike:
        return isinstance(value, os.PathLike)
    if inner:
        return any(_is(value, each) for each in inner)
    # A bool is an int to Python, and to nobody who writes cpu=True.
    numbers = (int, float) if kind is float else kind
    return isinstance(value, numbers) and (kind is bool or not isinstance(value, bool))


def _spell_type(kind: Any) -> str:
    if kind is type(None):
        return "None"
    return str(kind).replace("collections.abc.", "") if get_args(kind) else str(kind.__name__)


def _of(value: object) -> str:
    """What it is, and not what it says, which may be a secret."""
    name = type(value).__name__
    if isinstance(value, Mapping):
        inner = {type(each).__name__ for pair in value.items() for each in pair}
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        inner = {type(each).__name__ for each in value}
    else:
        return name
    return f"a {name} of {', '.join(sorted(inner))}" if inner else name

"""What many answers have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, wraps
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

Given = ParamSpec("Given")
Members = TypeVar("Members")

KEPT = 256
"""The most parts that are kept of one function's."""


class SharedPart(dict[str, Any]):
    """A structure in answers that never changes, so that it is encoded only once.

    The structures in it are shared parts, too. Lists are refused, because they could change.
    """

    def __init__(self, members: Mapping[str, Any]) -> None:
        for name, member in members.items():
            if isinstance(member, list):
                raise TypeError(f"a shared part of answers has no lists, and {name} is one")
        super().__init__(
            {name: SharedPart(member) if isinstance(member, dict) else member for name, member in members.items()}
        )

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a shared part of answers does not change; make another one")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse


def shared(make: Callable[Given, Members]) -> Callable[Given, Members]:
    """What the function makes of the same arguments is one shared part; the KEPT that were last asked for are kept."""

    @wraps(make)
    def made(*args: Given.args, **kwargs: Given.kwargs) -> Members:
        return cast(Members, SharedPart(cast(Mapping[str, Any], make(*args, **kwargs))))

    return cast(Callable[Given, Members], lru_cache(maxsize=KEPT)(made))

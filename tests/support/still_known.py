"""What an object still knows of things that are gone: whatever text can be reached from it."""

from __future__ import annotations

import gc
import types
from collections.abc import Iterable, Iterator

_ELSEWHERE = (types.ModuleType, type, types.FrameType, types.CodeType, types.BuiltinFunctionType)
"""What leads to everything there is, and is not the object's own."""


def still_known(root: object, word: str, *, besides: Iterable[object] = ()) -> set[str]:
    """Texts with this word in them that are reachable from the object, not by way of `besides`."""
    return {text for text in _texts(root, besides) if word in text}


def _texts(root: object, besides: Iterable[object]) -> Iterator[str]:
    gc.collect()
    seen = {id(one) for one in besides}
    reached = [root]
    while reached:
        one = reached.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, str):
            yield one
        elif isinstance(one, types.FunctionType):
            # Its globals are the module's.
            reached += [one.__closure__, one.__defaults__, one.__kwdefaults__]
        elif not isinstance(one, _ELSEWHERE):
            # Of a dictionary, the collector leaves keys out that are texts.
            reached += [*gc.get_referents(one), *(one if isinstance(one, dict) else ())]

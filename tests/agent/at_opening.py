"""What another process does in the very moment in which a file is opened here, or a folder is listed: Python calls
audit hooks right before. They stay for good, so there is one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_waiting: list[tuple[str, Callable[[], object]]] = []


def _hear(event: str, args: tuple[object, ...]) -> None:
    if event in ("open", "os.scandir", "os.listdir") and _waiting:
        name, act = _waiting[0]
        if f"/{args[0]}".endswith(f"/{name}"):
            _waiting.clear()
            act()


sys.addaudithook(_hear)


@contextmanager
def at_opening(name: str, act: Callable[[], object]) -> Iterator[None]:
    """Once, whoever opens or lists it."""
    _waiting[:] = [(name, act)]
    try:
        yield
        assert not _waiting, f"{name} was not opened"
    finally:
        _waiting.clear()

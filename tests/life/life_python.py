"""The supervisor's own source, in a Python whose clock, threads, processes and network are the model's.

Nothing of the supervisor is changed or left out for this: each of its modules is executed as it stands, and what it
imports from the standard library is the real thing but for what must be the model's. A call that would reach this
machine's processes is refused by name. Files are real ones, in a folder of each server's own.
"""

from __future__ import annotations

import builtins
import importlib
import types
from pathlib import Path
from typing import Any

from life_system import (
    OS,
    CtypesModule,
    FcntlModule,
    PathlibModule,
    SelectModule,
    ShutilModule,
    SignalModule,
    SubprocessModule,
    SysModule,
    open_file,
)
from life_threads import DatetimeModule, FuturesModule, QueueModule, SecretsModule, ThreadingModule, TimeModule

PACKAGE = "skylift.agent"
SOURCE = Path(__file__).parents[2] / "skylift/agent"

MADE_UP: dict[str, Any] = {
    "ctypes": CtypesModule(),
    "time": TimeModule(),
    "datetime": DatetimeModule(),
    "secrets": SecretsModule(),
    "threading": ThreadingModule(),
    "queue": QueueModule(),
    "concurrent.futures": FuturesModule(),
    "os": OS,
    "select": SelectModule(),
    "fcntl": FcntlModule(),
    "signal": SignalModule(),
    "sys": SysModule(),
    "subprocess": SubprocessModule(),
    "shutil": ShutilModule(),
    "pathlib": PathlibModule(),
}
REFUSED = {"asyncio", "multiprocessing", "random", "sched", "selectors", "uuid"}
"""What would need a part of its own here."""


class Python:
    """The supervisor's modules by their short names. `edit` changes a module's source before it is executed."""

    def __init__(self, source: Path = SOURCE, edit: dict[str, list[tuple[str, str]]] | None = None) -> None:
        self._source, self._edit = source, edit or {}
        self._modules: dict[str, types.ModuleType] = {}
        self._builtins = dict(builtins.__dict__, __import__=self._import, open=open_file)
        self._paths = {path.stem: path for path in source.rglob("*.py") if path.stem != "__init__"}

    def __getitem__(self, name: str) -> Any:
        return self._load(name)

    def _load(self, name: str) -> types.ModuleType:
        if name not in self._modules:
            path = self._paths[name]
            text = path.read_text()
            for old, new in self._edit.get(name, ()):
                assert text.count(old) == 1, f"{name} has {text.count(old)} times {old!r}"
                text = text.replace(old, new)
            folders = path.relative_to(self._source).with_suffix("").parts
            module = self._modules[name] = types.ModuleType(".".join((PACKAGE, *folders)))
            module.__dict__.update(__builtins__=self._builtins, __file__=str(path), __path__=[])
            exec(compile(text, str(path), "exec", dont_inherit=True), module.__dict__)
        return self._modules[name]

    def _import(self, name: str, globals_: Any = None, locals_: Any = None, names: Any = (), level: int = 0) -> Any:
        if name in REFUSED:
            raise NotImplementedError(f"the model does not know {name}")
        if name.startswith(PACKAGE + "."):
            assert names, f"import {name}"
            return self._load(name.rpartition(".")[2])
        if name in MADE_UP:
            return MADE_UP[name]
        found = importlib.__import__(name, globals_, locals_, names, level)
        assert name.split(".", maxsplit=1)[0] not in {each.split(".")[0] for each in MADE_UP} - {"concurrent"}, name
        return found

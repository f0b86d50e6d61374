"""The supervisor as it travels: a small archive in user data that starts, and the whole in the job's prefix."""

from __future__ import annotations

import ast
import functools
import importlib.util
import io
import marshal
import threading
import zipfile
from pathlib import Path

_SOURCE = Path(__file__).with_name("supervisor")
_PLACE = "skylift/runner/supervisor/"
_FIRST = ("__init__", "aws", "boot", "console", "environ", "keeper", "ledger", "power", "prefix")
"""The modules that fetch all the others."""
_MAIN = "from skylift.runner.supervisor.boot import main\n\nmain()\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNCHECKED = 0b01
"""The flag of a .pyc that is known by a hash which nobody compares."""
_parsing = threading.Lock()
"""CPython 3.11 counts the depth of all threads' syntax trees together, and fails when two are made at a time."""


@functools.cache
def boot_archive() -> bytes:
    """What fits into user data."""
    return _pack({name: _slim(name) for name in _FIRST}, compiled=False)


@functools.cache
def whole_archive() -> bytes:
    """All modules, with what the interpreter here makes of them: a server of the same Python does not compile them."""
    return _pack({path.stem: _slim(path.stem) for path in sorted(_SOURCE.glob("*.py"))}, compiled=True)


def _slim(name: str) -> str:
    return slim((_SOURCE / f"{name}.py").read_text())


def _pack(modules: dict[str, str], *, compiled: bool) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        texts = {"skylift/__init__.py": "", "skylift/runner/__init__.py": "", "__main__.py": _MAIN}
        texts |= {f"{_PLACE}{name}.py": source for name, source in modules.items()}
        for place, text in texts.items():
            archive.writestr(zipfile.ZipInfo(place, _EPOCH), text, zipfile.ZIP_DEFLATED)
            if compiled:
                archive.writestr(zipfile.ZipInfo(f"{place}c", _EPOCH), _compile(text, place), zipfile.ZIP_DEFLATED)
    return whole.getvalue()


def _compile(text: str, place: str) -> bytes:
    """A .pyc, which an interpreter of another version passes over: it reads the source beside it."""
    code = compile(text, place, "exec", dont_inherit=True)
    return b"".join([importlib.util.MAGIC_NUMBER, _UNCHECKED.to_bytes(4, "little"), bytes(8), marshal.dumps(code)])


def slim(source: str) -> str:
    """The same program without comments and docstrings, which cost room that user data does not have."""
    with _parsing:
        tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)

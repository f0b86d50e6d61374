"""The supervisor as it travels: a small archive in user data that starts, and the whole in the job's prefix."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import io
import json
import marshal
import sys
import threading
import zipfile
from pathlib import Path

from skylift.runner.job.cache import NOWHERE, Cache

_SOURCE = Path(__file__).parents[1] / "server"
_PLACE = "skylift/runner/server/"
_FIRST = ("__init__", "aws", "boot", "console", "etc_environment", "announce", "guardian", "ledger", "power", "prefix")
"""The modules that fetch all the others."""
_MAIN = "from skylift.runner.server.boot import main\n\nmain()\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNCHECKED = 0b01
"""The flag of a .pyc that is known by a hash which nobody compares."""
_parsing = threading.Lock()
"""CPython 3.11 counts the depth of all threads' syntax trees together, and fails when two are made at a time."""


@functools.lru_cache(maxsize=4)
def boot_archive(cache: Cache = NOWHERE) -> bytes:
    """What fits into user data."""
    sources = {name: _read(name) for name in _FIRST}
    return cache.get("boot.zip", _told(sources), lambda: _pack(sources, compiled=False))


@functools.lru_cache(maxsize=4)
def whole_archive(cache: Cache = NOWHERE) -> bytes:
    """All modules, with what the interpreter here makes of them: a server of the same Python does not compile them."""
    sources = {path.stem: _read(path.stem) for path in sorted(_SOURCE.glob("*.py"))}
    return cache.get("supervisor.zip", _told(sources), lambda: _pack(sources, compiled=True))


def _read(name: str) -> str:
    return (_SOURCE / f"{name}.py").read_text()


def _told(sources: dict[str, str]) -> str:
    """All that an archive is made from, as one word: the modules, how they are packed, and the interpreter."""
    whole = json.dumps([sources, Path(__file__).read_text(), sys.version])
    return hashlib.sha256(whole.encode()).hexdigest()


def _pack(modules: dict[str, str], *, compiled: bool) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        texts = {"skylift/__init__.py": "", "skylift/runner/__init__.py": "", "__main__.py": _MAIN}
        texts |= {f"{_PLACE}{name}.py": slim(source) for name, source in modules.items()}
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
    """The same program without comments, docstrings and the types of functions, for which user data has no room."""
    with _parsing:
        tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            _forget_types(node)
        if isinstance(node, ast.arg):
            node.annotation = None
    _forget_names_of_types(tree)
    return ast.unparse(tree)


def _forget_types(function: ast.FunctionDef) -> None:
    """`a: int = 1` is `a = 1`, where it is no field of a class."""
    for node in ast.walk(function):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, [])
            if isinstance(node, ast.ClassDef) or not isinstance(block, list):
                continue
            for number, each in enumerate(block):
                if isinstance(each, ast.AnnAssign) and each.value is not None:
                    block[number] = ast.fix_missing_locations(
                        ast.copy_location(ast.Assign([each.target], each.value), each)
                    )


def _forget_names_of_types(tree: ast.Module) -> None:
    """What is imported from typing and no longer used."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in list(tree.body):
        if isinstance(node, ast.ImportFrom) and node.module == "typing":
            node.names = [each for each in node.names if (each.asname or each.name) in used]
            if not node.names:
                tree.body.remove(node)

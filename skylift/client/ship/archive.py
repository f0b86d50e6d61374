"""The supervisor as archives: a small one in user data that starts first, and the whole one in the job's prefix."""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import sys
import threading
import zipfile
from pathlib import Path, PurePosixPath

from skylift.client.job import commands
from skylift.client.job.cache import NOWHERE, Cache
from skylift.client.remote.account import Account
from skylift.client.ship import supervisor_bytecode

_TOP = Path(__file__).parents[3]
_WHOLE = ("skylift/contract", "skylift/agent")
"""The folders that servers have the whole of."""
_FIRST = (
    "skylift/agent/remote/announce.py",
    "skylift/agent/remote/aws.py",
    "skylift/agent/boot.py",
    "skylift/agent/machine/console.py",
    "skylift/agent/machine/etc_environment.py",
    "skylift/agent/job/guardian.py",
    "skylift/agent/job/ledger.py",
    "skylift/agent/machine/power.py",
    "skylift/agent/remote/prefix.py",
)
"""The modules that download all the others."""
_ELSEWHERE = (
    "skylift/client/dask/node.py",
    "skylift/client/map/cluster_pool.py",
    "skylift/client/map/coordinator.py",
    "skylift/client/map/dask_import.py",
    "skylift/client/map/dask_servers.py",
    "skylift/client/map/log_writer.py",
    "skylift/client/map/looked_up.py",
    "skylift/client/map/main.py",
    "skylift/client/map/outcome.py",
    "skylift/client/map/scaling.py",
    "skylift/client/map/server_times.py",
    "skylift/client/map/spec.py",
    "skylift/client/map/task.py",
    "skylift/client/map/thread_pool.py",
    "skylift/client/map/worker.py",
    "skylift/client/text/json_object.py",
    "skylift/client/text/s3_glob.py",
)
"""The modules of a map's coordinator, of its other servers, and of a cluster's."""
_MAIN = "from skylift.agent.boot import main\n\nmain()\n"
SUPERVISOR = "supervisor.zip"
"""The cache's entry with all modules."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
_parsing = threading.Lock()
"""CPython 3.11 (before 3.11.8) counts the depth of all threads' syntax trees together, and fails when two threads parse
at a time: https://github.com/python/cpython/issues/106905
"""


@functools.lru_cache(maxsize=4)
def boot_archive(cache: Cache = NOWHERE) -> bytes:
    """The archive for user data, which must be small: not compressed, as the boot script compresses it as a whole."""
    sources = {place: (_TOP / place).read_bytes() for place in _FIRST}
    return cache.get("boot.zip", _digest(sources), lambda: _pack(_texts(sources), {}, zipfile.ZIP_STORED))


@functools.lru_cache(maxsize=4)
def whole_archive(cache: Cache = NOWHERE) -> bytes:
    """All modules, with bytecode for the Python that servers have: they need not compile them."""
    whole = (path for folder in _WHOLE for path in (_TOP / folder).rglob("*.py"))
    places = [*sorted(path.relative_to(_TOP).as_posix() for path in whole), *_ELSEWHERE]
    sources = {place: (_TOP / place).read_bytes() for place in places}
    digest = _digest(sources)
    kept = cache.read(SUPERVISOR, digest)
    if kept is None:
        texts = _texts(sources)
        made, is_final = supervisor_bytecode.compiled(texts)
        kept = _pack(texts, made, zipfile.ZIP_DEFLATED)
        if is_final:
            cache.write(SUPERVISOR, digest, kept)
    return kept


def boot_script(account: Account, source: str, deadline: int | None, *options: str, lasts: int = 0) -> str:
    """The user data of a server whose record and inputs are at `source`. `deadline` and `lasts` are as in
    commands.boot_script. Raises LaunchFailed."""
    settings = account.settings
    digest = hashlib.sha256(whole_archive(settings.cache)).hexdigest()
    argv = commands.boot_argv(account.bucket, source, settings.region, deadline, settings.login_user, digest)
    return commands.boot_script(boot_archive(settings.cache), [*argv, *options], deadline, lasts)


def _digest(sources: dict[str, bytes]) -> str:
    """A digest of everything that an archive is made from: the modules, these two files, and the interpreter. Another
    one that has compiled them is no part of it: the archive would change with each shell that has another PATH."""
    ours = {each: Path(each).read_bytes() for each in (__file__, supervisor_bytecode.__file__)}
    whole = hashlib.sha256(sys.version.encode())
    for name, source in (sources | ours).items():
        whole.update(f"\0{name} {len(source)}\0".encode())
        whole.update(source)
    return whole.hexdigest()


def _texts(modules: dict[str, bytes]) -> dict[str, str]:
    """All files of an archive, by their places in it."""
    folders = {each.as_posix() for place in modules for each in PurePosixPath(place).parents} - {"."}
    texts = {**{f"{each}/__init__.py": "" for each in sorted(folders)}, "__main__.py": _MAIN}
    return texts | {place: slim(source.decode()) for place, source in modules.items()}


def _pack(texts: dict[str, str], made: dict[str, bytes], method: int) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", method, compresslevel=9) as archive:
        for place, text in texts.items():
            archive.writestr(zipfile.ZipInfo(place, _EPOCH), text, method)
            if place in made:
                archive.writestr(zipfile.ZipInfo(f"{place}c", _EPOCH), made[place], method)
    return whole.getvalue()


@functools.lru_cache(maxsize=256)
def slim(source: str) -> str:
    """The same program without comments, docstrings and type annotations, for which user data has no room.

    It is remembered, so that a process parses each module once, whatever archives it makes: threads of a library may
    parse something of their own, and they do not know our lock.
    """
    with _parsing:
        tree = ast.parse(source)
    _remove_typing_imports(tree, _strip(tree))
    return ast.unparse(tree)


def _strip(tree: ast.Module) -> set[str]:
    """Remove docstrings and annotations, and turn `a: int = 1` into `a = 1`, except for fields of a class. Returns the
    names that are still used. A node is changed before its children are looked at."""
    used = set()
    left: list[tuple[ast.AST, bool]] = [(tree, False)]
    while left:
        node, in_function = left.pop()
        if isinstance(node, ast.Name):
            used.add(node.id)
            continue
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and _begins_with_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            in_function = True
        elif isinstance(node, ast.arg):
            node.annotation = None
        for _, part in ast.iter_fields(node):
            if isinstance(part, list):
                if in_function and not isinstance(node, ast.ClassDef):
                    part[:] = map(_without_type, part)
                left += [(each, in_function) for each in part if isinstance(each, ast.AST)]
            elif isinstance(part, ast.AST):
                left.append((part, in_function))
    return used


def _begins_with_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> bool:
    return ast.get_docstring(node, clean=False) is not None


def _without_type(node: object) -> object:
    if not isinstance(node, ast.AnnAssign) or node.value is None:
        return node
    return ast.copy_location(ast.Assign([node.target], node.value), node)


def _remove_typing_imports(tree: ast.Module, used: set[str]) -> None:
    """Remove imports from typing that are not among the names that are used."""
    for node in list(tree.body):
        if isinstance(node, ast.ImportFrom) and node.module == "typing":
            node.names = [each for each in node.names if (each.asname or each.name) in used]
            if not node.names:
                tree.body.remove(node)

"""All that decides an environment, written anew: the same texts mean the same environment, wherever it was built.

uv gets these texts and nothing of the job's, so it reads what is in the digest, however it reads. Every package comes
by name from an index on the network. Only settings that are known to keep to that are accepted here. Any other setting
may read files of the job or the server, so that the same text may mean other packages for another job.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
import tomllib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from skylift.client.job.job import Job, SentFile
from skylift.client.ship.pep723 import find_block
from skylift.client.ship.sent_file import open_sent
from skylift.client.text.toml_text import SCRIPT_LIMIT, SETTINGS_LIMIT, table_of
from skylift.contract.record import Environment

LAYOUT = 4
"""The version of the stored layout and of this parser. An environment that was stored with another one is not found."""

_READ_BY_UV = ("uv.toml", "pyproject.toml", ".python-version", ".python-versions")
"""Files that uv reads in the folder of the environment's source, and in each folder above it."""

OPTIONS = "options~.txt"
"""The options among the lines of requirements. uv also needs them beside a list of hashes. No line can include it."""

# No character that may end a line for uv but not for us.
_TEXT = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f]*")
_PLAIN = re.compile(r"[\x20-\x7e]*")
_REQUIREMENT = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*"
    r"(?:\[[A-Za-z0-9._, -]*\])?\s*"
    r"(?:[<>=!~][A-Za-z0-9.*+!<>=~, -]*|\([A-Za-z0-9.*+!<>=~, -]*\))?\s*"
    r"(?:;[A-Za-z0-9_.<>=!~()'\", -]*)?",
    re.ASCII,
)
_ARCHIVE = re.compile(r"\.(?:whl|egg|zip|tgz|tbz2?|txz|tlz|tzst|tar)(?:\.|$)", re.IGNORECASE)
_HASHES = re.compile(r"(?:[ \t]+--hash[= ][a-z0-9]+:[0-9a-f]+)*")
_INCLUDE = re.compile(r"(?:-r|--requirement|-c|--constraint)(?:[ \t]+|=)([A-Za-z0-9._/-]+)")
_INDEX_LINE = re.compile(r"(?:-i|--index-url|--extra-index-url)(?:[ \t]+|=)([\x21-\x7e]+)")
_OTHER_LINE = re.compile(r"--pre|--require-hashes|--(?:no|only)-binary(?:[ \t]+|=)[A-Za-z0-9._:,-]+")
_PYTHON = re.compile(r"(?:(?:cpython|python|pypy)[@-]?)?3(?:\.[0-9]{1,2}){0,2}t?")
_WORD = re.compile(r"[A-Za-z0-9._:<>=!~*+, -]*")
_HASH = re.compile(r"sha(?:256|384|512):[0-9a-f]{64,128}")


@dataclass(frozen=True)
class Recipe:
    """The digest of everything that decides an environment. `locked` is whether the result is the same on any day.
    `texts` are what uv reads, by their paths in one folder, and `source` is the path that it is given."""

    digest: str
    locked: bool
    source: str = "."
    texts: dict[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """What a server builds from (server/environment.py)."""
        return json.dumps({"source": self.source, "texts": self.texts, "locked": self.locked}).encode()


class _NotKept(Exception):
    """The environment depends on an unknown setting, or on the job's own files."""


def recipe_of(job: Job, processor: str, unread: Collection[str] = ()) -> Recipe | None:
    """None for an environment that each job builds for itself. `unread` are paths of files that the server gets from
    elsewhere."""
    wanted = job.environment
    reader = {"none": _nothing, "script": _script, "requirements": _requirements, "project": _project}[wanted.kind]
    checkpoint = job.spot.checkpoint if job.spot is not None else ""
    files = _Files(job.bundle.files, unread, (PurePosixPath(job.bundle.cwd) / checkpoint if checkpoint else None))
    try:
        source, texts, locked = reader(wanted, files)
    except (_NotKept, RecursionError):
        return None
    contents = json.dumps([LAYOUT, processor, wanted.kind, wanted.python, source, texts], sort_keys=True)
    return Recipe(hashlib.sha256(contents.encode()).hexdigest()[:40], locked, source, texts)


class _Files:
    """The job's own files by path. `changing` are paths that an earlier attempt of the program may have written."""

    def __init__(self, files: Collection[SentFile], unread: Collection[str], changing: PurePosixPath | None) -> None:
        self._files = {each.place: each for each in files}
        self._unread, self._changing = frozenset(unread), changing

    def __contains__(self, place: str) -> bool:
        return place in self._files or place in self._unread

    def text(self, place: str, most: int = SETTINGS_LIMIT) -> str | None:
        path = PurePosixPath(place)
        if place in self._unread or (self._changing is not None and path.is_relative_to(self._changing)):
            raise _NotKept
        if any(each.as_posix() in self._files for each in path.parents):
            raise _NotKept  # a link to a folder
        sent = self._files.get(path.as_posix())
        if sent is None:
            return None
        try:
            with open_sent(sent) as file:
                content = file.read(most + 1)
            if len(content) > most:
                raise _NotKept
            return content.decode()
        except (OSError, UnicodeDecodeError):
            raise _NotKept from None

    def toml(self, place: str) -> dict[str, Any] | None:
        text = self.text(place)
        return None if text is None else _parse(text)

    def around(self, folder: str) -> dict[str, str]:
        """The other files that uv reads, in a folder and above it, as they are written for uv."""
        found: dict[str, str] = {}
        for each in (PurePosixPath(folder), *PurePosixPath(folder).parents):
            for name in _READ_BY_UV:
                place = (each / name).as_posix()
                if name.endswith(".toml"):
                    content = self.toml(place) or {}
                    text = _spell(_settings(content) if name == "uv.toml" else _bounds(content))
                else:
                    lines = list(_lines(self.text(place) or ""))
                    _check(all(map(_PYTHON.fullmatch, lines)))
                    text = "".join(f"{line}\n" for line in lines)
                if text:
                    found[place] = text
        return found


_PROJECT = "skylift-job"
"""The name that a project has whose packages are not wanted."""

_Found = tuple[str, dict[str, str], bool]
"""The source, the texts, and whether the result is the same on any day."""


def _check(understood: object) -> None:
    if not understood:
        raise _NotKept


def _parse(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError:
        raise _NotKept from None  # uv says what is wrong with it


def _spell(content: dict[str, Any]) -> str:
    """A TOML file. Each table is on one line."""
    content = {name: value for name, value in content.items() if value is not None}
    return "".join(f"{json.dumps(name)} = {_value(value)}\n" for name, value in sorted(content.items()))


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_value(name)} = {_value(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    _check(isinstance(value, int) or (isinstance(value, str) and _PLAIN.fullmatch(value)))
    return json.dumps(value)


def _bounds(content: dict[str, Any]) -> dict[str, Any]:
    """What a pyproject.toml says to uv about an environment that is not its project's."""
    requires, settings = table_of(content, "project").get("requires-python"), _settings_in(content)
    project = None if requires is None else {"name": _PROJECT, "version": "0", "requires-python": requires}
    return {"project": project, "tool": {"uv": settings} if settings else None}


def _settings_in(content: dict[str, Any]) -> dict[str, Any]:
    return _settings(table_of(content, "tool").get("uv", {}))


def _nothing(_wanted: Environment, files: _Files) -> _Found:
    return ".", files.around("."), False


def _script(wanted: Environment, files: _Files) -> _Found:
    block = find_block(files.text(wanted.path, SCRIPT_LIMIT) or "", wanted.path)
    header = _parse(block[1]) if block else {}
    _check(f"{wanted.path}.lock" not in files)
    _check(_requirements_list(header.get("dependencies", []), files))
    settings = _settings_in(header)
    asked = {name: header.get(name) for name in ("dependencies", "requires-python")}
    lines = _spell({**asked, "tool": {"uv": settings} if settings else None}).splitlines()
    text = "\n".join(["# /// script", *(f"# {line}" for line in lines), "# ///", ""])
    around = files.around(_folder(wanted.path))
    source = (PurePosixPath(_folder(wanted.path) if around else ".") / "script.py").as_posix()
    return source, {**around, source: text}, False


def _requirements(wanted: Environment, files: _Files) -> _Found:
    texts: dict[str, str] = {}
    _read_requirements(wanted.path, files, texts, _folder(wanted.path))
    name = PurePosixPath(wanted.path).name
    hashed = "--hash" in texts[name] and len(texts) == 1
    options = [line for text in texts.values() for line in text.split("\n") if line.startswith("-")]
    texts[OPTIONS] = "".join(f"{line}\n" for line in options if not _INCLUDE.fullmatch(line))
    around = files.around(_folder(wanted.path))
    folder = PurePosixPath(_folder(wanted.path) if around else ".")
    placed = {(folder / each).as_posix(): text for each, text in texts.items()}
    return (folder / name).as_posix(), {**around, **placed}, hashed


def _read_requirements(place: str, files: _Files, texts: dict[str, str], folder: str) -> None:
    """Read this file and all files that it includes."""
    text = files.text(place)
    if text is None:
        raise _NotKept
    lines = list(_lines(text))
    texts[PurePosixPath(place).relative_to(folder).as_posix()] = "".join(f"{line}\n" for line in lines)
    for line in lines:
        if found := _INCLUDE.fullmatch(line):
            included = PurePosixPath(_folder(place)) / found[1]
            _check(".." not in included.parts and included.is_relative_to(folder))
            if included.relative_to(folder).as_posix() not in texts:
                _read_requirements(included.as_posix(), files, texts, folder)
        elif found := _INDEX_LINE.fullmatch(line):
            _check(_is_index(found[1]))
        elif not _OTHER_LINE.fullmatch(line):
            requirement = re.split(r"[ \t]+--hash[= ]", line, maxsplit=1)[0]
            _check(_HASHES.fullmatch(line[len(requirement) :]) and _is_remote(requirement, files))


def _lines(text: str) -> Iterator[str]:
    """Logical lines without comments. A comment ends with its line, even after a backslash."""
    text, whole = text.replace("\r\n", "\n"), ""
    _check(_TEXT.fullmatch(text))
    for line in text.split("\n"):
        bare = re.sub(r"(?:^|[ \t])#.*$", "", line)
        if bare == line and line.endswith("\\"):
            whole += line[:-1] + " "
            continue
        _check("\\" not in bare)
        if found := (whole + bare).strip(" \t"):
            yield found
        whole = ""
    _check(not whole.strip(" \t"))


def _project(wanted: Environment, files: _Files) -> _Found:
    """The recipe of a project. The project's own package is no part of the stored environment."""
    content = files.toml((PurePosixPath(wanted.path) / "pyproject.toml").as_posix())
    if content is None:
        raise _NotKept
    around = files.around(wanted.path)
    around.pop((PurePosixPath(wanted.path) / "pyproject.toml").as_posix(), None)
    folder = PurePosixPath(wanted.path if around else ".")
    texts = {**around, (folder / "pyproject.toml").as_posix(): _decisive(content)}
    lock = files.text((PurePosixPath(wanted.path) / "uv.lock").as_posix(), SCRIPT_LIMIT)
    if lock is not None:
        locked = _parse(lock)
        packages = locked.get("package", [])
        _check(isinstance(packages, list) and all(map(_is_locked, packages)))
        return folder.as_posix(), {**texts, (folder / "uv.lock").as_posix(): _spell(locked)}, True
    # Resolving must not need to run the project's own code.
    project = table_of(content, "project")
    _check("dynamic" not in project)
    named = [project.get("dependencies", []), *table_of(project, "optional-dependencies").values()]
    for group in table_of(content, "dependency-groups").values():
        _check(isinstance(group, list))
        named.append([each for each in group if not (isinstance(each, dict) and set(each) == {"include-group"})])
    _check(all(_requirements_list(each, files) for each in named))
    return folder.as_posix(), texts, False


def _decisive(content: dict[str, Any]) -> str:
    """The parts of a pyproject.toml that decide which packages are installed. uv runs no code to read them."""
    names = ("name", "dependencies", "optional-dependencies", "requires-python")
    project = {name: value for name, value in table_of(content, "project").items() if name in names}
    # A build system makes a package of a project; which one it is does not matter before that is installed.
    settings = {"package": "build-system" in content, **_settings_in(content)}
    groups = content.get("dependency-groups")
    return _spell({"project": {**project, "version": "0"}, "dependency-groups": groups, "tool": {"uv": settings}})


def _is_locked(package: Any) -> bool:
    """A package of a uv.lock that comes from an index, with a hash for each of its files, or the project itself."""
    source = table_of(package, "source")
    if source in ({"editable": "."}, {"virtual": "."}):
        return True
    wheels, sdist = package.get("wheels", []), package.get("sdist")
    files = [*(wheels if isinstance(wheels, list) else [None]), *([] if sdist is None else [sdist])]
    return (
        set(source) == {"registry"}
        and _is_index(source["registry"])
        and all(isinstance(each, dict) and _is_index(each.get("url")) and _is_hash(each.get("hash")) for each in files)
    )


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def _requirements_list(value: object, files: _Files) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) and _is_remote(each, files) for each in value)


def _is_remote(requirement: str, files: Collection[str] | _Files = ()) -> bool:
    """Whether a requirement is a package name that cannot be mistaken for a file name."""
    found = _REQUIREMENT.fullmatch(requirement.strip(" \t"))
    return found is not None and not _ARCHIVE.search(found[1]) and found[1] not in files


def _is_index(url: object) -> bool:
    """A URL that means the same on each server."""
    if not isinstance(url, str) or not re.fullmatch(r"https?://[\x21-\x7e]+", url) or "${" in url:
        return False
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
        if ":" in host or re.fullmatch(r"[0-9]+|0x[0-9a-f]*", host.rpartition(".")[2]):
            address = ipaddress.ip_address(host)
            address = getattr(address, "ipv4_mapped", None) or address
            return not (address.is_loopback or address.is_link_local or address.is_unspecified)
    except ValueError:
        return False
    return host not in ("", "localhost") and not host.endswith((".localhost", ".local"))


def _is_index_table(value: object) -> bool:
    """An entry of `[[tool.uv.index]]`."""
    known = {"name", "url", "explicit", "default", "authenticate", "ignore-error-codes"}
    return isinstance(value, dict) and set(value) <= known and _is_index(value.get("url"))


def _is_source(value: object) -> bool:
    """An entry of `[tool.uv.sources]` that says which index a package is of."""
    entries = value if isinstance(value, list) else [value]
    known = {"index", "marker", "extra", "group"}
    return all(isinstance(each, dict) and "index" in each and set(each) <= known for each in entries)


def _is_word(value: object) -> bool:
    return isinstance(value, bool | int) or (isinstance(value, str) and _WORD.fullmatch(value) is not None)


def _of_list(each: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(each, value))


def _is_named(value: object) -> bool:
    return isinstance(value, str) and _is_remote(value)


def _is_marker(value: object) -> bool:
    return isinstance(value, str) and _is_remote(f"x; {value}")


_words, _named, _markers = _of_list(_is_word), _of_list(_is_named), _of_list(_is_marker)

SETTINGS: dict[str, Callable[[Any], bool]] = {
    # where packages come from
    "index-url": _is_index,
    "extra-index-url": _of_list(_is_index),
    "index": _of_list(_is_index_table),
    "sources": lambda value: isinstance(value, dict) and all(map(_is_source, value.values())),
    "no-sources": _is_word,
    # which of them are taken
    "dev-dependencies": _named,
    "constraint-dependencies": _named,
    "override-dependencies": _named,
    "build-constraint-dependencies": _named,
    "default-groups": lambda value: _is_word(value) or _words(value),
    "environments": lambda value: _is_marker(value) or _markers(value),
    "required-environments": _markers,
    "index-strategy": _is_word,
    "resolution": _is_word,
    "prerelease": _is_word,
    "fork-strategy": _is_word,
    "exclude-newer": _is_word,
    "required-version": _is_word,
    "no-build": _is_word,
    "no-binary": _is_word,
    "no-build-package": _words,
    "no-binary-package": _words,
    "python-preference": _is_word,
    "python-downloads": _is_word,
    # of the project's own package, which is never kept
    "package": _is_word,
    "managed": _is_word,
}
"""The accepted settings of uv, each with a check of its value. All others (`cache-dir`, `find-links`, `workspace`,
`pip`, mirrors of Python, ways to build, and settings of future versions) may read files."""

_WITHOUT_EFFECT = frozenset(
    """link-mode compile-bytecode concurrent-downloads concurrent-builds concurrent-installs cache-keys build-backend
    publish-url check-url trusted-publishing add-bounds""".split()
)
"""Settings of other commands, of how files are put there, and of the project's own package: uv does not get them."""


def _settings(settings: object) -> dict[str, Any]:
    """What of them decides which packages there are."""
    _check(isinstance(settings, dict))
    assert isinstance(settings, dict)
    found = {name: value for name, value in settings.items() if name not in _WITHOUT_EFFECT}
    _check(all(name in SETTINGS and SETTINGS[name](value) for name, value in found.items()))
    return dict(sorted(found.items()))


def _folder(place: str) -> str:
    return PurePosixPath(place).parent.as_posix()

"""Decides which keys of a `[tool.skylift]` hold at once, and which need the caller's consent.

Somebody else may have written the table: it comes with the project, or in the header of a script. Keys about the job's
own server and files hold at once. The caller is asked once about keys that cost money, send or write files that are
not the project's, send what git ignores, replace what git tracks, or open this machine or the caller's network, and
about all that a script says of itself which git does not track. The answer is remembered by the key's content.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from skylift.client.errors import UsageError
from skylift.client.plan.tool_table import ToolTable, script_table
from skylift.client.ship.bundle import find_project, fixed_part, replaced, unlisted
from skylift.client.text.user_path import user_path
from skylift.client.text.visible import shown

FREE = frozenset(
    {
        # about the program, on its own server
        *("python", "checkpoint", "sync-every", "fresh", "plain-image", "name", "private", "retries", "retry-on"),
        # only ever less
        *("max-cost", "idle"),
        # how a run is shown
        *("detach", "quiet", "json"),
    }
)
"""Keys that hold whatever their value is."""

COSTS = {
    **dict.fromkeys(("type", "cpu", "memory", "arch", "gpu", "max-price", "or-on-demand"), "chooses what servers cost"),
    "max-time": "chooses how long a server may cost",
    "spot": "buys servers on the spot market",
    "servers": "chooses how many servers cost",
}
"""Keys that hold where servers cost nothing, which is on this machine."""

ASKED = {
    "keep": "keeps the server, also for your next jobs, with whatever this one has left there",
    "reuse": "empties a server that you have kept",
    "image": "boots an image of its choice",
    "ssh-from": "opens SSH to an address of its choice",
    "subnet": "puts the server into a network of yours",
    "security-group": "puts the server into a network of yours",
    "forward": "listens on a port of this machine",
    "interactive": "has your keys go to the program",
}
"""Keys that need a yes, whatever their value is."""
_TRACKED = "replaces what git tracks"
_UNTRACKED = "stands in a script that git does not track with it"
_Look = Callable[[str], Iterable[tuple[str, str]]]
_NAMED = 3
"""Files that a question names."""


@dataclass(frozen=True)
class Question:
    """`value` is as the table has it, as JSON; `detail` is its effect here. The caller is asked again when that
    changes.
    """

    at: str
    path: Path
    key: str
    value: str
    why: str
    detail: str = ""

    def spell(self) -> str:
        return f"{self.at}: {self.key} = {self.value}: {self.why}"

    @property
    def digest(self) -> str:
        parts = [str(self.path), self.key, self.value, self.detail]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def asks_of(table: ToolTable, keys: Collection[str], cwd: Path, *, billed: bool) -> list[Question]:
    """The keys of the table that take consent, without those that the command line gives. `billed` is whether servers
    cost money where the job is going to run.
    """
    return [ask for key in keys for ask in _asks(table, key, cwd, billed=billed)]


def may_replace(asks: Sequence[Question]) -> bool:
    """Whether who agrees to these has agreed to results that replace what is here."""
    return any(each.detail == _TRACKED for each in asks)


def _asks(table: ToolTable, key: str, cwd: Path, *, billed: bool) -> Iterator[Question]:
    value, own = table.values[key], _own(table, key)
    looked_at: dict[str, _Look] = {
        "on": lambda text: [("" if text == "local" else "servers on AWS cost money", "")],
        "env": lambda text: [("" if "=" in text else "sends the value of your variable to the program", "")],
        "in": lambda text: _input(text, cwd, own),
        "out": lambda text: _output(text, cwd, own),
    }
    unknown = "" if own or not table.is_header or key == "python" or value is False else _UNTRACKED
    holds = key in FREE or (key in COSTS and not billed) or value is False
    plain = "" if holds else COSTS.get(key) or ASKED.get(key, "is not known to be harmless")
    look: _Look = looked_at.get(key, lambda _: [(plain, "")])
    for each in [value] if key not in looked_at or not isinstance(value, list) else value:
        found = [(why, detail) for why, detail in look(str(each)) if why] or [(unknown, "")]
        for why, detail in found if found[0][0] else ():
            yield Question(table.at(key), _place(table), key, json.dumps(each, default=str), why, detail)


def _place(table: ToolTable) -> Path:
    return Path(os.path.realpath(table.path))


def _own(table: ToolTable, key: str) -> Path | None:
    """The project that the key belongs to. A script outside of a project has none, whatever is in its folder, and
    neither has a key of a header that git does not track: the script may have been downloaded."""
    place = _place(table)
    found = find_project(place.parent)
    if found is not None and table.is_header:
        tracked = None
        with suppress(UsageError):
            tracked = script_table(place, place.name, tracked=True)
        found = found if tracked is not None and tracked.values.get(key) == table.values[key] else None
    return None if found is None else Path(os.path.realpath(found))


def _input(text: str, cwd: Path, own: Path | None) -> Iterator[tuple[str, str]]:
    if text.startswith("s3:"):
        yield "reads from S3 with your rights", ""
        return
    yield _outside(text, cwd, own, "sends what is not the project's")
    try:
        yield _naming("sends what git ignores", unlisted(cwd, text))
    except (UsageError, OSError):
        yield _naming("sends what git ignores", [text])


def _output(text: str, cwd: Path, own: Path | None) -> Iterator[tuple[str, str]]:
    yield _outside(text, cwd, own, "writes where it is not the project's")
    yield _naming(_TRACKED, replaced(cwd, text))
    if any(part.startswith(".") and part != ".." for part in PurePosixPath(text).parts):
        yield "writes what is hidden, which other programs may run", "hidden"


def _naming(why: str, names: Sequence[str]) -> tuple[str, str]:
    """The names are no part of the detail: there may be more of them each day."""
    more = ", ..." if len(names) > _NAMED else ""
    return (f"{why} ({', '.join(map(shown, names[:_NAMED]))}{more})", why) if names else ("", "")


def _outside(text: str, cwd: Path, own: Path | None, why: str) -> tuple[str, str]:
    parts, place = user_path(text).parts, fixed_part(cwd, text)
    inside = own is not None and place.is_relative_to(own) and ".." not in parts
    if inside and ".git" not in [part.casefold() for part in (*place.parts, *parts)]:
        return "", ""
    return f"{why} ({shown(place)})", str(place)


class Consents:
    """The consents so far: an empty file for each, which only its owner may read, and named by the digest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __contains__(self, ask: Question) -> bool:
        return (self._folder / ask.digest).is_file()

    def remember(self, ask: Question) -> None:
        """If the file cannot be written, the caller is asked again next time."""
        with suppress(OSError):
            for each in (*reversed(self._folder.parents), self._folder):
                each.mkdir(mode=0o700, exist_ok=True)
            os.close(os.open(self._folder / ask.digest, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))


NEEDED = "The project's settings need your agreement, since somebody else may have written them:"


def require(
    asks: Sequence[Question], consents: Consents, ask: Callable[[Sequence[Question]], bool] | None, advice: str = ""
) -> None:
    """Raises UsageError, unless the caller has agreed to all, before or now. `ask` is None if no one can answer."""
    missing = [each for each in asks if each not in consents]
    if not missing:
        return
    if ask is None or not ask(missing):
        lines = "".join(f"\n  {each.spell()}" for each in missing)
        raise UsageError(f"{NEEDED}{lines}", advice or _advice(missing))
    for each in missing:
        consents.remember(each)


def _advice(missing: Sequence[Question]) -> str:
    words = " ".join(dict.fromkeys(f"--{each.key} ..." for each in missing))
    said = f"Say it yourself ({words}), or agree to all of it with --trust-project (in Python trust_project=True)."
    tracked = " What a script's header says is the project's own once git tracks it: git add."
    return said + tracked * any(each.path.name != "pyproject.toml" for each in missing)

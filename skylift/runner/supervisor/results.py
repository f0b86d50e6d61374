"""What the program left in its outputs, sent to the prefix."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from pathlib import Path, PurePath
from typing import Any, Dict, Iterator, List, Optional, Tuple

from skylift.runner.supervisor.aws import Refused, Unreachable, patiently
from skylift.runner.supervisor.console import say
from skylift.runner.supervisor.outputs import asked_for
from skylift.runner.supervisor.prefix import Prefix

Stamp = Tuple[int, int]

_SETTLED = 0.5
"""Seconds after a change of a file in which another one may leave its time as it is, by the grain of the clock."""


class Results:
    """The files that match the outputs and are not as they arrived; what else is new is named, not sent.

    `arrived` notes how things are before the program starts; without it there is nothing to send.
    """

    def __init__(self, prefix: Prefix, place: Path, cwd: Path, outputs: List[str]) -> None:
        self._prefix, self._place, self._cwd, self._outputs = prefix, place, cwd, outputs
        self._before: Optional[Dict[str, Stamp]] = None
        self._elsewhere: Dict[str, Dict[str, Any]] = {}
        self._left_out: List[Path] = []
        self.latest: List[Dict[str, Any]] = []
        self._sent: Dict[str, Tuple[Stamp, Dict[str, Any]]] = {}
        self._sending = threading.Lock()

    def arrived(self) -> Dict[str, Stamp]:
        self._before = dict(_walk(self._place))
        return self._before

    def had(self, before: Dict[str, Any]) -> None:
        """How things were, as an earlier supervisor has noted them."""
        self._before = {inner: (size, changed) for inner, (size, changed) in before.items()}

    def leave_out(self, path: Path) -> None:
        """Of what is named as left behind: somebody else takes care of it."""
        self._left_out.append(path)

    def inherit(self, results: List[Dict[str, Any]]) -> None:
        """What another server has sent in an earlier attempt: it stays a result, if nothing new takes its place."""
        self._elsewhere = {each["path"]: each for each in results}
        self.latest = results

    def send(self, until: float, *, final: bool) -> None:
        """All results that were not sent as they are, then the manifest that names them."""
        with self._sending:
            told = self._send_files(until)
            manifest = json.dumps(dict(told, final=final)).encode()
            patiently("manifest", lambda: self._prefix.put("server/manifest.json", manifest), until)
            self.latest = told["results"]

    def _send_files(self, until: float) -> Dict[str, Any]:
        sent = dict(self._elsewhere)
        unmatched, left = [], []
        for pattern in self._outputs if self._before is not None else ():
            found = list(_matches(self._cwd, pattern))
            if not found and not any(_is_below(each, pattern) for each in self._elsewhere):
                unmatched.append(pattern)
            for path in found:
                inner = os.path.relpath(str(path), str(self._cwd))
                if sent.get(inner) is self._elsewhere.get(inner) and self._is_new(path):
                    sent[inner] = self._send_file(path, inner, until)
        for inner, _ in _walk(self._place) if self._before is not None else ():
            path = self._place / inner
            from_cwd = os.path.relpath(str(path), str(self._cwd))
            if any(each == path or each in path.parents for each in self._left_out):
                continue
            if from_cwd not in sent and "__pycache__" not in path.parts and self._is_new(path):
                left.append(from_cwd)
        return {
            "results": [sent[inner] for inner in sorted(sent)],
            "unmatched": unmatched,
            "left_behind": sorted(left)[:20],
        }

    def _is_new(self, path: Path) -> bool:
        assert self._before is not None
        return self._before.get(os.path.relpath(str(path), str(self._place))) != _stamp(path)

    def _send_file(self, path: Path, inner: str, until: float) -> Dict[str, Any]:
        stamp = _stamp(path)
        known = self._sent.get(inner)
        if known is not None and known[0] == stamp:
            return known[1]
        settled = stamp[1] < (time.time() - _SETTLED) * 1e9
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = self._prefix.put_file("server/results/" + inner, file, size, until)
            entry = {"path": inner, "size": file.tell(), "sha256": digest}
        self._sent.pop(inner, None)
        if settled:
            self._sent[inner] = (stamp, entry)
        return entry


class Syncing:
    """Sends results every so often while the program runs; what fails is for the next time, or for the end."""

    def __init__(self, results: Results, seconds: int) -> None:
        self._results, self._seconds = results, seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="syncing", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(self._seconds):
            try:
                self._results.send(time.time(), final=False)
            except (Unreachable, Refused, OSError) as error:
                say("results were not synchronised: %s" % error)


def _is_below(path: str, pattern: str) -> bool:
    return PurePath(path).match(pattern) or path.startswith(pattern.rstrip("/") + "/")


def _walk(top: Path) -> Iterator[Tuple[str, Stamp]]:
    """Regular files below `top` (links are not followed), each with what tells whether it was changed."""
    for folder, _, names in os.walk(str(top)):
        for name in names:
            path = Path(folder) / name
            if not path.is_symlink() and path.is_file():
                yield os.path.relpath(str(path), str(top)), _stamp(path)


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _matches(cwd: Path, pattern: str) -> Iterator[Path]:
    """Regular files that a glob names, and those below the folders that it names; nothing outside `cwd`."""
    inside = os.path.realpath(str(cwd)) + os.sep
    for path in sorted(cwd.glob(pattern)) if pattern != "." else [cwd]:
        for each in [path] if not path.is_dir() else sorted(path.rglob("*")):
            if not asked_for(os.path.relpath(str(each), str(cwd)), [pattern]):
                continue
            if each.exists() and stat.S_ISREG(each.stat().st_mode) and os.path.realpath(str(each)).startswith(inside):
                yield each

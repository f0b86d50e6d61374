"""Uploads results to the prefix: a large file is one object, small files share packs.

A pack is a tar archive, so that any tool can read it. The client reads only the offsets in the manifest. A pack is
named by its content and never written again. A file that cannot be sent is named in the manifest, with the reason, and
all others are sent.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import heapq
import json
import os
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Set, Tuple

from skylift.agent.environment.unpack import digest_of
from skylift.agent.machine.concurrently import thread_pool
from skylift.agent.machine.console import say
from skylift.agent.machine.gauge import Tally
from skylift.agent.remote.aws import Refused, Unreachable, Until, retry_until
from skylift.agent.remote.prefix import Prefix
from skylift.agent.remote.upload import AT_A_TIME, IN_HAND, PIECE
from skylift.agent.results.find_files import FoundFile, Stamp, files_below, files_named, spelled, stamp_of
from skylift.agent.results.open_result import WorkingFolder
from skylift.agent.results.outputs import asked_for

Entry = Dict[str, Any]

SMALL = 256 << 10
"""Bytes of a file that may go into a pack."""
PACK = 4 << 20
"""Bytes of files in one pack."""
FEW = 16
"""Up to this many small files become single objects, which are easier to find in the bucket."""
_LONGEST_KEY = 900
"""Bytes of the longest path that is part of a key. An S3 key has at most 1,024 bytes."""
_MOST_TOLD = 10_000
"""The most files that the manifest names as not sent, or as changed."""
_BY_TOOLS = {
    *("__pycache__", ".venv", "venv", "node_modules", "build", "dist", ".git", ".tox", ".nox", ".cache"),
    *(".pytest_cache", ".mypy_cache", ".ruff_cache", ".ipynb_checkpoints"),
}
"""Folders that tools make for themselves; nobody misses them among the results."""
_ELSEWHERE = (errno.ELOOP, errno.ENOTDIR, errno.EACCES, errno.ENAMETOOLONG)
"""What comes of a program that puts something else in the place of its working directory. It may as well have removed
it; another error passes."""
_SETTLED = 0.5
"""Seconds after a change of a file in which another change may get the same time, because clocks are coarse."""


class Results:
    """The files that match the outputs and are not as they arrived; what else is new is named, not sent.

    `arrived` notes how things are before the program starts; without it there is nothing to send. `journal` is where a
    next supervisor finds what has been sent.
    """

    def __init__(
        self, prefix: Prefix, place: Path, cwd: Path, outputs: Sequence[str], journal: Optional[Path] = None
    ) -> None:
        self._prefix, self._place, self._outputs = prefix, place, outputs
        self._base = os.path.relpath(str(cwd), str(place))
        self._before: Optional[Dict[str, Stamp]] = None
        self._elsewhere: Dict[str, Entry] = {}
        self._left_out: List[str] = []
        self.latest: List[Entry] = []
        self._journal = _Journal(journal)
        self._sending = threading.Lock()
        self.tally = Tally()
        """The progress of the current or last round."""

    def arrived(self) -> Dict[str, Stamp]:
        self._before = {}
        with contextlib.suppress(OSError), WorkingFolder(self._place, ".") as top:
            self._before.update(files_below(top, lambda inner, error: None))
        return self._before

    def had(self, before: Dict[str, Any]) -> None:
        """Use the files from before the start that an earlier supervisor has noted."""
        self._before = {inner: (size, changed) for inner, (size, changed) in before.items()}

    def leave_out(self, path: Path) -> None:
        """Do not report this path as left behind."""
        self._left_out.append(os.path.relpath(str(path), str(self._place)))

    def inherit(self, results: List[Entry]) -> None:
        """Keep the results that another server has sent in an earlier attempt, unless new ones replace them."""
        self._elsewhere = {each["path"]: each for each in results}
        self.latest = results

    def send(self, until: Until, *, final: bool) -> None:
        """Send all results that are new or have changed, and then the manifest."""
        with self._sending:
            sent = self._send_files(until, final=final)
            manifest = json.dumps(dict(sent, final=final)).encode()
            retry_until("manifest", lambda: self._prefix.put("server/manifest.json", manifest), until)
            self.latest = sent["results"]

    def _send_files(self, until: Until, *, final: bool) -> Dict[str, Any]:
        sending = _Sending(self._prefix, self._journal, until, final=final)
        self.tally = sending.tally
        unmatched: List[str] = []
        try:
            top = WorkingFolder(self._place, self._base)
        except OSError as error:
            unmatched = self._add_to(sending, None)
            if error.errno in _ELSEWHERE:
                sending.give_up(".", error)
            elif not isinstance(error, FileNotFoundError):
                raise
        else:
            with top:
                unmatched = self._add_to(sending, top)
                sending.run(top)
        sent = dict(self._elsewhere)
        sent.update(sending.sent)
        left = self._left_behind(sent.keys() | sending.not_sent.keys()) if self._before is not None else []
        return {
            "results": [sent[inner] for inner in sorted(sent)],
            "unmatched": unmatched,
            "left_behind": left,
            "not_sent": [{"path": path, "reason": sending.not_sent[path]} for path in sorted(sending.not_sent)][
                :_MOST_TOLD
            ],
            "changed": sorted(sending.changed)[:_MOST_TOLD],
        }

    def _add_to(self, sending: "_Sending", top: Optional[WorkingFolder]) -> List[str]:
        """Add what is to be sent. Returns the patterns that match nothing."""
        unmatched, named = [], set()
        for pattern in self._outputs if self._before is not None else ():
            found = [] if top is None else list(files_named(top, pattern, sending.give_up))
            if not found and not any(asked_for(each, [pattern]) for each in self._elsewhere):
                unmatched.append(pattern)
            for each in found:
                if each.inner not in named and self._is_new(os.path.join(self._base, each.inner), each.stamp):
                    named.add(each.inner)
                    sending.add(each)
        return unmatched

    def _left_behind(self, dealt_with: "set[str]") -> List[str]:
        with contextlib.suppress(OSError), WorkingFolder(self._place, ".") as top:
            return heapq.nsmallest(20, self._unmatched(top, dealt_with))
        return []

    def _unmatched(self, top: WorkingFolder, dealt_with: "set[str]") -> Iterator[str]:
        for inner, stamp in files_below(top, lambda inner, error: None):
            if not self._is_new(inner, stamp) or _is_made_by_tools(inner):
                continue
            if any(inner == each or inner.startswith(each + "/") for each in self._left_out):
                continue
            from_cwd = spelled(inner if self._base == "." else os.path.relpath(inner, self._base))
            if from_cwd not in dealt_with:
                yield from_cwd

    def _is_new(self, inner: str, stamp: Stamp) -> bool:
        assert self._before is not None
        return self._before.get(os.path.normpath(inner)) != stamp


def _is_made_by_tools(inner: str) -> bool:
    return any(each in _BY_TOOLS or each.endswith(".egg-info") for each in inner.split("/")[:-1])


class _Sending:
    """One round of sending, with its outcome for each path."""

    def __init__(self, prefix: Prefix, journal: "_Journal", until: Until, *, final: bool) -> None:
        self._prefix, self._journal, self._until, self._final = prefix, journal, until, final
        self._small: List[FoundFile] = []
        self._large: List[FoundFile] = []
        self._failed = False
        self.tally = Tally()
        self.sent: Dict[str, Entry] = {}
        self.not_sent: Dict[str, str] = {}
        self.changed: List[str] = []

    def add(self, found: FoundFile) -> None:
        known = self._journal.find(spelled(found.inner), found.stamp, still=self._final)
        if known is not None:
            self.sent[spelled(found.inner)] = known
        else:
            self.tally.expect(found.stamp[0])
            (self._small if found.stamp[0] <= SMALL else self._large).append(found)

    def give_up(self, inner: str, error: OSError) -> None:
        gone = isinstance(error, (FileNotFoundError, NotADirectoryError))
        self.not_sent[spelled(inner)] = "it was gone when it was to be sent" if gone else str(error.strerror or error)

    def run(self, top: WorkingFolder) -> None:
        """Send several files at a time, the small ones first, so that most files arrive early."""
        self._top = top
        large = sorted(self._large, key=lambda found: found.stamp[0])
        if len(self._small) <= FEW:
            packs, large = [], self._small + large
        else:
            packs = list(_packs(self._small))
        calls: List[Tuple[Callable[[Any], None], Any]] = [(self._send_pack, each) for each in packs]
        calls += [(self._send_file, each) for each in large]
        if len(calls) < 2:
            for call, each in calls:
                call(each)
        else:
            with thread_pool(AT_A_TIME) as pool:
                list(pool.map(self._do, calls))

    def _do(self, task: Tuple[Callable[[Any], None], Any]) -> None:
        """Send one. After an error of S3 no other one begins."""
        if not self._failed:
            try:
                task[0](task[1])
            except BaseException:
                self._failed = True
                raise

    def _send_file(self, found: FoundFile) -> None:
        path = spelled(found.inner)
        key = "results/" + path
        if not _is_key(path):
            key = "files/" + hashlib.sha256(os.fsencode(found.inner)).hexdigest()
        try:
            with os.fdopen(self._top.open(found.inner), "rb") as file:
                before, now = os.fstat(file.fileno()), time.time()
                known = self._journal.find(path, stamp_of(before))
                if known is not None and digest_of(file) == known["sha256"]:
                    return self._keep(known, stamp_of(before), now)
                file.seek(0)
                digest = self._prefix.put_file("server/" + key, file, before.st_size, self._until, self.tally.sent)
                entry = {"path": path, "size": file.tell(), "sha256": digest}
                after = os.fstat(file.fileno())
        except OSError as error:
            return self.give_up(found.inner, error)
        if key != "results/" + path:
            entry["at"] = [key, 0]
        if stamp_of(after) != stamp_of(before):
            self.changed.append(path)
        self.tally.sent(0, files=1)
        self.sent[path] = entry
        return self._journal.note([(entry, stamp_of(before), now)], still=self._final)

    def _keep(self, known: Entry, stamp: Stamp, now: float) -> None:
        """Note that S3 has the file as it is now."""
        self.sent[known["path"]] = known
        self._journal.note([(known, stamp, now)], still=self._final)

    def _send_pack(self, files: List[FoundFile]) -> None:
        # Only those who have many files need tarfile.
        from tarfile import GNU_FORMAT  # noqa: PLC0415

        from skylift.agent.results.tar_header import file_header  # noqa: PLC0415

        with IN_HAND:
            whole = bytearray()
            entries: List[Tuple[Entry, Stamp, float]] = []
            for found in files:
                try:
                    data, stamp, now = self._read(found.inner)
                except OSError as error:
                    self.give_up(found.inner, error)
                    continue
                digest = hashlib.sha256(data).hexdigest()
                known = self._journal.find(spelled(found.inner), stamp)
                if known is not None and known["sha256"] == digest:
                    self._keep(known, stamp, now)
                    continue
                whole += file_header(spelled(found.inner), len(data), 0o644, stamp[1] // 10**9, GNU_FORMAT)
                entry: Entry = {"path": spelled(found.inner), "size": len(data), "sha256": digest}
                entry["at"] = ["", len(whole)]
                entries.append((entry, stamp, now))
                whole += data + bytes(-len(data) % 512)
            # The end of a tar archive.
            body = bytes(whole) + bytes(1024)
            key = "packs/%s.tar" % hashlib.sha256(body).hexdigest()
            if entries:
                retry_until(key, lambda: self._prefix.put("server/" + key, body), self._until)
        self.tally.sent(sum(entry["size"] for entry, _, _ in entries), files=len(entries))
        for entry, _, _ in entries:
            entry["at"][0] = key
            self.sent[entry["path"]] = entry
        self._journal.note(entries, still=self._final)

    def _read(self, inner: str) -> Tuple[bytes, Stamp, float]:
        """The content of a small file, its stamp, and when that was read. Raises OSError, also when it is no longer in
        the working directory, as after a link was put in its place."""
        for _ in range(3):
            file = self._top.open(inner)
            try:
                before, now = os.fstat(file), time.time()
                # Not more: allocating larger buffers for thousands of files takes longer than reading them.
                data = os.read(file, min(before.st_size + 1, PIECE))
                if stamp_of(os.fstat(file)) == stamp_of(before) and len(data) == before.st_size:
                    return data, stamp_of(before), now
            finally:
                os.close(file)
        self.changed.append(spelled(inner))
        return data, stamp_of(before), now


class _Journal:
    """The results that have been sent, with the stamp that each file had then. A file with the same stamp is not sent
    again, not even by a later supervisor, for example after the server was stopped with undelivered results.

    As long as the program runs, a stamp may be wrong: a write to a file that is mapped to memory does not change the
    file's time until the kernel has written it to the disk. So files that were sent then are read again once at the
    end, and sent again if they have changed. `_still` are files that were sent, or read again, when they kept still.
    """

    def __init__(self, path: Optional[Path]) -> None:
        self._path = path
        self._sent: Dict[str, Tuple[Stamp, Entry]] = {}
        self._still: Set[str] = set()
        self._writing = threading.Lock()
        for line in path.read_text().splitlines() if path is not None and path.exists() else ():
            with contextlib.suppress(ValueError):
                entry, size, changed = json.loads(line)
                self._sent[entry["path"]] = ((size, changed), entry)

    def find(self, path: str, stamp: Stamp, *, still: bool = False) -> Optional[Entry]:
        known = self._sent.get(path)
        if known is None or known[0] != stamp or (still and path not in self._still):
            return None
        return known[1]

    def note(self, entries: List[Tuple[Entry, Stamp, float]], *, still: bool) -> None:
        """Each with its stamp, and when it was looked at: what had changed right before that may have changed again."""
        with self._writing:
            lines = []
            for entry, stamp, now in entries:
                self._sent.pop(entry["path"], None)
                if still:
                    self._still.add(entry["path"])
                if stamp[1] < (now - _SETTLED) * 1e9:
                    self._sent[entry["path"]] = (stamp, entry)
                    lines.append(json.dumps([entry, *stamp]) + "\n")
            if lines and self._path is not None:
                # When the disk is full, the next supervisor sends these again.
                with contextlib.suppress(OSError), self._path.open("a") as file:
                    file.write("".join(lines))


class Syncing:
    """Sends results at intervals while the program runs. Results that fail are sent the next time, or at the end."""

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


def _packs(files: List[FoundFile]) -> Iterator[List[FoundFile]]:
    pack: List[FoundFile] = []
    size = 0
    for each in files:
        if size + each.stamp[0] > PACK and pack:
            yield pack
            pack, size = [], 0
        pack.append(each)
        # The header counts too: there may be a million empty files.
        size += each.stamp[0] + 512
    if pack:
        yield pack


def _is_key(path: str) -> bool:
    """Whether a path can be part of a key: it is UTF-8, and short enough."""
    try:
        return len(path.encode()) <= _LONGEST_KEY
    except UnicodeEncodeError:
        return False

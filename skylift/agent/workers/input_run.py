"""One input of a map on its server: its folder, its process, and the results that are sent.

The folder of a run has `work`, in which the job's files are links to files that no run may change (input_folders.py),
and `input`, with the local file that the input is, if it is one. The files that the run leaves in `work` are its
results. Afterwards the folder is removed. client/map/outcome.py describes the outcome of a run.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import json
import os
import secrets
import select
import socket
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, List, NamedTuple, Tuple

from skylift.agent.environment.unpack import sha256_of
from skylift.agent.job.login_user import Login
from skylift.agent.machine.console import write_to_console
from skylift.agent.machine.remove_tree import remove_below
from skylift.agent.remote.aws import Refused, Unreachable, retry_until
from skylift.agent.remote.prefix import Prefix
from skylift.agent.results.find_files import files_named, spelled
from skylift.agent.results.open_result import WorkingFolder
from skylift.agent.workers.fitness import UNFIT
from skylift.agent.workers.input_folders import InputFolders
from skylift.agent.workers.input_live import LiveOutput
from skylift.agent.workers.input_memory import InputMemory, Share
from skylift.agent.workers.input_spawner import Spawner
from skylift.contract.states import State

INLINE = 4096
"""Bytes of a stream that is part of the outcome itself."""
KEPT = 64 << 20
"""Bytes of a stream that the record keeps, from its beginning: a program that writes without end costs no fortune."""
SENDING = 600
"""Seconds in which results and streams must be in S3."""
_BY_SIGNAL, _BY_ITSELF = 2.0, 0.25
"""Seconds after the end of a program that failed, in which a shutdown of the server reaches us too: where a signal has
ended it, and where it has exited."""
_LONGEST_KEY = 900
_MOST_RESULTS = 100_000


class NoOutcome(Exception):
    """There is no outcome: the server goes down, or no client waits for it any more."""


class MapPlace(NamedTuple):
    """Where a server's inputs run. `folders` makes those with the job's files, `cwd` is where they run there,
    `python` the interpreter of the program, `down` whether the server goes down, `memory` what all inputs share.
    `bucket` is a whole bucket of the user's, by its region and name. `source` is the prefix that has local inputs."""

    prefix: Prefix
    login: Login
    runs: Path
    folders: InputFolders
    cwd: str
    python: str
    instance: str
    down: threading.Event
    env: Dict[str, str]
    memory: InputMemory
    bucket: Callable[[str, str], Prefix]
    source: Prefix


class InputRun:
    """`program` is {"argv", "python", "args", "outputs", "total"}, `wanted` {"index", "text", "attempt", "blob"*,
    "part"*}, the last two as in the map's spec."""

    def __init__(self, place: MapPlace, spawner: Spawner, program: Dict[str, Any], wanted: Dict[str, Any]) -> None:
        self._place, self._spawner, self._program, self._wanted = place, spawner, program, wanted
        self._run = secrets.token_hex(8)
        self._name = "%08d-%s" % (wanted["index"], self._run)
        self._folder = place.runs / self._name
        self._work = self._folder / "work"
        self._cwd = self._work / place.cwd

    def run(self, owner: socket.socket) -> Dict[str, Any]:
        """The outcome. Raises NoOutcome if there is none, and OSError for what this server lacks (see fitness.py).
        `owner` is the connection of the waiting client."""
        try:
            try:
                argv = self._prepare()
            except (Unreachable, Refused) as error:
                return self._broken("The input could not be prepared: %s" % error)
            except OSError as error:
                if error.errno in UNFIT:
                    raise
                return self._broken("The input could not be prepared: %s" % (error.strerror or error))
            with self._place.memory.begin() as share:
                ended = self._execute(argv, owner)
                return self._conclude(ended, share)
        finally:
            with contextlib.suppress(OSError):
                remove_below(self._folder.parent, self._folder)

    # Its folder.

    def _prepare(self) -> List[str]:
        self._folder.mkdir(mode=0o711, parents=True)
        self._place.folders.make(self._work)
        argv, args = list(self._program["argv"]), list(self._program["args"])
        if self._program["python"]:
            argv[0] = self._place.python
        text, blob, part = self._wanted["text"], self._wanted.get("blob"), self._wanted.get("part")
        if blob:
            text = str(self._fetch(blob))
        elif part:
            text = str(self._fetch_part(part))
        if any("{}" in each for each in args):
            args = [each.replace("{}", text) for each in args]
        else:
            args.append(text)
        self._text = text
        return argv + args

    def _fetch(self, blob: Dict[str, Any]) -> Path:
        folder = self._folder / "input"
        folder.mkdir(mode=0o711)
        path: Path = folder / os.path.basename(blob["name"])
        key = "in/map/blobs/" + blob["sha256"]
        retry_until(key, lambda: self._place.source.fetch(key, path), time.time() + SENDING)
        if sha256_of(path) != blob["sha256"]:
            raise Refused(200, "%s is not what was sent" % key)
        path.chmod(0o644)
        return path

    def _fetch_part(self, part: Dict[str, Any]) -> Path:
        """Bytes of an object of the user's, behind its header. Raises Refused when it was changed."""
        folder = self._folder / "input"
        folder.mkdir(mode=0o711)
        path: Path = folder / os.path.basename(part["name"])
        bucket = self._place.bucket(part["region"], part["bucket"])
        until = time.time() + SENDING

        def fetch() -> None:
            with path.open("wb") as file:
                for start, end in ((0, part["header"]), (part["begin"], part["end"])):
                    if start < end:
                        bucket.fetch_span(part["key"], start, end, file, part["etag"])

        retry_until(part["key"], fetch, until)
        path.chmod(0o644)
        return path

    # Its process.

    def _execute(self, argv: List[str], owner: socket.socket) -> Dict[str, Any]:
        env = dict(
            self._place.env,
            SKYLIFT_INPUT=self._text,
            SKYLIFT_INDEX=str(self._wanted["index"]),
            SKYLIFT_COUNT=str(self._program["total"]),
            SKYLIFT_ATTEMPT=str(self._wanted["attempt"]),
        )
        what = {
            "argv": argv, "env": env, "cwd": str(self._cwd), "umask": 0o022, "identity": self._place.login.identity(),
        }  # fmt: skip
        with self._stream("stdout").open("wb") as out, self._stream("stderr").open("wb") as err:
            control = self._spawner.start(what, out.fileno(), err.fileno())
        with control:
            return self._await_end(control, owner)

    def _stream(self, name: str) -> Path:
        return self._folder / name

    def _await_end(self, control: socket.socket, owner: socket.socket) -> Dict[str, Any]:
        poll, come = select.poll(), b""
        poll.register(control, select.POLLIN | select.POLLHUP)
        # The owner sends nothing while it waits, so any event means that it is gone.
        poll.register(owner, select.POLLIN | select.POLLHUP | select.POLLRDHUP)
        streams = {name: self._stream(name) for name in ("stdout", "stderr")}
        live = LiveOutput(self._place.prefix, self._wanted["index"], self._run, self._wanted["attempt"], streams)
        while True:
            ready = [number for number, _ in poll.poll(live.seconds * 1000)]
            if not ready:
                live.look()
                continue
            if owner.fileno() in ready:
                raise NoOutcome("the waiting client is gone")
            piece = control.recv(4096)
            come += piece
            for line in come.split(b"\n")[:-1]:
                found: Dict[str, Any] = json.loads(line)
                if "pid" not in found:
                    return found
            if not piece:
                # Only root can have killed the helper, and the helper dies with the server.
                return {"helper": "lost"}

    # What it leaves.

    def _conclude(self, ended: Dict[str, Any], share: Share) -> Dict[str, Any]:
        if "errno" in ended:
            return self._not_started(ended)
        if "code" not in ended:
            self._stays(_BY_SIGNAL)
            return self._broken("The process that watched the program was killed.")
        code = ended["code"]
        if code:
            self._stays(_BY_SIGNAL if code < 0 or code > 128 else _BY_ITSELF)
        elif self._place.down.is_set():
            raise NoOutcome("the server goes down")
        found = share.judge(code)
        report = self._report(str(found.state.value), found.exit_code)
        report.update(started=ended["started"], seconds=round(ended["seconds"], 4))
        if found.state is not State.SUCCEEDED:
            report["reason"] = found.reason
        if found.signal:
            report["signal"] = found.signal
        try:
            self._send(report)
        except (Unreachable, Refused) as error:
            return self._broken("What it has left could not be sent: %s" % error)
        return report

    def _stays(self, seconds: float) -> None:
        """A failure is an outcome only of a server that stays: a shutdown ends programs before it ends us."""
        if self._place.down.wait(seconds):
            raise NoOutcome("the server goes down")

    def _report(self, state: str, exit_code: int) -> Dict[str, Any]:
        return {
            "index": self._wanted["index"], "state": state, "exit_code": exit_code,
            "attempt": self._wanted["attempt"], "run": self._run, "server": self._place.instance,
        }  # fmt: skip

    def _broken(self, reason: str) -> Dict[str, Any]:
        return dict(self._report("broken", 125), reason=reason[:1000])

    def _not_started(self, ended: Dict[str, Any]) -> Dict[str, Any]:
        if ended["errno"] in UNFIT:
            raise OSError(ended["errno"], os.strerror(ended["errno"]))
        code = 127 if ended["errno"] == errno.ENOENT else 126
        words = os.strerror(ended["errno"]) if ended["errno"] else "it cannot be started"
        return dict(
            self._report("failed", code),
            reason=("The program could not be started: %s: %s." % (ended["path"], words))[:1000],
        )

    def _send(self, report: Dict[str, Any]) -> None:
        until = time.time() + SENDING
        for name in ("stdout", "stderr"):
            with self._stream(name).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > INLINE:
                    kept = min(size, KEPT)
                    self._put("%s" % name, Beginning(file, kept), kept, until)
                    report[name] = {"size": size, "kept": kept}
                elif size:
                    content = file.read(size)
                    report[name] = {"size": len(content), "content": base64.b64encode(content).decode()}
        if self._program["outputs"]:
            self._send_results(report, until)

    def _put(self, name: str, file: Any, size: int, until: float) -> str:
        return self._place.prefix.put_file("server/map/runs/%s/%s" % (self._name, name), file, size, until)

    def _send_results(self, report: Dict[str, Any], until: float) -> None:
        sent: Dict[str, Tuple[int, str]] = {}
        missing: List[str] = []
        try:
            with WorkingFolder(self._work, self._place.cwd) as top:
                self._send_matching(top, sent, missing, until)
        except FileNotFoundError:
            # The program has removed it.
            pass
        except OSError as error:
            _miss(missing, self._place.cwd, error)
        if sent:
            report["results"] = [[path, size, digest] for path, (size, digest) in sorted(sent.items())]
        if missing:
            report["missing"] = [each[:1000] for each in missing[:1000]]

    def _send_matching(
        self, top: WorkingFolder, sent: Dict[str, Tuple[int, str]], missing: List[str], until: float
    ) -> None:
        for pattern in self._program["outputs"]:
            for found in files_named(top, pattern, partial(_miss, missing)):
                path = spelled(found.inner)
                if path in sent or len(sent) >= _MOST_RESULTS:
                    continue
                try:
                    path.encode()
                    with os.fdopen(top.open(found.inner), "rb") as file:
                        size = os.fstat(file.fileno()).st_size
                        digest = self._put(_result_key(path), file, size, until)
                        sent[path] = file.tell(), digest
                except UnicodeEncodeError:
                    missing.append("%s: its name is not UTF-8" % ascii(path))
                except OSError as error:
                    _miss(missing, path, error)


class Beginning:
    """The first `size` bytes of a file, which may still grow: another input may have got the program's stream."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self.seek, self.tell = file.seek, file.tell

    def read(self, most: int = -1) -> bytes:
        left = self._size - self._file.tell()
        return self._file.read(left if most < 0 else min(most, left))


def _miss(missing: List[str], what: str, error: OSError) -> None:
    if error.errno in UNFIT:
        raise error
    missing.append("%s: %s" % (what, error.strerror))


def _result_key(path: str) -> str:
    if len(path.encode()) <= _LONGEST_KEY:
        return "results/" + path
    return "files/" + hashlib.sha256(path.encode()).hexdigest()


def remove_runs(runs: Path) -> None:
    """Remove what inputs have left here. An input may have made what even root cannot remove, as by a mount: that is no
    failure of the map."""
    try:
        remove_below(runs.parent, runs)
    except FileNotFoundError:
        pass
    except OSError as error:
        write_to_console("what inputs have left cannot all be removed: %s" % error)

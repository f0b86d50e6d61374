"""A Dask cluster for a job's program (`run --servers`): its scheduler and a worker beside the program, and a worker on
each of the other servers.

The command of `cluster_argv` is started in the program's place, as its user. It leaves a keeper behind, waits until the
scheduler listens, and then becomes the program. So the program has its own exit code, streams and signals. Scheduler
and workers run the program's own code with its own environment and rights, and are trusted as it is. The keeper and
what it has started are processes of the program's user, and end with the program like all that it leaves running.

The keeper asks for the job's number of servers, gives each its key, and has lost ones replaced. The keys are as in
map_server.py: in/dask.json also has a client's key, for the program; server/map/keys/ARN has {"ca", "cert", "key",
"scheduler"}. The other servers' time, for what they cost, is in server/map/progress.json.

A spot job that goes on on another server has another cluster there: the previous cluster's servers know an address that
is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, NoReturn, Set, TextIO, Tuple

from skylift.agent.machine.console import say
from skylift.agent.machine.our_process import argv_of, read_options, write_options
from skylift.agent.remote.aws import Aws, Metadata, Refused, Unreachable, retry_until
from skylift.agent.remote.prefix import Prefix
from skylift.agent.workers.worker_group import SECRETS, Resizable, end_servers, keys_of_servers, open_group

NODE = "skylift/client/dask/node.py"
SCHEDULER = 8786
"""The scheduler's port, as in node.py."""
ALONE = 30.0
"""Seconds in which a worker must find a scheduler, or leaves. See seconds_alone, too."""
STARTING = 120.0
"""Seconds in which the scheduler must listen."""
FAILURES = 3
"""After this many servers in a row that are lost soon after their start, no other is started."""
SOON = 180.0
"""Seconds."""
_PROGRESS = "server/map/progress.json"
_FOLDER = ".skylift-dask"
_FOREVER = 1e9
_LOOKING = 1.0
_REPORTING = 15.0
_TAKING = 60.0
"""Seconds in which the keys must be read."""
_OWN_SHARE = 0.6
"""The share of the memory that the worker beside the program has."""
_ENV_FAILED = 123
_TROUBLES = (OSError, ValueError, KeyError, zipfile.BadZipFile)
"""Failures of the server, the folder's files or the keys. A traceback would only show our own code."""


class NoCluster(Exception):
    """There is no cluster. The text is for the user."""


class ClusterOptions(NamedTuple):
    """`python` is the interpreter of the job's environment, and `script` the program's path if it is a script. If there
    is no cluster, the reason is written to the descriptor `failure`, and the program is not started. With `moves`,
    another server may go on with the job, and needs the keys."""

    archive: str
    bucket: str
    prefix: str
    region: str
    imds: str
    endpoint: str
    group: str
    servers: int
    python: str
    script: str
    failure: int
    moves: bool


def cluster_argv(interpreter: str, options: ClusterOptions, argv: List[str]) -> List[str]:
    """The command that is started in the program's place. `interpreter` is the server's own, `argv` the program's
    command."""
    return argv_of(interpreter, options.archive, "skylift.agent.workers.job_cluster", write_options(options), *argv)


def place_node(archive: Path, folder: Path) -> Path:
    """What a part of the cluster runs (dask/node.py), as a file: its worker's own process imports it by its path."""
    path = folder / "node.py"
    with zipfile.ZipFile(str(archive)) as whole:
        path.write_bytes(whole.read(NODE))
    return path


class OtherServers:
    """Keeps a group at its size. `seen` has the time of each server, by its instance: [type, market, first, last];
    `prepare` is called once for each that is new. A server that is lost is replaced. With `strangers`, servers that are
    there at first are another scheduler's, and are ended."""

    def __init__(
        self,
        group: Resizable,
        wanted: int,
        prepare: Callable[[str], None],
        seen: Dict[str, List[Any]],
        clock: Callable[[], float] = time.time,
        tell: Callable[[str], None] = say,
        *,
        strangers: bool = False,
    ) -> None:
        self._strangers = strangers
        self._group, self._wanted, self._prepare, self.seen = group, wanted, prepare, seen
        self._clock, self._tell = clock, tell
        self._lost: Set[str] = set()
        self._failures, self._last_told = 0, ""
        self._has_looked = False

    def step(self) -> None:
        """One look. Raises Unreachable and Refused."""
        group = self._group.look()
        if group is None:
            self.tell_once("The Auto Scaling group of the other servers is gone. The program has none but its own.")
            return
        if self._strangers:
            if group.members:
                for each in group.members:
                    self._group.terminate(each.instance)
                return
            if group.desired:
                self._group.resize(0)
                group = group._replace(desired=0)
            self._strangers = False
        now = self._clock()
        for each in group.members:
            if each.alive and each.instance not in self.seen:
                self._prepare(each.instance)
                self.seen[each.instance] = [each.instance_type, each.market, now, now]
            elif each.instance in self.seen:
                self.seen[each.instance][3] = now
            if not each.alive:
                self._lose(each.instance, now)
        self._has_looked = True
        if group.desired < self._wanted and self._failures < FAILURES:
            self._group.resize(self._wanted)
        if len(group.members) < group.desired:
            self._complain(len(group.members) + 1, self._group.why_not())

    def _lose(self, instance: str, now: float) -> None:
        self._group.terminate(instance)
        if instance in self._lost:
            # It stays in the group for several looks.
            return
        self._lost.add(instance)
        if not self._has_looked:
            # There was no scheduler for it to work for: the program was about to be started again.
            return
        first = self.seen.get(instance, [None, None, now])[2]
        self._failures = self._failures + 1 if now - first < SOON else 0
        if self._failures == FAILURES:
            self._tell("%d servers in a row were lost soon after their start. No other is started." % FAILURES)

    def _complain(self, there: int, reason: str) -> None:
        if reason:
            found = "is 1 server" if there == 1 else "are %d servers" % there
            self.tell_once("There %s, and not %d: %s" % (found, self._wanted + 1, reason))

    def tell_once(self, text: str) -> None:
        if text != self._last_told:
            self._last_told = text
            self._tell(text)

    def times(self) -> List[Dict[str, Any]]:
        """The servers' time, as a map's progress has it."""
        found: Dict[Tuple[str, str], List[float]] = {}
        for kind, market, first, last in self.seen.values():
            if kind:
                counted = found.setdefault((kind, market), [0, 0.0])
                counted[0] += 1
                counted[1] += last - first
        return [
            {"instance_type": kind, "market": market, "servers": int(servers), "seconds": round(seconds, 1)}
            for (kind, market), (servers, seconds) in found.items()
        ]


class JobCluster:
    """The cluster on the job's own server. The program may be started again after a failure: what a cluster of the
    program before has left in the folder is taken up."""

    def __init__(self, options: ClusterOptions) -> None:
        self._options = options
        self._metadata = Metadata(options.imds)
        self._aws = Aws(options.region, options.endpoint or None, self._metadata)
        self._prefix = Prefix(self._aws, options.bucket, options.prefix)
        self._folder = Path.home() / _FOLDER
        self._address = ""
        self._parts: List["subprocess.Popen[bytes]"] = []

    def begin(self) -> Dict[str, str]:
        """Start it, and wait until the scheduler listens: the variables with which `Client()` finds it. Raises
        NoCluster."""
        try:
            return self._begin()
        except _TROUBLES as error:
            raise NoCluster(_spell(error)) from None

    def _begin(self) -> Dict[str, str]:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        until = time.time() + _TAKING
        try:
            self._keys = self._take_keys(until)
            self._address = retry_until("address", lambda: self._metadata.get("/latest/meta-data/local-ipv4"), until)
            self._address = self._address.strip()
        except (Unreachable, Refused) as error:
            raise NoCluster("The keys of the cluster cannot be had: %s" % error) from None
        self._node = place_node(Path(self._options.archive), self._folder)
        reading, telling = os.pipe()
        if os.fork() == 0:
            # Forks twice, so that the program has no children that it does not know.
            os.close(reading)
            os.setsid()
            if os.fork():
                os._exit(0)
            self._keep(telling)
        os.close(telling)
        os.wait()
        with os.fdopen(reading) as answer:
            words = answer.read()
        if words != "ready":
            raise NoCluster(words or "The scheduler's keeper was ended.")
        return self._environ()

    def _take_keys(self, until: float) -> Dict[str, Any]:
        path = self._folder / "keys.json"
        self._is_first_here = not path.exists()
        if not self._is_first_here:
            taken: Dict[str, Any] = json.loads(path.read_bytes())
            return taken
        found = retry_until(SECRETS, lambda: self._prefix.get(SECRETS), until)
        if found is None:
            raise Refused(404, "%s is not in the job's prefix" % SECRETS)
        _write(path, found)
        if not self._options.moves:
            retry_until(SECRETS, lambda: self._prefix.delete(SECRETS), until)
        keys: Dict[str, Any] = json.loads(found)
        return keys

    def _environ(self) -> Dict[str, str]:
        mine = self._keys["client"]
        for name in ("ca", "cert", "key"):
            _write(self._folder / ("%s.pem" % name), mine[name].encode())
        return {
            "SKYLIFT_SERVERS": str(self._options.servers),
            "DASK_SCHEDULER_ADDRESS": self._scheduler,
            "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true",
            "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(self._folder / "ca.pem"),
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT": str(self._folder / "cert.pem"),
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY": str(self._folder / "key.pem"),
        }

    @property
    def _scheduler(self) -> str:
        return "tls://%s:%d" % (self._address, SCHEDULER)

    # The keeper.

    def _keep(self, telling: int) -> NoReturn:
        """Runs in a separate process until the program has ended: all processes of its user get SIGTERM then."""
        try:
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            with os.fdopen(telling, "w") as answer:
                scheduler = self._start_scheduler(answer)
            self._follow(scheduler)
        except SystemExit:
            pass
        except BaseException as error:  # noqa: BLE001 (no process waits for this one: the log has it)
            say("the cluster's keeper has failed: %r" % error)
        finally:
            self._end()
        os._exit(0)

    def _start_scheduler(self, answer: TextIO) -> "subprocess.Popen[bytes]":
        """Write into `answer` that it is ready, or why not."""
        try:
            self._leave_streams()
            scheduler = self._start("scheduler", {"alone": _FOREVER, "dashboard": False}, 300)
            answer.write(self._await_scheduler(scheduler))
        except _TROUBLES as error:
            answer.write(_spell(error))
            raise
        return scheduler

    def _leave_streams(self) -> None:
        """What the cluster says is in a file beside its keys. What the user has to know of servers that do not come is
        on the program's standard error, too: a program that waits for them would tell of nothing."""
        self._program_stderr = os.dup(2)
        os.set_inheritable(self._program_stderr, False)
        log = os.open(str(self._folder / "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.close(self._options.failure)

    def _tell(self, text: str) -> None:
        say(text)
        with contextlib.suppress(OSError):
            os.write(self._program_stderr, ("skylift: %s\n" % text).encode())

    def _start(self, part: str, settings: Dict[str, Any], expendable: int) -> "subprocess.Popen[bytes]":
        """`expendable` is the part's oom_score_adj: when memory is short, a worker goes first, and has a successor."""
        fields = dict(self._keys[part], part=part, script=self._options.script, **settings)
        env = dict(os.environ, SKYLIFT_DASK=json.dumps(fields))

        def become() -> None:
            with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
                score.write(str(expendable))

        process = subprocess.Popen(
            [self._options.python, str(self._node)], env=env, stdin=subprocess.DEVNULL, start_new_session=True,
            preexec_fn=become,  # noqa: PLW1509 (there is one thread)
        )  # fmt: skip
        self._parts.append(process)
        return process

    def _await_scheduler(self, scheduler: "subprocess.Popen[bytes]") -> str:
        until, pause = time.monotonic() + STARTING, 0.02
        while time.monotonic() < until:
            if scheduler.poll() is not None:
                return "Dask's scheduler has ended at its start:\n%s" % self._last_words()
            with contextlib.suppress(OSError):
                socket.create_connection((self._address, SCHEDULER), 1).close()
                return "ready"
            time.sleep(pause)
            pause = min(pause * 1.3, 0.3)
        return "Dask's scheduler has not started within %d s:\n%s" % (STARTING, self._last_words())

    def _last_words(self) -> str:
        return (self._folder / "log").read_bytes()[-2000:].decode(errors="replace").strip()

    def _follow(self, scheduler: "subprocess.Popen[bytes]") -> None:
        instance = retry_until("instance id", self._aws.instance, float("inf"))
        share = {"alone": ALONE, "scheduler": self._scheduler, "name": instance, "memory": _OWN_SHARE}
        worker = self._start("worker", share, 700)
        keys = retry_until("identity", lambda: keys_of_servers(self._metadata, self._options.region), float("inf"))
        key = json.dumps(dict(self._keys["worker"], scheduler=self._scheduler)).encode()
        group = open_group(self._aws, self._options.group, self._tell)
        prepare = lambda instance: self._prefix.put(keys + instance, key)  # noqa: E731
        seen, wanted = self._seen(), self._options.servers - 1
        self._before = self._times_before()
        others = self._others = OtherServers(
            group, wanted, prepare, seen, tell=self._tell, strangers=self._is_first_here  # type: ignore[arg-type]
        )  # fmt: skip
        reported = 0.0
        while scheduler.poll() is None:
            try:
                others.step()
                if others.seen and time.monotonic() - reported > _REPORTING:
                    self._report()
                    reported = time.monotonic()
            except (Unreachable, Refused) as error:
                others.tell_once("The other servers cannot be looked after: %s" % error)
            if worker.poll() is not None and scheduler.poll() is None:
                worker = self._start("worker", share, 700)
            time.sleep(_LOOKING)
        say("the scheduler has ended (%s): the other servers end, too" % scheduler.returncode)
        with contextlib.suppress(Unreachable, Refused):
            # The group stays: the keeper that comes with the program's next start may fill it again.
            end_servers(group)

    def _seen(self) -> Dict[str, List[Any]]:
        """Those that a keeper before this one has given their keys."""
        try:
            found: Dict[str, List[Any]] = json.loads((self._folder / "seen.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return found

    def _times_before(self) -> List[Dict[str, Any]]:
        """The time of the servers that the job had before it came to this one."""
        path = self._folder / "before.json"
        found: List[Dict[str, Any]] = []
        with contextlib.suppress(FileNotFoundError, ValueError):
            found = json.loads(path.read_bytes())
        if self._is_first_here and self._options.moves:
            with contextlib.suppress(Unreachable, Refused, ValueError, KeyError, TypeError):
                found = list(json.loads(self._prefix.get(_PROGRESS) or b"{}")["others"])
            _write(path, json.dumps(found).encode())
        return found

    def _report(self) -> None:
        _write(self._folder / "seen.json", json.dumps(self._others.seen).encode())
        self._prefix.put(_PROGRESS, json.dumps({"others": self._before + self._others.times()}).encode())

    def _end(self) -> None:
        """Kills the parts at once: nothing depends on their work any more."""
        for each in self._parts:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGKILL)
        if hasattr(self, "_others") and self._others.seen:
            with contextlib.suppress(Unreachable, Refused, OSError):
                self._report()


def _spell(error: Exception) -> str:
    return "%s: %s" % (type(error).__name__, error)


def _write(path: Path, content: bytes) -> None:
    """For the program's user only, whole or not at all."""
    new = path.with_name(path.name + ".new")
    with open(os.open(str(new), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    os.replace(str(new), str(path))


def _undo_pythons_own() -> None:
    """What the program would inherit: Python ignores two signals, and chooses a locale in place of C."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    given = Path("/proc/self/environ").read_bytes().split(b"\0")
    if not any(each.startswith(b"LC_CTYPE=") for each in given):
        os.environ.pop("LC_CTYPE", None)


def main() -> None:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Ctrl-C ends it as it would end the program, without our traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    options, argv = read_options(ClusterOptions, sys.argv[1]), sys.argv[2:]
    # Neither the program nor a part of the cluster has it.
    os.set_inheritable(options.failure, False)
    try:
        os.environ.update(JobCluster(options).begin())
    except NoCluster as error:
        os.write(options.failure, str(error).encode(errors="replace"))
        sys.exit(_ENV_FAILED)
    _undo_pythons_own()
    try:
        os.execvp(argv[0], argv)  # noqa: S606 (it becomes the program)
    except OSError as error:
        sys.stderr.write("skylift: %s could not be started: %s.\n" % (argv[0], error.strerror))
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)

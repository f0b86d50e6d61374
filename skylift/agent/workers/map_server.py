"""Runs on each of a map's servers. It starts the programs of inputs, and the Dask processes that hand inputs out.

It is started as the job's program, so caps, streams and the end work as in any job. It runs as root. The inputs'
programs belong to it: a Dask worker asks for one through a socket and waits there. If the worker is gone and its
connection breaks, the program is ended. If this process is gone, all programs are.

The socket takes lines of JSON: {"program", "inputs"}, as input_run.py describes them. It answers one line for each
input, in their order: {"outcome"}. Instead of the remaining lines it may answer {"withheld": reason}, or, if this
server cannot run inputs now, {"unfit": reason}. A coordinator of several servers asks for Dask's environment with
{"dask": true}; the answer is {"python"}, its interpreter, or {"failed": reason}.

Dask's processes run as a separate user. A process that may connect to them may execute anything as that user. So they
have no port that an input's program could use, and such a program may not open the socket.

In a map of several servers they have ports, for clients with a key that the map's own authority has signed. The keys
are in the prefix for a moment only, because a server's role is its programs' role too:

    in/dask.json                    {"scheduler", "worker"}, each {"ca", "cert", "key"}: for the coordinator's server,
                                    which removes it before it runs anything; of a spot job it stays until the end
    server/map/keys/ARN             {"scheduler": ADDRESS, "ca", "cert", "key"}: written by the coordinator for a new
                                    server of its group, which removes it before it runs anything. Only that server's
                                    role may read it, from that server

A schedule's run has no client to issue them: its server does, and the coordinator's keys never leave it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from skylift.agent.environment.tool_environment import BUILDING, CannotMake, ToolEnvironment
from skylift.agent.environment.uv import Uv
from skylift.agent.job.context import Context
from skylift.agent.job.login_user import Login
from skylift.agent.machine.console import say, write_to_console
from skylift.agent.machine.our_process import argv_of, read_options, write_options
from skylift.agent.machine.root_path import ROOT_PATH
from skylift.agent.remote.aws import Aws, Metadata, Refused, Unreachable, retry_until
from skylift.agent.remote.prefix import Prefix
from skylift.agent.workers.fitness import Fitness, ServerUnfit
from skylift.agent.workers.input_folders import InputFolders, make_unchangeable
from skylift.agent.workers.input_helper import NO_ROOM, raise_descriptors
from skylift.agent.workers.input_memory import InputMemory
from skylift.agent.workers.input_run import InputRun, MapPlace, NoOutcome, remove_runs
from skylift.agent.workers.input_spawner import Spawner
from skylift.agent.workers.tls_keys import CannotIssue, issue
from skylift.agent.workers.worker_group import SECRETS, take_key

KEEPS_ALL, KEEPS_GROUP = "all", "group"
"""What stays for another coordinator's server: the Auto Scaling group and the map's keys, or only the group. A client
that starts another server issues new keys; a fleet cannot."""
DASK_USER = 61_904
"""The user of Dask's processes: a number that no account has."""
_ENDING = 8.0
"""Seconds that the coordinator has to record its outcomes before it is killed."""
_PASSED_ON = ("AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "SSL_CERT_FILE", "NO_PROXY", "no_proxy", "LANG")
_MOST_STARTS = 8
"""The most coordinators in a row that are killed on one server with no new outcome in the log."""
OUTCOMES = "outcomes"
"""A file in the home of Dask's processes: how many outcomes the last coordinator has found in the log."""
_MOST = 64 << 20
"""The most bytes of a request."""
_MOST_FAILURES = 5
"""Times in a row that a worker of Dask's may fail soon after its start."""
_SOON = 10.0
"""Seconds."""
_COMING = 240.0
"""Seconds in which the first other server must have booted, and built Dask's environment."""
_LOOKING = 0.2
LEFT = 3
"""The exit code of a Dask worker that has not found its scheduler for too long."""


class MapSettings(NamedTuple):
    """`python` is the interpreter of the inputs' program, `tools` is Dask's, and `cwd` the working directory in the
    job's folder. `source` is the prefix with the map's spec and local inputs, which differs from the job's prefix in a
    schedule's run. `part` is `coordinator` or `worker`. `group` is the Auto Scaling group of a map with several
    servers. `keeps` is what stays for another coordinator's server: see KEEPS_ALL. `dask` is the record's part about
    Dask's environment, for a coordinator of several servers. Keys that are issued here are valid until `until`, in
    seconds since the epoch."""

    archive: str
    bucket: str
    prefix: str
    region: str
    imds: str
    root: str
    user: str
    source: str
    python: str
    tools: str
    cwd: str
    dask: Dict[str, Any]
    part: str = "coordinator"
    group: str = ""
    keeps: str = ""
    until: float = 0.0

    @property
    def job(self) -> str:
        return self.prefix.rpartition("/")[2]


def map_argv(context: Context, python: str, tools: str, cwd: str, **more: Any) -> List[str]:
    """The command that starts this. `more` is what only the coordinator's server is told."""
    told = dict(context.where(), source=context.source_name, root=str(context.root), user=context.login.user.pw_name)
    options = MapSettings(**told, python=python, tools=tools, cwd=cwd, **{"dask": {}, **more})
    return argv_of(sys.executable, options.archive, "skylift.agent.workers.map_server", write_options(options))


def dask_argv(tools: str, archive: str, module: str) -> List[str]:
    """The command of a process of Dask's: the coordinator, or a worker. It ends without a flush of its output."""
    return argv_of(tools, archive, "skylift.client.map." + module)


class MapServer:
    def __init__(self, options: MapSettings) -> None:
        self._options = options
        # First of all, while there is one thread.
        self._spawner = Spawner()
        raise_descriptors()
        aws = Aws(options.region, os.environ.get("AWS_ENDPOINT_URL"), Metadata(options.imds))
        self._down = threading.Event()
        self._signal = 0
        self._folder = Path(options.root) / "var/lib/skylift" / options.job / "map"
        login = Login(options.user, Path(options.root), options.job, options.region)
        instance = retry_until("instance id", aws.instance, float("inf"))
        folders = InputFolders(login.place, options.cwd, login)
        self._place = MapPlace(
            Prefix(aws, options.bucket, options.prefix), login, self._folder / "runs", folders, options.cwd,
            options.python, instance, self._down, dict(os.environ),
            InputMemory(), lambda region, name: Prefix(aws.in_region(region), name),
            Prefix(aws, options.bucket, options.source),
        )  # fmt: skip
        self._fitness = Fitness(self._place.runs, Path(options.root), login.uid, self._down)
        self._uid = DASK_USER if os.geteuid() == 0 else os.geteuid()
        self._dask: Optional[subprocess.Popen[bytes]] = None
        self._secrets: Dict[str, Any] = {}
        self._starting, self._making = threading.Lock(), threading.Lock()
        self._tools = self._tool_environment(aws, login)

    def _tool_environment(self, aws: Aws, login: Login) -> Optional[ToolEnvironment]:
        options, root, env = self._options, Path(self._options.root), login.environment()
        record = options.dask
        if not record:
            return None

        def fetch(key: str, target: Path) -> None:
            folder, _, name = key.rpartition("/")
            prefix, until = Prefix(aws, options.bucket, folder), time.time() + BUILDING
            retry_until(name, lambda: prefix.fetch(name, target), until, write_to_console)

        # Another server builds what there is not yet: inputs run here, with the rights of this one.
        record = dict(record, environment=dict(record["environment"], shared=False))
        uv = Uv(record.get("uv"), fetch, root / "var/lib/skylift/tools")
        return ToolEnvironment(
            record, lambda name: Prefix(aws, options.bucket, name), root, uv, env, _COMING, write_to_console
        )

    def run(self) -> int:
        """The exit code: the coordinator's, or the code of the signal that has ended it."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, frame: self._go_down(number))
        remove_runs(self._place.runs)
        self._place.runs.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._folder.chmod(0o711)
        make_unchangeable(self._place.login.place)
        with self._listen() as listening:
            threading.Thread(target=self._end_dask, name="end", daemon=True).start()
            is_worker = self._options.part == "worker"
            code = LEFT
            if self._take_worker_key() if is_worker else self._take_secrets():
                answering = (listening, self._answer, self._down)
                threading.Thread(target=serve, args=answering, name="inputs", daemon=True).start()
                run = partial(self._run_dask, listening.getsockname(), "worker" if is_worker else "main")
                outcomes = partial(outcomes_in, self._folder / "dask" / OUTCOMES)
                code = keep_working(run, self._down) if is_worker else see_through(run, outcomes, self._down)
        self._spawner.close()
        remove_runs(self._place.runs)
        return 128 + self._signal if self._signal else code

    def _go_down(self, number: int) -> None:
        """A shutdown, a cancel or a Ctrl-C: nothing that ends from now on is a verdict."""
        self._signal = self._signal or number
        self._down.set()

    def _listen(self) -> socket.socket:
        """Until it listens, the folder is root's: Dask processes of an earlier map process may still run."""
        home, is_root = self._folder / "dask", os.geteuid() == 0
        home.mkdir(mode=0o700, exist_ok=True)
        if is_root:
            os.chown(str(home), 0, 0)
        path = home / "inputs.sock"
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen(128)
        path.chmod(0o600)
        if is_root:
            os.chown(str(path), self._uid, self._uid)
            os.chown(str(home), self._uid, self._uid)
        return listening

    # The keys.

    def _take_secrets(self) -> bool:
        if self._options.group:
            of_schedule = self._options.source != self._options.prefix
            self._secrets = {
                "group": self._options.group,
                "keeps": bool(self._options.keeps),
                "dask": self._issue_secrets() if of_schedule else self._fetch_secrets(),
                "built": bool(self._options.dask.get("environment", {}).get("sha256")),
            }
        return True

    def _fetch_secrets(self) -> Dict[str, Any]:
        prefix, taken = self._place.prefix, self._folder / "taken"
        if taken.exists():
            # Before a reboot of this server.
            return self._issue_secrets()
        found = retry_until(SECRETS, lambda: prefix.get(SECRETS), float("inf"))
        if self._options.keeps != KEEPS_ALL:
            taken.touch()
            retry_until(SECRETS, lambda: prefix.delete(SECRETS), float("inf"))
        secrets: Dict[str, Any] = json.loads(found or b"{}")
        return secrets

    def _issue_secrets(self) -> Dict[str, Any]:
        """Empty if that fails: all inputs then run on this server, and the map's output says why."""
        options = self._options
        try:
            return issue(options.job, ("scheduler", "worker"), time.time(), options.until, self._folder)
        except CannotIssue as error:
            sys.stderr.write("All inputs run on this one server. %s\n" % error)
            return {}

    def _take_worker_key(self) -> bool:
        """False if there is no key in time: no coordinator wants this server."""
        metadata, instance = Metadata(self._options.imds), self._place.instance
        found = take_key(self._place.prefix, metadata, self._options.region, instance, self._down.wait)
        if found is None and not self._down.is_set():
            say("no coordinator wants this server")
        self._secrets = {"dask": found}
        return found is not None

    # The coordinator, or a worker of Dask's.

    def _run_dask(self, path: str, module: str) -> int:
        """The exit code as in Popen."""
        options = self._options
        fields = {
            "bucket": options.bucket, "prefix": options.prefix, "region": options.region, "imds": options.imds,
            "source": options.source,
            "socket": path, "instance": self._place.instance, "threads": os.cpu_count() or 1,
            **self._secrets,
        }  # fmt: skip
        home = self._folder / "dask"
        env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        env.update(
            PATH=ROOT_PATH, HOME=str(home), TMPDIR=str(home), USER="skylift-dask", LOGNAME="skylift-dask",
            SKYLIFT_MAP=json.dumps(fields),
        )  # fmt: skip
        identity: Dict[str, Any] = {}
        if os.geteuid() == 0:
            identity = {"user": self._uid, "group": self._uid, "extra_groups": []}
        with self._starting:
            if self._down.is_set():
                return -self._signal
            self._dask = subprocess.Popen(
                dask_argv(options.tools, options.archive, module), env=env, cwd=str(home), stdin=subprocess.DEVNULL,
                **identity,
            )  # fmt: skip
        return self._dask.wait()

    def _end_dask(self) -> None:
        self._down.wait()
        with self._starting:
            dask = self._dask
        if dask is None:
            return
        dask.send_signal(signal.SIGTERM)
        try:
            dask.wait(_ENDING)
        except subprocess.TimeoutExpired:
            dask.kill()

    # The socket.

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            peer = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
            if peer not in (0, self._uid):
                return
            with contextlib.suppress(OSError), connection.makefile("rb") as lines:
                for line in iter(lambda: lines.readline(_MOST), b""):
                    self._run_all(json.loads(line), connection)

    def _make_dask(self) -> Dict[str, str]:
        if self._tools is None:
            return {"failed": "This map has one server."}
        with self._making:
            try:
                self._tools.make()
            except (CannotMake, Unreachable, Refused, OSError) as error:
                return {"failed": str(error)}
        return {"python": self._tools.python}

    def _run_all(self, request: Dict[str, Any], connection: socket.socket) -> None:
        if "dask" in request:
            connection.sendall(json.dumps(self._make_dask()).encode() + b"\n")
            return
        for wanted in request["inputs"]:
            try:
                with self._fitness.one_input():
                    run = InputRun(self._place, self._spawner, request["program"], wanted)
                    answer: Dict[str, Any] = {"outcome": run.run(connection)}
            except NoOutcome as why:
                answer = {"withheld": str(why)}
            except ServerUnfit as why:
                answer = {"unfit": "%s: %s" % (self._place.instance, why)}
            connection.sendall(json.dumps(answer).encode() + b"\n")
            if "outcome" not in answer:
                break


def serve(listening: socket.socket, answer: Callable[[socket.socket], None], down: threading.Event) -> None:
    """Answers each connection in a separate thread. Running inputs may have used up the server's processes (threads are
    counted with them) or descriptors: the next connections wait until some are free again."""
    while True:
        try:
            connection, _ = listening.accept()
        except OSError as error:
            if error.errno not in NO_ROOM or down.wait(_LOOKING):
                return
            continue
        while True:
            try:
                threading.Thread(target=answer, args=(connection,), daemon=True).start()
                break
            except RuntimeError:
                if down.wait(_LOOKING):
                    connection.close()
                    return


def outcomes_in(path: Path) -> int:
    """Processes of Dask's user may write anything there, or put anything in its place."""
    try:
        with os.fdopen(os.open(str(path), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as file:
            return int(file.read(20) or b"0")
    except (OSError, ValueError):
        return 0


def see_through(run: Callable[[], int], outcomes: Callable[[], int], down: threading.Event) -> int:
    """Runs coordinators until one ends by itself, and returns its exit code. If one is killed, the next reads in the
    log which inputs have an outcome. An input may kill several coordinators before it has an outcome, and any number of
    inputs may do so: so only coordinators that have added no `outcomes` are counted."""
    most, vain, pause = outcomes(), 0, 0.1
    while vain < _MOST_STARTS:
        code = run()
        if code >= 0 or down.is_set():
            return code if code >= 0 else 128 - code
        found = outcomes()
        vain, pause = (0, 0.1) if found > most else (vain + 1, pause * 2)
        most = max(most, found)
        say("the coordinator was ended by signal %d; another one takes its place" % -code)
        down.wait(pause)
    return 125


def keep_working(run: Callable[[], int], down: threading.Event) -> int:
    """Runs Dask workers, one after the other; `run` returns the exit code. A worker that has lost its scheduler ends
    with 0. The next one looks for another scheduler, and leaves if none comes. If several in a row have failed at their
    start, the next one would, too, and the server is useless."""
    code = failures = 0
    while code != LEFT and failures < _MOST_FAILURES and not down.is_set():
        began = time.monotonic()
        code = run()
        fails = code not in (0, LEFT) and time.monotonic() - began < _SOON
        failures = failures + 1 if fails else 0
        down.wait(_LOOKING)
    if failures == _MOST_FAILURES:
        say("%d workers of Dask's in a row have failed at their start, the last one with %d" % (failures, code))
    return code


def main() -> None:
    sys.exit(MapServer(read_options(MapSettings, sys.argv[1])).run())

"""A server of the model: its processes, its disk, its power; the keeper's first lines, and the user's program."""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import hashlib
import json
import os
import pwd
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from life_clock import Process, Queue, World
from life_python import Python
from life_system import OS, Pipe

if TYPE_CHECKING:
    from life_history import Life
    from life_plan import Job

NOBODY = pwd.getpwnam("nobody")
BUCKET = "bucket"


class Proc(Process):
    def __init__(self, name: str, server: Server, parent: Proc | None) -> None:
        super().__init__(name)
        self.server, self.parent = server, parent
        self.pid = server.next_pid()
        self.handlers: dict[int, Any] = dict(parent.handlers) if parent is not None else {}
        self.excepthook: Callable[..., Any] | None = None
        self.status: int | None = None
        self.descriptors: list[int] = []
        self.run: Run | None = None

    def own_descriptor(self, number: int) -> None:
        self.descriptors.append(number)
        self.server.owners.setdefault(number, []).append(self)

    def disown_descriptor(self, number: int) -> None:
        if number not in self.descriptors:
            raise OSError(9, f"{self.name} has no descriptor {number}")
        self.descriptors.remove(number)
        owners = self.server.owners[number]
        owners.remove(self)
        if not owners:
            del self.server.owners[number]
            self.server.close(number)

    def forget_descriptor(self, number: int) -> None:
        self.descriptors.remove(number)
        del self.server.owners[number]

    @property
    def place(self) -> Path:
        return self.server.proc / str(self.pid)

    def show(self) -> None:
        """In the model's /proc."""
        self.place.mkdir(exist_ok=True)
        state = "S" if self.status is None else "Z"
        parent = self.parent.pid if self.parent is not None else 1
        rest = "0 " * 30
        (self.place / "stat").write_text(f"{self.pid} ({self.name}) {state} {parent} {self.pid} {self.pid} {rest}\n")
        uid = NOBODY.pw_uid if self.run is not None else 0
        uids = f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}"
        told = f"Name:\t{self.name}\nState:\t{state} (as it is)\nPid:\t{self.pid}\nPPid:\t{parent}\n{uids}\n"
        (self.place / "status").write_text(told)
        if self.run is not None:
            (self.place / "environ").write_text(f"SKYLIFT_JOB={self.run.job.name}\0")
            if os.geteuid() == 0:
                os.chown(self.place, NOBODY.pw_uid, NOBODY.pw_gid)


class Run:
    """What a program really did: the truth that a record is compared with."""

    def __init__(self, job: Job, server: Server, number: int, world: World) -> None:
        self.job, self.server, self.number, self._world = job, server, number, world
        self.started = world.now
        self.ended: float | None = None
        self.code: int | None = None
        self.why = ""
        """own, term, kill, oom or power."""
        self.count_at_start = self.count = 0
        self.told: list[float] = []
        """When SIGTERM came."""
        self.written: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        self.outputs: dict[str, bytes] = {}
        self.down = False
        """Whether its server was going down when it ended."""
        self.orphaned = False
        """Whether nobody was there when it ended who could know how."""


class Server:
    """`id` is EC2's. What `stopped` keeps is `root`; a boot has what is in memory, `run`, anew."""

    def __init__(self, life: Life, id: str, job: Job, folder: Path, market: str) -> None:
        self.life, self.world, self.id, self.job, self.market = life, life.world, id, job, market
        self.root, self.proc = folder / id, folder / f"{id}.proc"
        self.root.mkdir()
        (self.root / "etc/ssh").mkdir(parents=True)
        (self.root / "etc/ssh/ssh_host_ed25519_key.pub").write_text("ssh-ed25519 AAAA\n")
        self._pid = 100
        self.state = "pending"
        self.on_since: float | None = None
        self.off_at: float | None = None
        self.processes: dict[int, Proc] = {}
        self.descriptors: dict[int, Any] = {}
        self.owners: dict[int, list[Proc]] = {}
        self._locks: dict[int, list[Proc]] = {}
        self.activity = Queue(self.world)
        self.oom_kills = 0
        self.going_down = False
        self.stop_asked = False
        self.timer = 0
        self._timer_number = 0
        self.boots = 0
        self.notice: dict[str, str] | None = None
        self.advice = False
        self.struck: list[str] = []
        self.noticed: list[float] = []
        self.taken_back: list[float] = []
        self.rebooting = False
        self.went_down: list[float] = []
        self.cut_off_until = 0.0
        self.started_again = 0.0
        self.launched_at = self.world.now
        self.up = False
        """Whether it has power: a server that is rebooted has none for a moment, and is running for EC2."""
        self.environ: dict[str, str] = {}

    def next_pid(self) -> int:
        self._pid += 1
        return self._pid

    def console(self, text: str) -> None:
        for line in text.splitlines():
            self.world.tell(f"  {self.id} says: {line.removeprefix('skylift: ')}")

    @property
    def is_on(self) -> bool:
        return self.state in ("running", "shutting-down", "stopping")

    # Its power.

    def boot(self) -> None:
        if self.state not in ("pending", "running", "stopped"):
            return
        self.boots += 1
        self.up = True
        self.world.tell(f"{self.id} boots" + (" again" if self.boots > 1 else f" ({self.market})"))
        self.state, self.on_since, self.going_down, self.stop_asked = "running", self.world.now, False, False
        shutil.rmtree(self.root / "run", ignore_errors=True)
        shutil.rmtree(self.proc, ignore_errors=True)
        self.proc.mkdir()
        self.processes, self.descriptors, self._locks = {}, {}, {}
        self.activity = Queue(self.world)
        job = self.job
        self.environ = {"AWS_ENDPOINT_URL": "http://aws", "SKYLIFT_TIMER": str(job.deadline), "PATH": "/usr/bin"}
        # What user data does before there is any Python, and cloud-init at each later boot.
        self.arm(max(1, int((job.deadline - self.world.now) // 60)))
        self.start_keeper(None)

    def arm(self, minutes: float) -> None:
        self._timer_number += 1
        number, boot = self._timer_number, self.boots

        def ring() -> None:
            if number == self._timer_number and boot == self.boots and self.state == "running":
                self.world.tell(f"{self.id}: the operating system's timer has come")
                self.go_down()

        self.world.later(minutes * 60, ring)

    def go_down(self) -> None:
        """As systemd does it: SIGTERM to everybody, some time for whoever needs it, and off."""
        if self.going_down or not self.up:
            return
        self.going_down, boot, random = True, self.boots, self.world.random
        if self.state == "running" and not self.rebooting:
            self.state = "stopping" if self.stop_asked else "shutting-down"
        self.went_down.append(self.world.now)
        self.world.tell(f"{self.id} goes down")
        for process in list(self.processes.values()):
            self.world.later(random.uniform(0, 0.9), lambda process=process: self._ask(process, boot))
        self.world.later(random.choice([1.0, 3.0, 20.0, 90.0]), lambda: self.off(boot))

    def _ask(self, process: Proc, boot: int) -> None:
        if boot == self.boots and process.status is None:
            self._signal(process, signal.SIGTERM)

    def off(self, boot: int | None = None) -> None:
        """All at once: nobody sees another one end."""
        if not self.up or boot not in (None, self.boots):
            return
        self.up = False
        alive = [process for process in self.processes.values() if process.status is None]
        for process in alive:
            process.status = -9
            self._note_end(process, "power")
            self.world.kill(process)
        for number in list(self.owners):
            self.close(number)
        self.owners = {}
        if self.rebooting and not self.stop_asked and self.state == "running":
            self.rebooting = False
            self.world.tell(f"{self.id} is down, and comes up again")
            self.world.later(3.0, self.boot)
            return
        self.state = "stopped" if self.stop_asked else "terminated"
        self.off_at = self.world.now
        self.world.tell(f"{self.id} is off ({self.state})")
        self.life.cloud.went_off(self)

    # Its processes.

    def spawn(self, name: str, parent: Proc | None, call: Callable[[], Any], *, without: tuple[int, ...] = ()) -> Proc:
        """A fork: descriptors and locks are shared."""
        process = Proc(name, self, parent)
        if parent is not None:
            for number in parent.descriptors:
                if number not in without:
                    process.own_descriptor(number)
            for holders in self._locks.values():
                if parent in holders:
                    holders.append(process)
        self.processes[process.pid] = process
        process.show()

        def work() -> None:
            code = 0
            try:
                call()
            except SystemExit as end:
                code = int(end.code or 0)
            except Exception as error:  # noqa: BLE001 (as the interpreter, for which the excepthook is)
                code = 1
                self.life.crashed(process, error)
                if process.excepthook is not None:
                    process.excepthook(type(error), error, error.__traceback__)
            self.die(process, code)

        self.world.spawn(process, name, work)
        return process

    def start(self, parent: Proc, argv: list[str], how: dict[str, Any]) -> Proc:
        if argv[0] in ("shutdown", "poweroff"):
            if argv[-1].startswith("+"):
                self.world.tell(f"{self.id}: `{' '.join(argv)}`")
                self.arm(float(argv[-1]))
            else:
                self.world.tell(f"{self.id} turns itself off")
                self.go_down()
            process = Proc(argv[0], self, parent)
            self.processes[process.pid] = process
            self.die(process, 0)
            return process
        if argv[0] == "python3" and len(argv) > 1 and argv[1] == "boot.pyz":
            return self.start_keeper(parent)
        return self._start_program(parent, argv, how)

    def _start_program(self, parent: Proc, argv: list[str], how: dict[str, Any]) -> Proc:
        out, err = how["stdout"], how["stderr"]
        executed = Queue(self.world)
        job = self.life.jobs[how["env"]["SKYLIFT_JOB"]]

        def become() -> None:
            how["preexec_fn"]()
            self.world.seam("exec")
            streams = {"stdout": os.dup(out), "stderr": os.dup(err)}
            for number in list(process.descriptors):
                process.disown_descriptor(number)
            for number in streams.values():
                process.own_descriptor(number)
            self._let_go(process)
            executed.wake_all()
            process.tasks[0].name = "program"
            Program(self.life, job, process, streams, Path(how["cwd"])).main()

        process = self.spawn("program", parent, become)
        process.handlers = {}
        if process.status is None:
            executed.wait(5.0)
        return process

    def die(self, process: Proc, code: int, why: str = "own") -> None:
        if process.status is not None:
            return
        process.status = code
        self._note_end(process, why)
        self.world.kill(process)
        for number in list(process.descriptors):
            process.disown_descriptor(number)
        self._let_go(process)
        heir = process.parent if process.parent is not None and process.parent.name == "keeper" else None
        if heir is not None and heir.status is not None:
            heir = None
        for child in [each for each in self.processes.values() if each.parent is process]:
            child.parent = heir
            child.show()
            if heir is None and child.status is not None:
                self._reap(child)
        if process.parent is None or process.parent.status is not None:
            self._reap(process)
        else:
            process.show()
        self.activity.wake_all()

    def _note_end(self, process: Proc, why: str) -> None:
        run = process.run
        if run is not None and run.ended is None:
            run.ended, run.code, run.why, run.down = self.world.now, process.status, why, self.going_down
            told = f", told to end {len(run.told)} times" if run.told else ""
            self.world.tell(f"{self.id}: the program of run {run.number} ends with {process.status} ({why}{told})")

    def _reap(self, process: Proc) -> None:
        self.processes.pop(process.pid, None)
        shutil.rmtree(process.place, ignore_errors=True)

    def _let_go(self, process: Proc) -> None:
        for holders in self._locks.values():
            if process in holders:
                holders.remove(process)

    def lock(self, process: Proc, inode: int, operation: int) -> None:
        holders = self._locks.setdefault(inode, [])
        while [each for each in holders if each is not process]:
            self.activity.wait()
        if process not in holders:
            holders.append(process)

    def close(self, number: int) -> None:
        what = self.descriptors.pop(number, None)
        if isinstance(what, Pipe):
            what.open[what.ends[number]] = False
        elif what is None:
            os.close(number)
        self.activity.wake_all()

    def signal(self, pid: int, number: int) -> None:
        process = self.processes.get(pid)
        if process is None:
            raise ProcessLookupError(pid)
        if process.status is None and number:
            self._signal(process, number)

    def _signal(self, process: Proc, number: int) -> None:
        handler = process.handlers.get(number, signal.SIG_DFL)
        if number in (signal.SIGSTOP, signal.SIGCONT):
            return
        if number == signal.SIGKILL or handler == signal.SIG_DFL:
            self.die(process, -number, "kill" if number == signal.SIGKILL else "term")
        elif callable(handler):
            self.world.spawn(process, "signal handler", lambda: handler(number, None))

    def wait_child(self, parent: Proc, pid: int | None, options: int) -> Any:
        while True:
            children = [each for each in self.processes.values() if each.parent is parent and pid in (None, each.pid)]
            ended = [each for each in children if each.status is not None]
            if ended:
                found = self.world.random.choice(ended)
                assert found.status is not None
                if not options & os.WNOWAIT:
                    self._reap(found)
                return SimpleNamespace(
                    si_pid=found.pid,
                    si_status=abs(found.status),
                    si_code=os.CLD_KILLED if found.status < 0 else os.CLD_EXITED,
                )
            if not children:
                raise ChildProcessError(10, "no child processes")
            if options & os.WNOHANG:
                return None
            self.activity.wait()

    def named(self, name: str) -> list[Proc]:
        return [each for each in self.processes.values() if each.name == name and each.status is None]

    # The keeper.

    def start_keeper(self, parent: Proc | None) -> Proc:
        python = self.life.python
        options = argparse.Namespace(
            root=str(self.root),
            bucket=BUCKET,
            prefix=f"jobs/{self.job.name}",
            source=f"jobs/{self.job.name}",
            region="us-east-1",
            user="nobody",
            sha256=hashlib.sha256(b"the whole").hexdigest(),
            deadline=float(self.job.deadline),
            imds="http://metadata",
            poll=5.0,
            patience=self.life.plan.patience,
            worker=False,
        )
        keeper = self.spawn("keeper", None, lambda: self._keep_on(python, options))
        if parent is not None:
            for number in list(keeper.descriptors):
                keeper.disown_descriptor(number)
            keeper.parent = parent
            keeper.show()
        return keeper

    def _keep_on(self, python: Python, options: argparse.Namespace) -> None:
        """`boot.boot` and `keeper.keep` as they are, but that a fork is the model's: no green thread can do that."""
        python["boot"].boot(options)

    def fork(self, work: Any, terminal: tuple[int, int]) -> tuple[int, int]:
        """In place of `keeper._begin`. The child has what its parent has, and from then on each its own."""
        keeper = self.world.current.process  # type: ignore[union-attr]
        reading, telling = OS.pipe()
        copied = functools.partial(work.func, *map(self._copied, work.args))
        kept = self.life.python["guardian"].Handles(reading, *terminal, keeper.pid)
        child = self.spawn("supervisor", keeper, lambda: copied(kept), without=(telling,))
        child.handlers.pop(signal.SIGTERM, None)
        child.handlers.pop(signal.SIGUSR1, None)
        OS.close(reading)
        return child.pid, telling

    def _copied(self, what: Any) -> Any:
        found = copy.copy(what)
        if isinstance(found, self.life.python["aws"].Aws):
            found._metadata = copy.copy(found._metadata)
            found._metadata._lock = self.life.python["aws"].threading.Lock()
        return found


class Program:
    """The user's: it counts, saves where it is, writes lines and results, and ends as the job's plan says."""

    def __init__(self, life: Life, job: Job, process: Proc, streams: dict[str, int], place: Path) -> None:
        self._life, self._job, self._process, self._streams, self._place = life, job, process, streams, place
        self._world, self._server = life.world, process.server
        self.run = process.run = life.begin_run(job, process)
        process.show()
        self._saving = False

    def main(self) -> None:
        job, world, run = self._job, self._world, self.run
        if job.on_term != "die":
            self._process.handlers[signal.SIGTERM] = self._on_term
        else:
            self._process.handlers[signal.SIGTERM] = self._die_of_term
        run.count_at_start = run.count = self._restore()
        self._write("stdout", f"{run.number}: from {run.count}\n")
        while run.count < job.units:
            world.sleep(job.pace * world.random.uniform(0.5, 1.5))
            run.count += 1
            self._write("stdout", f"{run.number}: {run.count}\n")
            if job.save_every and run.count % job.save_every == 0:
                self._save()
        if job.end_kind == "oom":
            self._server.oom_kills += 1
            self._server.die(self._process, -9, "oom")
            world.seam("gone")
        self._result("result.txt", f"counted to {run.count} in run {run.number}")
        if job.large:
            self._result("large.bin", "x" * (9 << 20))
        self._write("stderr", f"{run.number}: done\n")
        self._server.die(self._process, job.end_code, "own")
        world.seam("gone")

    def _die_of_term(self, number: int, frame: Any) -> None:
        self._heard()
        self._server.die(self._process, -signal.SIGTERM, "term")

    def _heard(self) -> None:
        self._world.tell(f"{self._server.id}: SIGTERM comes to the program of run {self.run.number}")
        self.run.told.append(self._world.now)

    def _on_term(self, number: int, frame: Any) -> None:
        kind, world = self._job.on_term, self._world
        self._heard()
        if kind == "ignore":
            return
        world.sleep(world.random.uniform(0.1, 4.0))
        if kind == "save":
            self._save()
            self._server.die(self._process, 75, "term")
        elif kind == "finish":
            self._result("result.txt", f"finished early in run {self.run.number}")
            self._server.die(self._process, 0, "own")

    # What it leaves.

    def _write(self, name: str, text: str) -> None:
        os.write(self._streams[name], text.encode())
        self.run.written[name] += text.encode()
        self._server.activity.wake_all()

    def _put(self, path: Path, data: bytes) -> None:
        part = path.with_name(path.name + ".part")
        part.write_bytes(data)
        os.utime(part, ns=(int(self._world.now * 1e9),) * 2)
        part.replace(path)

    def _result(self, name: str, text: str) -> None:
        self._put(self._place / name, text.encode())
        self.run.outputs[name] = text.encode()

    def _save(self) -> None:
        if self._saving:
            return
        data = json.dumps({"count": self.run.count, "run": self.run.number, "at": self._world.now}).encode()
        self._job.saved.append(data)
        self._put(self._place / "state.json", data)

    def _restore(self) -> int:
        with contextlib.suppress(FileNotFoundError):
            data = (self._place / "state.json").read_bytes()
            self._life.restored(self._job, self.run, data)
            return int(json.loads(data)["count"])
        self._life.restored(self._job, self.run, None)
        return 0

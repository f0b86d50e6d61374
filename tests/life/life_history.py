"""One history of a job: what the seed has planned, what happens, and what must hold whatever happens.

    python tests/life/life_history.py --seed 1234              # that history, step by step
    python tests/life/life_history.py --from 1 --histories 5000
    python tests/life/life_history.py --source OTHER/skylift/agent --histories 2000

Ends with exit code 1 when a promise did not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from life_clock import EPOCH, Endless, Task, World
from life_cloud import Cloud, Fleet
from life_ending import Ending
from life_plan import BEAT, SILENCE, Blow, Job, Plan, make_plan
from life_python import SOURCE, Python
from life_server import Proc, Run, Server
from life_stage import Stage, me


class Wrong(Exception):
    """A promise that did not hold."""


class Life:
    """`wrong` are promises that did not hold, each said once."""

    def __init__(self, seed: int, python: Python, folder: Path, planned: tuple[Plan, Job] | None = None) -> None:
        self.seed, self.python, self.folder = seed, python, folder
        self.world = World(seed)
        Stage.world = self.world
        self.world.task_failed = self._task_failed
        self.world.at_seam = self._at_seam
        self.world.half_a_write = self._half_a_write  # type: ignore[attr-defined]
        self.plan, self.job = planned or make_plan(seed)
        self.jobs = {self.job.name: self.job}
        self.cloud = Cloud(self)
        self.wrong: list[str] = []
        self.steps = 0
        self._by_step = {each.step: each for each in self.plan.blows if each.step}
        self._prepare_python()

    def _prepare_python(self) -> None:
        python = self.python
        python["aws"].Http.send = staticmethod(self.cloud.send)
        python["aws"].sign = lambda method, url, headers, *rest: dict(headers)
        python["guardian"]._begin = self._fork
        python["boot"].load = lambda archive: python["supervisor"]
        python["session"].ControlSocket = _ControlSocket
        python["running"].Memory = lambda before=None: _Memory(self, before)

    @staticmethod
    def _fork(work: Any, terminal: tuple[int, int]) -> tuple[int, int]:
        found: tuple[int, int] = me().server.fork(work, terminal)
        return found

    # What happens.

    def run(self) -> list[str]:
        job, plan, world = self.job, self.plan, self.world
        world.tell(f"seed {self.seed}: {job.told()}")
        for each in plan.blows:
            world.tell(f"planned: {each}")
        for start, end in plan.outages:
            world.tell(f"planned: S3 and EC2 do not answer from {start:.0f} to {end:.0f} s")
        if plan.trouble:
            world.tell(f"planned: trouble with {plan.trouble:.0%} of all requests")
        self._submit(job)
        for each in plan.blows:
            if not each.step and not each.when:
                world.later(each.at, functools.partial(self._strike, each, None))
        for _, end in plan.outages:
            world.later(end + 100.0, self._start_again)
        try:
            world.run(job.deadline + 600)
            world.run(max(each.deadline for each in self.jobs.values()) + 600)
            world.run(max(each.started_again for each in self.cloud.servers.values()) + 1200)
        except Endless as error:
            self.say_wrong(str(error))
        Ending(self).look()
        world.end()
        for server in self.cloud.servers.values():
            server.off()
        world.run(world.now + 1)
        return self.wrong

    def _submit(self, job: Job) -> None:
        self._write(job)
        if job.spot:
            fleet = self.cloud.fleets["fleet-1"] = Fleet("fleet-1", job)
            self.world.later(job.deadline - EPOCH, lambda: self.cloud.expire(fleet))
        self.cloud.launch(job, "spot" if job.spot else "on-demand", 1.0)

    def _write(self, job: Job) -> None:
        bundle, base = _bundle(), f"jobs/{job.name}/"
        digest = hashlib.sha256(bundle).hexdigest()
        record = {
            "version": 1,
            "job": job.name,
            "created": EPOCH,
            "deadline": job.deadline,
            "argv": ["program"],
            "python": False,
            "cwd": ".",
            "packs": [{"sha256": digest, "files": 1, "size": 1}],
            "environment": {"kind": "none", "path": ""},
            "outputs": ["result.txt", "large.bin"],
            "has_env": job.has_env,
            "max_time": int(job.max_time),
            "sync_every": int(job.sync_every),
            "keep": int(job.keep),
            "instance_type": "t3.small",
        }
        if job.spot:
            record["spot"] = {"checkpoint": "state.json" if job.save_every else "", "beat": BEAT}
        objects = self.cloud.objects
        objects[base + "record.json"] = json.dumps(record).encode()
        objects[base + "in/supervisor.pyz"] = b"the whole"
        objects[f"inputs/sha256/{digest}"] = bundle
        if job.has_env:
            objects[base + "in/env.json"] = b'{"A": "B"}'

    def _start_again(self) -> None:
        """What somebody does who finds a stopped server with results on its disk."""
        for server in self.cloud.servers.values():
            if server.state == "stopped":
                self.world.tell(f"somebody starts {server.id} again")
                server.started_again = self.world.now
                server.boot()

    def _want_server(self) -> None:
        """As a client does that finds a kept server: first its word, which decides, then the job."""
        key, world, plan = f"jobs/{self.job.name}/server/next.json", self.world, self.plan
        if key in self.cloud.objects:
            return world.tell("a client comes too late for the server")
        world.tell("a client wants the server for another job")
        self.cloud.change(key, b'{"job": "k"}')
        if plan.record_after is not None:
            world.later(plan.record_after, self._submit_next)
        return None

    def _submit_next(self) -> None:
        self.world.tell("the other job's record is there")
        deadline = int(self.world.now) + 900
        job = dataclasses.replace(
            self.job, name="k", deadline=deadline, keep=0, start=self.world.now, runs=[], saved=[], final_at=None
        )
        job.cancelled_at = None
        self.jobs[job.name] = job
        self._write(job)

    def _at_seam(self, task: Task, what: str) -> None:
        process = task.process
        if process.name not in ("supervisor", "keeper"):
            return
        self.steps += 1
        blow = self._by_step.pop(self.steps, None)
        if blow is not None:
            self._strike(blow, process, f" ({process.name}, {task.name}: {what})")

    def _strike_when(self, what: str) -> None:
        for each in [each for each in self.plan.blows if each.when == what]:
            self.world.later(0.0, functools.partial(self._strike, each, None))

    def _half_a_write(self, process: Any) -> bool:
        return process.name == "supervisor" and self.steps + 1 in self._by_step and self.world.random.random() < 0.3

    def _strike(self, blow: Blow, process: Any, where: str = "") -> None:
        world, kind = self.world, blow.kind
        if kind == "a server too many":
            world.tell(f"*** {kind}")
            self.cloud.launch(self.job, "spot", world.random.uniform(0.5, 1.5))
            return
        on = [each for each in self.cloud.servers.values() if each.state == "running" and each.up]
        if process is not None:
            on = [process.server]
        if not on:
            if not process and world.now - EPOCH < 900 and kind != "cancel" and not self.job.final_at:
                world.later(20, lambda: self._strike(blow, None))
            return
        server = world.random.choice(on) if len(on) > 1 else on[0]
        world.tell(f"*** {kind}: {server.id}{where}")
        if kind.startswith("kill"):
            names = {
                "kill supervisor": ["supervisor"],
                "kill keeper": ["keeper"],
                "kill both": ["keeper", "supervisor"],
            }
            lost = [each for name in names[kind] for each in server.named(name)]
            server.struck.append(kind)
            for each in lost:
                server.die(each, -9, "kill")
            if not server.named("keeper") and not server.named("supervisor"):
                server.struck.append("nobody is left")
        elif kind == "power loss":
            server.struck.append(kind)
            server.stop_asked = False
            server.off()
        elif kind == "power cycle":
            server.struck.append("reboot")
            server.stop_asked, server.rebooting = False, True
            server.off()
        elif kind == "reboot":
            server.struck.append(kind)
            server.rebooting = True
            server.go_down()
        elif kind in ("notice", "notice taken back"):
            self._give_notice(server, blow)
        elif kind == "advice":
            server.advice = True
        elif kind == "cut off":
            server.struck.append(kind)
            server.cut_off_until = world.now + blow.for_
            if world.random.random() < 0.7:
                self.cloud.launch(self.job, "spot", world.random.uniform(1.0, 60.0))
        else:
            assert kind == "cancel"
            if self.job.cancelled_at is None:
                self.job.cancelled_at = world.now
            self.cloud.change(f"jobs/{self.job.name}/in/cancel", b"")

    def _give_notice(self, server: Server, blow: Blow) -> None:
        if server.notice is not None or server.market != "spot":
            return
        world = self.world
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(world.now + 120))
        server.notice = {"action": "terminate", "time": when}
        server.noticed.append(world.now)
        taken_back = blow.kind == "notice taken back"

        def take_away() -> None:
            if server.notice is not None and server.state == "running":
                world.tell(f"EC2 takes {server.id} away")
                server.struck.append("taken away")
                self.cloud.end(server)

        def take_back() -> None:
            if server.state == "running":
                world.tell(f"*** the notice of {server.id} is taken back")
            server.notice = None
            server.taken_back.append(world.now)

        world.later(blow.for_ if taken_back else 120.0, take_back if taken_back else take_away)

    # What must hold at each moment.

    def say_wrong(self, text: str) -> None:
        if text not in self.wrong:
            self.wrong.append(text)
            self.world.tell(f"!!! WRONG: {text}")

    def begin_run(self, job: Job, process: Proc) -> Run:
        run = Run(job, process.server, len(job.runs) + 1, self.world)
        job.runs.append(run)
        self.world.tell(f"{process.server.id}: the program begins, run {run.number}")
        for other in job.runs[:-1]:
            if other.ended is None:
                self.say_wrong(f"two at once: run {other.number} on {other.server.id} and run {run.number}")
            if not job.spot:
                self.say_wrong("a job that is not to be run again is")
            if other.server is run.server:
                self.say_wrong(f"run {run.number} is on the same server as run {other.number}")
            if other.why in ("own", "oom") and not self._excuse(other):
                self.say_wrong(f"run {other.number} ended by itself ({other.code}), and run {run.number} begins")
        if self.final(job) is not None:
            self.say_wrong(f"run {run.number} begins though the record has the job's end")
        calm = self._outages_until(self.world.now) == 0 and not self.plan.trouble
        if job is self.job and calm and not process.server.struck:
            self._look_at_claim(run)
        return run

    def _look_at_claim(self, run: Run) -> None:
        """Those before were off for long, or told the end of their part."""
        began = run.server.on_since or 0.0
        before = [each for each in self.cloud.servers.values() if each is not run.server]
        if all(each.off_at is not None and each.off_at < began for each in before):
            took = self.world.now - began
            if took > 1.6 * SILENCE + 20:
                self.say_wrong(f"{run.server.id} began {took:.0f} s after its boot, though all before it were off")

    def _excuse(self, run: Run) -> bool:
        """Why a program's own end may not be in the record: its server was lost before it could tell of it."""
        server = run.server
        assert run.ended is not None
        if {"power loss", "reboot", "nobody is left", "ended by another", "taken away"} & set(
            server.struck
        ) or run.down:
            return True
        if self.plan.long_outage:
            return True
        # An exit code other than 0 while the notice stands is no end; it is seen to be taken back within two looks.
        noticed = [each for each in server.noticed if each <= run.ended + 5.0]
        if noticed and run.code != 0:
            back = [each for each in server.taken_back if each < run.ended - 12.0]
            return len(back) < len(noticed)
        return False

    def final(self, job: Job) -> dict[str, Any] | None:
        status: dict[str, Any] | None = self.cloud.get(f"jobs/{job.name}/server/status.json")
        if status is not None and status.get("final"):
            return status
        return None

    def restored(self, job: Job, run: Run, data: bytes | None) -> None:
        if not job.save_every:
            return
        number, attempt = self._latest_attempt(job)
        named = attempt.get("checkpoint")
        if data is not None and data not in job.saved:
            self.say_wrong(f"run {run.number} begins with a checkpoint that nobody wrote: {data!r}")
        if named and (data is None or hashlib.sha256(data).hexdigest() != named["sha256"]):
            self.say_wrong(f"attempt {number} names a checkpoint, and run {run.number} begins with {data!r}")

    def _latest_attempt(self, job: Job) -> tuple[int, dict[str, Any]]:
        """The last that has begun: its holder goes on, or the next takes over what it names."""
        number = 0
        found: dict[str, Any] = {}
        while (fields := self.cloud.get(f"jobs/{job.name}/server/attempts/{number + 1}.json")) is not None:
            if "bases" in fields:
                found = fields
            number += 1
        return number, found

    def object_changed(self, key: str, before: bytes | None, body: bytes | None, server: Server | None) -> None:
        if key.endswith("/in/env.json") and before is not None and body is None:
            self._strike_when("forgotten")
        match = re.fullmatch(r"jobs/([^/]+)/server/(attempts|checkpoint|status\.json)(?:/(.+))?", key)
        if match is None:
            return
        job, kind = self.jobs[match[1]], match[2]
        if kind == "status.json":
            if body is not None:
                self._status_changed(job, json.loads(body), json.loads(before) if before else {})
            return
        if kind == "checkpoint":
            self.world.tell(f"  S3: {key.rsplit('/', 1)[1]} is {'removed' if body is None else 'written'}")
        if kind == "attempts" and body is not None:
            self._attempt_changed(match[3], json.loads(body), json.loads(before) if before else {})
        number, attempt = self._latest_attempt(job)
        named = attempt.get("checkpoint")
        if named:
            there = self.cloud.objects.get(f"jobs/{job.name}/{named['key']}")
            if there is None:
                self.say_wrong(f"attempt {number} names {named['key']}, which is not there")
            elif hashlib.sha256(there).hexdigest() != named["sha256"]:
                self.say_wrong(f"attempt {number} names {named['key']}, which is another one by now")

    def _attempt_changed(self, name: str, now: dict[str, Any], before: dict[str, Any]) -> None:
        if not before:
            self.world.tell(f"  S3: attempt {name} is {now['instance']}'s")
        if now.get("checkpoint") and now["checkpoint"] != before.get("checkpoint"):
            self.world.tell(f"  S3: attempt {name} names {now['checkpoint']['key']}")
        if now.get("over") and not before.get("over"):
            over = now["over"]
            told = over["final"]["state"] if "final" in over else "interrupted"
            self.world.tell(f"  S3: attempt {name} is over: {told}")
            if "final" in over:
                self._strike_when("over")
        if before.get("over") and "final" in before["over"]:
            ends = [(each.get("over") or {}).get("final", {}) for each in (before, now)]
            if any(ends[0].get(key) != ends[1].get(key) for key in ("state", "exit_code")):
                self.say_wrong(f"attempt {name} was over with an end, and says something else now")

    def _status_changed(self, job: Job, now: dict[str, Any], before: dict[str, Any]) -> None:
        if now["state"] != before.get("state"):
            self.world.tell(f"  S3: status {now['state']}" + (f", final, {now['exit_code']}" if now["final"] else ""))
        if before.get("final"):
            for name in ("state", "exit_code", "final"):
                if now.get(name) != before.get(name):
                    self.say_wrong(f"the final status changes: {name} was {before.get(name)}, is {now.get(name)}")
        elif now["final"]:
            job.final_at = self.world.now
            self._strike_when("final")
            if self.plan.next_after is not None and job is self.job:
                self.world.later(self.plan.next_after, self._want_server)

    def _task_failed(self, task: Task, error: BaseException) -> None:
        self._tell_trace(error)
        self.say_wrong(f"a thread dies ({task.process.name}, {task.name}): {error!r}")

    def crashed(self, process: Proc, error: Exception) -> None:
        if process.name == "program":
            raise error
        self._tell_trace(error)
        if not self.plan.long_outage:
            self.say_wrong(f"the {process.name} crashes: {error!r}")

    def _tell_trace(self, error: BaseException) -> None:
        for line in traceback.format_exception(error):
            for each in line.rstrip().splitlines():
                self.world.tell(f"    {each}")

    # What must hold at the end.

    def _outages_until(self, now: float) -> float:
        return sum(min(end, now - EPOCH) - start for start, end in self.plan.outages if start < now - EPOCH)


class _ControlSocket:
    """The socket, through which nobody comes in this model."""

    def __init__(self, *_: Any) -> None:
        pass

    def close(self) -> None:
        pass


class _Memory:
    def __init__(self, life: Life, before: int | None) -> None:
        task = life.world.current
        assert task is not None
        self._server = task.process.server  # type: ignore[attr-defined]
        self.before = self._server.oom_kills if before is None else before

    def kills(self) -> int:
        return int(max(0, self._server.oom_kills - self.before))

    def limit(self) -> int:
        return 1 << 30


@functools.cache
def _bundle() -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as tar:
        entry = tarfile.TarInfo("job.py")
        entry.size, entry.mode = 1, 0o644
        tar.addfile(entry, io.BytesIO(b"#"))
    return whole.getvalue()


@contextlib.contextmanager
def a_folder() -> Iterator[Path]:
    """In memory where there is such a place: a history writes some hundred files."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="skylift-life-", dir=shared if os.access(shared, os.W_OK) else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def live(seed: int, python: Python, planned: tuple[Plan, Job] | None = None) -> Life:
    """One history, whole. `wrong` of what comes is empty when all promises held."""
    with a_folder() as folder:
        life = Life(seed, python, folder, planned)
        life.run()
        return life


def tell(life: Life) -> str:
    return "\n".join(f"{at:9.3f}  {text}" for at, text in life.world.story)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, help="this history alone, step by step")
    parser.add_argument("--from", dest="first", type=int, default=1)
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--source", type=Path, default=SOURCE, help="another supervisor's folder")
    parser.add_argument("--most", type=int, default=10, help="histories that go wrong, after which it stops")
    options = parser.parse_args()
    python = Python(options.source)
    if options.seed is not None:
        life = live(options.seed, python)
        print(tell(life))
        return 1 if life.wrong else 0
    began, bad, kinds = time.monotonic(), 0, Counter[str]()
    for seed in range(options.first, options.first + options.histories):
        life = live(seed, python)
        if life.wrong:
            bad += 1
            kinds[re.sub(r"[0-9]+|'.*|b'.*", "#", life.wrong[0])] += 1
            print(f"seed {seed}: " + "; ".join(life.wrong), flush=True)
        if bad >= options.most:
            break
    took = time.monotonic() - began
    done = seed - options.first + 1
    print(f"{done} histories in {took:.1f} s ({took / done * 1000:.0f} ms each), {bad} wrong")
    for kind, number in kinds.most_common():
        print(f"  {number} x {kind}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

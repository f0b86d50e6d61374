"""One history of a job: what the seed has planned, what happens, and what must hold whatever happens.

    python tests/life/life_history.py --seed 1234              # that history, step by step
    python tests/life/life_history.py --from 1 --histories 5000
    python tests/life/life_history.py --source OTHER/skylift/runner/server --histories 2000

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
import random
import re
import shutil
import sys
import tarfile
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from life_clock import EPOCH, Endless, Task, World
from life_cloud import Cloud, Fleet
from life_python import SOURCE, Python, Stage, me
from life_server import Proc, Run, Server

LENGTH = 1800
"""Seconds from a job's beginning to its deadline."""
MARGIN = 60 + 90 + 30
"""Seconds after the deadline in which a server may still be on: the timer counts minutes, and a system takes its time
to go down."""
BEAT = 15.0
SILENCE = 45.0


@dataclass
class Blow:
    """What strikes: at a time, at the n-th step of any supervisor or keeper, or as soon as S3 has what `when` says:
    "final" (the job's last status), "over" (that of its attempt), or "forgotten" (no values of --env any more)."""

    kind: str
    at: float = 0.0
    step: int = 0
    for_: float = 0.0
    when: str = ""

    def __str__(self) -> str:
        when = f"at step {self.step}" if self.step else f"at {self.at:.1f} s"
        when = f"once S3 has {self.when}" if self.when else when
        return f"{self.kind} {when}" + (f" for {self.for_:.1f} s" if self.for_ else "")


@dataclass
class Plan:
    trouble: float
    outages: list[tuple[float, float]]
    patience: float
    blows: list[Blow]
    calm_after: float
    next_after: float | None = None
    """Seconds after a job's end at which a client wants its server, which was kept, for another job."""
    record_after: float | None = 1.0
    """Seconds after that at which the client has written that job's record; None of one that died before."""
    lost: tuple[str, float] = ("", 0.0)
    """The end of a path to which no request comes, and until when."""

    @property
    def long_outage(self) -> bool:
        return any(end - start > self.patience / 2 for start, end in self.outages)

    def has(self, *kinds: str) -> bool:
        return any(each.kind in kinds for each in self.blows)


@dataclass
class Job:
    name: str
    spot: bool
    deadline: int
    max_time: float
    units: int
    pace: float
    save_every: int
    end_kind: str
    end_code: int
    on_term: str
    keep: int
    large: bool
    has_env: bool
    sync_every: int = 0
    start: float = EPOCH
    cancelled_at: float | None = None
    runs: list[Run] = field(default_factory=list)
    saved: list[bytes] = field(default_factory=list)
    final_at: float | None = None

    def told(self) -> str:
        kind = "spot job" if self.spot else "job"
        end = "runs out of memory" if self.end_kind == "oom" else f"exits with {self.end_code}"
        return (
            f"a {kind} that counts to {self.units} in about {self.units * self.pace:.0f} s and {end}; "
            f"on SIGTERM: {self.on_term}; saves every {self.save_every or '-'}; max time {self.max_time:.0f} s"
        )


def make_plan(seed: int) -> tuple[Plan, Job]:
    dice = random.Random(f"plan {seed}")
    spot = dice.random() < 0.65
    length = dice.choice([5, 20, 60, 60, 200])
    units = dice.choice([3, 8, 12])
    job = Job(
        name="j",
        spot=spot,
        deadline=int(EPOCH) + LENGTH,
        max_time=dice.choice([3600.0, 3600.0, 3600.0, length / 2 + 1]),
        units=units,
        pace=length / units,
        save_every=dice.choice([0, 1, 2, 3]) if spot else 0,
        end_kind=dice.choice(["exit"] * 5 + ["oom"]),
        end_code=dice.choice([0, 0, 3, 1, 75]),
        on_term=dice.choice(["die", "save", "ignore", "finish"]),
        keep=dice.choice([0, 0, 0, 120]) if not spot else 0,
        large=dice.random() < 0.12,
        has_env=dice.random() < 0.2,
        sync_every=dice.choice([0, 0, 0, 5]),
    )
    plan = Plan(
        trouble=dice.choice([0.0, 0.0, 0.03, 0.15]),
        outages=[],
        patience=300.0,
        blows=[],
        calm_after=900.0,
    )
    if job.keep:
        plan.next_after = dice.choice([None, dice.uniform(0, 5), dice.uniform(0, 130), 119.9])
        plan.record_after = dice.choice([0.01, 1.0, 20.0, None])
    if dice.random() < 0.1:
        start = dice.uniform(0, 200)
        plan.outages.append((start, start + dice.choice([20, 100, 500, 4000])))
    kinds = ["kill supervisor"] * 6 + ["kill keeper"] * 2 + ["power loss"] * 2
    kinds += ["reboot", "power cycle", "cancel", "kill both"]
    if spot:
        kinds += ["notice"] * 4 + ["notice taken back"] * 4 + ["power loss"] * 3 + ["advice"]
        kinds += ["a server too many"] * 2 + ["cut off"] * 2
    for _ in range(dice.choice([0, 1, 1, 2, 2, 3, 4, 6])):
        blow = Blow(dice.choice(kinds))
        if blow.kind.startswith("kill") and dice.random() < 0.8:
            blow.step = int(10 ** dice.uniform(0.5, 3.3))
        else:
            blow.at = dice.uniform(0, 1.3 * length + 20) * dice.choice([1, 1, 2])
        if blow.kind == "notice taken back":
            blow.for_ = dice.uniform(3, 60)
        if blow.kind == "cut off":
            blow.for_ = dice.uniform(5, 300)
        if blow.kind == "a server too many" and dice.random() < 0.3:
            blow.at = 0.0
        plan.blows.append(blow)
    return plan, job


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
        self._look_at_the_end()
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
            "max_time": job.max_time,
            "sync_every": job.sync_every,
            "keep": job.keep,
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
        if self._final(job) is not None:
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

    def _final(self, job: Job) -> dict[str, Any] | None:
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
        if key.endswith("/in/env.json") and body is None:
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

    def _look_at_caps(self, job: Job) -> None:
        """What a program may run, with ten seconds between SIGTERM and SIGKILL; who takes over within them gives them
        once more, as soon as it is up. With nobody left there, the timer alone ends it; of a server that was lost the
        next one knows what it had told, which may be all or nothing of its time."""
        ran = 0.0
        for run in job.runs:
            ended = run.ended if run.ended is not None else self.world.now
            lasted = ended - run.started
            watched = "nobody is left" not in run.server.struck and not run.down
            if watched and ran + lasted > job.max_time + 10 + 1 + 10:
                self.say_wrong(
                    f"run {run.number} lasts for {lasted:.0f} s after {ran:.0f} s, with a cap of {job.max_time}"
                )
            if not run.server.struck or run.server.struck == ["taken away"]:
                ran += lasted
            if ended > job.deadline + MARGIN:
                self.say_wrong(f"run {run.number} goes on after the deadline")

    def _look_at_the_end(self) -> None:
        self._look_at_cost()
        for job in self.jobs.values():
            self._look_at_caps(job)
            final = self._final(job)
            if final is None:
                if not self._may_be_unfinished(job):
                    self.say_wrong("nothing struck late, and the record has no end")
                continue
            if f"jobs/{job.name}/in/env.json" in self.cloud.objects:
                self.say_wrong("the values of --env are still there")
            self._look_at_outcome(job, final)
            self._look_at_streams(job, final)
            self._look_at_results(job, final)

    def _look_at_cost(self) -> None:
        limit = max(job.deadline for job in self.jobs.values()) + MARGIN
        for server in self.cloud.servers.values():
            allowed = max(limit, server.started_again + self.plan.patience + 2 * 120 + MARGIN)
            if server.is_on or (server.off_at or 0.0) > allowed:
                self.say_wrong(f"{server.id} is on after the deadline")
            if server.state == "stopped" and not self.plan.long_outage:
                self.say_wrong(f"{server.id} keeps its disk, though S3 was there")
        for fleet in self.cloud.fleets.values():
            if fleet.active:
                self.say_wrong("the fleet is there after the deadline")
            after = fleet.job.final_at
            late = [each for each in self.cloud.servers.values() if after and each.launched_at > after + 1.0]
            if late and not self.plan.blows and not self.plan.outages and not self.plan.trouble:
                self.say_wrong(f"{late[0].id} is brought after the job's end")

    def _may_be_unfinished(self, job: Job) -> bool:
        servers = list(self.cloud.servers.values())
        struck = {each for server in servers for each in server.struck}
        if "nobody is left" in struck:
            return True
        if self.plan.long_outage:
            # What was stopped with its disk and is started again delivers what it has.
            return bool(struck) or not any(server.started_again for server in servers) or bool(self.plan.trouble)
        if job.spot:
            # As long as servers come and go the program may not come to its end.
            last = max((server.off_at or 0.0 for server in servers), default=0.0)
            return last > job.deadline - 10 and len(servers) > 1
        if job is not self.job and (self.plan.trouble or struck or self.plan.outages or job.start > EPOCH + 1500):
            # Its client comes while the server may be going, or before it could be heard of.
            return True
        return "power loss" in struck

    def _look_at_outcome(self, job: Job, final: dict[str, Any]) -> None:
        state, code = final["state"], final.get("exit_code")
        run = job.runs[-1] if job.runs else None
        true = _true_code(run.code) if run is not None and run.code is not None else None
        why = run.why if run is not None else "never begun"
        told = f"the record says {state} ({code}), and the last run ended with {run.code if run else None} ({why})"
        if run is not None and run.ended is None:
            return self.say_wrong(f"the record says {state}, and the program runs")
        good = False
        if state == "succeeded":
            good = run is not None and why == "own" and true == 0 == code
        elif state == "failed":
            good = run is not None and code == true
            good = good and (
                why == "own" or (why == "term" and bool(run.server.taken_back or (run.down and code != 143)))
            )
        elif state == "out-of-memory":
            good = why == "oom" and code == 121
        elif state == "timed-out":
            good = run is not None and bool(run.told or why == "kill") and code == 124 and self._was_capped(job, run)
        elif state == "cancelled":
            good = job.cancelled_at is not None and code == (143 if run is None or _is_of_another(run, final) else true)
        elif state == "rebooted":
            rebooted = run is not None and "reboot" in run.server.struck
            good = (
                rebooted
                and code == 122
                and (why == "power" or run.down or _went_down_soon(run) or _nobody_was_there(run.server))
            )
        elif state == "broken":
            good = code == 125 and self._may_be_broken(run, final)
        if not good:
            return self.say_wrong(told)
        return None

    def _was_capped(self, job: Job, run: Run) -> bool:
        assert run.ended is not None
        ran = sum((each.ended or 0.0) - each.started for each in job.runs)
        return ran >= job.max_time - 1 or run.ended >= job.deadline - 120 - 10 - 15

    def _may_be_broken(self, run: Run | None, final: dict[str, Any]) -> bool:
        unknown = "how the program ended is not known" in final["reason"]
        if run is not None and unknown:
            return _nobody_was_there(run.server)
        return self.plan.long_outage

    def _look_at_streams(self, job: Job, final: dict[str, Any]) -> None:
        if final["state"] == "broken" or not job.runs or "nobody is left" in job.runs[-1].server.struck:
            return None
        for name in ("stdout", "stderr"):
            base, whole = f"jobs/{job.name}/server/{name}/", b""
            for key in sorted(each for each in self.cloud.objects if each.startswith(base)):
                if self.cloud.objects[key] or int(key[len(base) :]) != len(whole):
                    if int(key[len(base) :]) != len(whole):
                        return self.say_wrong(f"{name} has a hole or an overlap at {key[len(base) :]}")
                    whole += self.cloud.objects[key]
            if len(whole) != final["streams"][name]:
                return self.say_wrong(f"{name} is {len(whole)} bytes, and the record says {final['streams'][name]}")
            rest = whole
            for run in job.runs:
                written, last = run.written[name], run is job.runs[-1]
                same = next(
                    (at for at, pair in enumerate(zip(rest, written, strict=False)) if pair[0] != pair[1]), None
                )
                same = min(len(rest), len(written)) if same is None else same
                if last and rest != written and run.why != "power" and not run.down:
                    return self.say_wrong(f"{name} of run {run.number} did not come whole: {rest!r}, not {written!r}")
                rest = rest[same:]
            if rest and job.runs[-1].why != "power":
                return self.say_wrong(f"{name} has what nobody wrote: {rest!r}")
        return None

    def _look_at_results(self, job: Job, final: dict[str, Any]) -> None:
        manifest = self.cloud.get(f"jobs/{job.name}/server/manifest.json")
        if final["state"] == "broken" or not job.runs:
            return None
        if manifest is None or not manifest["final"]:
            return self.say_wrong("the job has ended, and its manifest is not there or not final")
        named = {each["path"]: each for each in manifest["results"]}
        for path, each in named.items():
            key, at = each.get("at", [f"results/{path}", 0])
            there = self.cloud.objects.get(f"jobs/{job.name}/server/{key}")
            there = there if there is None else there[at : at + each["size"]]
            if there is None or hashlib.sha256(there).hexdigest() != each["sha256"] or len(there) != each["size"]:
                return self.say_wrong(f"the result {path} is not there as the manifest has it")
        for path, data in job.runs[-1].outputs.items():
            if path not in named or named[path]["sha256"] != hashlib.sha256(data).hexdigest():
                return self.say_wrong(f"{path}, which the program left, is not among the results")
        return None


def _is_of_another(run: Run, final: dict[str, Any]) -> bool:
    """Whether the attempt that has ended the job never came to a run of its own."""
    return bool(final["instance"] != run.server.id)


def _went_down_soon(run: Run | None) -> bool:
    """An end in the second before a shutdown may be the shutdown's: whom it told first nobody knows."""
    assert run is not None and run.ended is not None
    return any(-1.5 < at - run.ended < 1.5 for at in run.server.went_down)


def _nobody_was_there(server: Server) -> bool:
    """Whether keeper and supervisor were both killed, at one time or one after the other: how the program ends is known
    to nobody."""
    return "nobody is left" in server.struck or {"kill keeper", "kill supervisor"} <= set(server.struck)


def _true_code(code: int) -> int:
    return 128 - code if code < 0 else code


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

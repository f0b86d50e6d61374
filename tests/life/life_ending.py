"""What must hold at the end of a history, whatever has happened."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from life_clock import EPOCH
from life_plan import MARGIN, Job
from life_server import Run, Server

if TYPE_CHECKING:
    from life_history import Life


class Ending:
    """Each look says what is wrong to the life that has ended."""

    def __init__(self, life: Life) -> None:
        self._life, self._plan, self._cloud, self._wrong = life, life.plan, life.cloud, life.say_wrong

    def _look_at_caps(self, job: Job) -> None:
        """What a program may run, with ten seconds between SIGTERM and SIGKILL; who takes over within them gives them
        once more, as soon as it is up. With nobody left there, the timer alone ends it; of a server that was lost the
        next one knows what it had told, which may be all or nothing of its time."""
        ran = 0.0
        for run in job.runs:
            ended = run.ended if run.ended is not None else self._life.world.now
            lasted = ended - run.started
            watched = "nobody is left" not in run.server.struck and not run.down
            if watched and ran + lasted > job.max_time + 10 + 1 + 10:
                self._wrong(
                    f"run {run.number} lasts for {lasted:.0f} s after {ran:.0f} s, with a cap of {job.max_time}"
                )
            if not run.server.struck or run.server.struck == ["taken away"]:
                ran += lasted
            if ended > job.deadline + MARGIN:
                self._wrong(f"run {run.number} goes on after the deadline")

    def look(self) -> None:
        self._look_at_cost()
        for job in self._life.jobs.values():
            self._look_at_caps(job)
            final = self._life.final(job)
            if final is None:
                if not self._may_be_unfinished(job):
                    self._wrong("nothing struck late, and the record has no end")
                continue
            if f"jobs/{job.name}/in/env.json" in self._cloud.objects:
                self._wrong("the values of --env are still there")
            self._look_at_outcome(job, final)
            self._look_at_streams(job, final)
            self._look_at_results(job, final)

    def _look_at_cost(self) -> None:
        limit = max(job.deadline for job in self._life.jobs.values()) + MARGIN
        for server in self._cloud.servers.values():
            allowed = max(limit, server.started_again + self._plan.patience + 2 * 120 + MARGIN)
            if server.is_on or (server.off_at or 0.0) > allowed:
                self._wrong(f"{server.id} is on after the deadline")
            if server.state == "stopped" and not self._plan.long_outage:
                self._wrong(f"{server.id} keeps its disk, though S3 was there")
        for fleet in self._cloud.fleets.values():
            if fleet.active:
                self._wrong("the fleet is there after the deadline")
            after = fleet.job.final_at
            late = [each for each in self._cloud.servers.values() if after and each.launched_at > after + 1.0]
            if late and not self._plan.blows and not self._plan.outages and not self._plan.trouble:
                self._wrong(f"{late[0].id} is brought after the job's end")

    def _may_be_unfinished(self, job: Job) -> bool:
        servers = list(self._cloud.servers.values())
        struck = {each for server in servers for each in server.struck}
        if "nobody is left" in struck:
            return True
        if self._plan.long_outage:
            # What was stopped with its disk and is started again delivers what it has.
            return bool(struck) or not any(server.started_again for server in servers) or bool(self._plan.trouble)
        if job.spot:
            # As long as servers come and go the program may not come to its end.
            last = max((server.off_at or 0.0 for server in servers), default=0.0)
            return last > job.deadline - 10 and len(servers) > 1
        if job is not self._life.job and (
            self._plan.trouble or struck or self._plan.outages or job.start > EPOCH + 1500
        ):
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
            return self._wrong(f"the record says {state}, and the program runs")
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
            return self._wrong(told)
        return None

    def _was_capped(self, job: Job, run: Run) -> bool:
        assert run.ended is not None
        ran = sum((each.ended or 0.0) - each.started for each in job.runs)
        return ran >= job.max_time - 1 or run.ended >= job.deadline - 120 - 10 - 15

    def _may_be_broken(self, run: Run | None, final: dict[str, Any]) -> bool:
        unknown = "how the program ended is not known" in final["reason"]
        if run is not None and unknown:
            return _nobody_was_there(run.server)
        return self._plan.long_outage

    def _look_at_streams(self, job: Job, final: dict[str, Any]) -> None:
        if final["state"] == "broken" or not job.runs or "nobody is left" in job.runs[-1].server.struck:
            return None
        for name in ("stdout", "stderr"):
            base, whole = f"jobs/{job.name}/server/{name}/", b""
            for key in sorted(each for each in self._cloud.objects if each.startswith(base)):
                if self._cloud.objects[key] or int(key[len(base) :]) != len(whole):
                    if int(key[len(base) :]) != len(whole):
                        return self._wrong(f"{name} has a hole or an overlap at {key[len(base) :]}")
                    whole += self._cloud.objects[key]
            if len(whole) != final["streams"][name]:
                return self._wrong(f"{name} is {len(whole)} bytes, and the record says {final['streams'][name]}")
            rest = whole
            for run in job.runs:
                written, last = run.written[name], run is job.runs[-1]
                same = next(
                    (at for at, pair in enumerate(zip(rest, written, strict=False)) if pair[0] != pair[1]), None
                )
                same = min(len(rest), len(written)) if same is None else same
                if last and rest != written and run.why != "power" and not run.down:
                    return self._wrong(f"{name} of run {run.number} did not come whole: {rest!r}, not {written!r}")
                rest = rest[same:]
            if rest and job.runs[-1].why != "power":
                return self._wrong(f"{name} has what nobody wrote: {rest!r}")
        return None

    def _look_at_results(self, job: Job, final: dict[str, Any]) -> None:
        manifest = self._cloud.get(f"jobs/{job.name}/server/manifest.json")
        if final["state"] == "broken" or not job.runs:
            return None
        if manifest is None or not manifest["final"]:
            return self._wrong("the job has ended, and its manifest is not there or not final")
        named = {each["path"]: each for each in manifest["results"]}
        for path, each in named.items():
            key, at = each.get("at", [f"results/{path}", 0])
            there = self._cloud.objects.get(f"jobs/{job.name}/server/{key}")
            there = there if there is None else there[at : at + each["size"]]
            if there is None or hashlib.sha256(there).hexdigest() != each["sha256"] or len(there) != each["size"]:
                return self._wrong(f"the result {path} is not there as the manifest has it")
        for path, data in job.runs[-1].outputs.items():
            if path not in named or named[path]["sha256"] != hashlib.sha256(data).hexdigest():
                return self._wrong(f"{path}, which the program left, is not among the results")
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

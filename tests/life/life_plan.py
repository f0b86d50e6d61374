"""What a seed has planned: a job, and what strikes it when."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from life_clock import EPOCH
from life_server import Run

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
        max_time=dice.choice([3600.0, 3600.0, 3600.0, float(int(length / 2 + 1))]),
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
    plan = Plan(trouble=dice.choice([0.0, 0.0, 0.03, 0.15]), outages=[], patience=300.0, blows=[], calm_after=900.0)
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

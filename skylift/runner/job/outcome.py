"""What came of a job: its Outcome, with its results."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skylift.runner.job.run_price import RunPrice
from skylift.runner.job.states import State

INTERRUPTED = 130


@dataclass(frozen=True)
class Result:
    """One file that came home; `path` is relative to the working directory. A byte of it that is not UTF-8 is in it as
    in Python's file names."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Missing:
    """A result that did not come home, and why: its server could not read it, or no file here can have its name."""

    path: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """How it went. `exit_code` is what skylift exits with: the program's own, or 128+n, 121 to 125 as documented.

    `state` is one of succeeded, failed, out-of-memory, timed-out, idle, cancelled, rebooted, environment-failed and
    broken; `reason` is one sentence.
    `left_behind` is what was new on the server and not asked for, `not_written` what the server sent all the same.
    `missing` are results that are not here, and `changed` those that changed while the server read them; neither
    touches the exit code.
    `seconds` are the job's own, from its server's first moment with it to the program's end, however long somebody
    watched, which `watched_seconds` and `steps`, seconds by step name, tell. The tails are the last 64 KiB of each
    stream, as far as the one who watched has seen it; `home` is the folder that results are in, `choice` why the server
    is of its type, where that was chosen. `market` is `spot` or `on-demand`, as its last server was bought. `booted` is
    when that began with it, and `price` what its time costs.
    """

    name: str
    state: State
    exit_code: int
    reason: str
    signal: str | None = None
    detail: str = ""
    instance: str | None = None
    instance_type: str = ""
    results: tuple[Result, ...] = ()
    unmatched: tuple[str, ...] = ()
    left_behind: tuple[str, ...] = ()
    not_written: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    changed: tuple[str, ...] = ()
    started: str | None = None
    ended: str | None = None
    program_seconds: float | None = None
    attempts: int = 1
    seconds: float = 0.0
    watched_seconds: float = 0.0
    steps: dict[str, float] = field(default_factory=dict)
    kept_until: str | None = None
    stdout_tail: str = ""
    stderr_tail: str = ""
    home: Path | None = None
    choice: dict[str, Any] | None = None
    market: str = "on-demand"
    booted: str | None = None
    price: RunPrice | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The results, where they are on this machine; empty when they were not brought home."""
        return () if self.home is None else tuple(self.home / each.path for each in self.results)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "state": self.state,
            "exit_code": self.exit_code,
            "reason": self.reason,
            "signal": self.signal,
            "detail": self.detail,
            "instance": self.instance,
            "instance_type": self.instance_type,
            "market": self.market,
            "choice": self.choice,
            "results": [{"path": each.path, "size": each.size, "sha256": each.sha256} for each in self.results],
            "unmatched": list(self.unmatched),
            "left_behind": list(self.left_behind),
            "not_written": list(self.not_written),
            "missing": [{"path": each.path, "reason": each.reason} for each in self.missing],
            "changed": list(self.changed),
            "booted": self.booted,
            "started": self.started,
            "ended": self.ended,
            "program_seconds": self.program_seconds,
            "attempts": self.attempts,
            "seconds": round(self.seconds, 3),
            "watched_seconds": round(self.watched_seconds, 3),
            "steps": {name: round(seconds, 3) for name, seconds in self.steps.items()},
            "kept_until": self.kept_until,
            "price": self.price.as_json() if self.price is not None else None,
        }

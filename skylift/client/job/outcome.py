"""The Outcome of a job, with its results."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skylift.client.errors import SkyliftError
from skylift.client.job.run_price import RunPrice
from skylift.client.job.server_record import Try
from skylift.client.text.duration import spell_duration
from skylift.client.text.size import spell_size
from skylift.client.text.visible import shown, visible, visible_lines
from skylift.contract.states import State

_LISTED = 10
"""The most results that a table names, and the lines of standard error in an error's note."""


@dataclass(frozen=True)
class Result:
    """One downloaded result. `path` is relative to the working directory. Bytes that are not UTF-8 are as in Python's
    file names (surrogateescape)."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Missing:
    """A result that was not downloaded, and why: its server could not read it, or no file here can have its name."""

    path: str
    reason: str


@dataclass(frozen=True, repr=False)
class Outcome:
    """How a job ended. `exit_code` is skylift's exit code: the program's own, 128+n, or 121 to 125 as documented.

    `state` is one of succeeded, failed, out-of-memory, timed-out, idle, cancelled, skipped, rebooted,
    environment-failed and broken. `reason` is one sentence. `left_behind` are new files on the server that were not
    asked for, and `not_written` such files that the server has sent all the same. `missing` are results that are not
    here, and `changed` results that changed while the server read them. Neither changes the exit code. `seconds` is the
    job's own time, from when its server had it to the program's end. `watched_seconds` and `steps` (seconds by step
    name) are the times of the user's own run. The tails are the last 64 KiB of each stream that the run has shown.
    `home` is the folder with the results, and `choice` why the server has its type, if that was chosen. `market` is how
    the last server was bought, `spot` or `on-demand`. `booted` is when that server got the job, and `price` what its
    time costs. `attempts` counts the servers of a spot job. `tries` are the attempts of a program that is started again
    when it fails (--retries), with what came of each. `capped` is whether the cloud ends the server after its deadline
    if it does not end itself, None where the run does not know.
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
    tries: tuple[Try, ...] = ()
    seconds: float = 0.0
    watched_seconds: float = 0.0
    steps: dict[str, float] = field(default_factory=dict)
    kept_until: str | None = None
    stdout_tail: str = ""
    stderr_tail: str = ""
    home: Path | None = None
    choice: dict[str, Any] | None = None
    market: str = "on-demand"
    capped: bool | None = None
    booted: str | None = None
    price: RunPrice | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths of the results on this machine; empty when they were not downloaded."""
        return () if self.home is None else tuple(self.home / each.path for each in self.results)

    def check(self) -> Outcome:
        """This outcome. Raises JobFailed when the exit code is not 0, as `check=True` does."""
        if self.exit_code:
            raise JobFailed(self)
        return self

    def __repr__(self) -> str:
        """One line. Control characters in it are made visible."""
        return f"<Outcome {visible(self.name)}: {self._ended()}; {self._counts()}>"

    def _repr_html_(self) -> str:
        """A small table for notebooks. All text in it is escaped."""
        rows = [("ended", [self._ended()])]
        if self.reason and self.state != State.SUCCEEDED:
            rows.append(("reason", self.reason.split("\n")))
        if self.detail:
            rows.append(("details", _some(_lines(self.detail))))
        if self.instance:
            rows.append(("server", [f"{self.instance_type} {self.instance} ({self.market})"]))
        if self.price is not None and (price := self.price.in_short()):
            rows.append(("cost", [price]))
        if self.results:
            rows.append(("results", _some([f"{each.path} ({spell_size(each.size)})" for each in self.results])))
        if self.missing:
            rows.append(("missing", _some([f"{each.path}: {each.reason}" for each in self.missing])))
        if self.unmatched:
            rows.append(("nothing matched", _some(list(self.unmatched))))
        return "".join(
            [
                f"<table><caption>{_text(self.name)}</caption>",
                *(f"<tr><th>{head}</th><td>{'<br>'.join(map(_text, lines))}</td></tr>" for head, lines in rows),
                "</table>",
            ]
        )

    def _ended(self) -> str:
        after = f" after {spell_duration(self.seconds)}" if self.seconds else ""
        return f"{visible(self.state)}, exit code {self.exit_code}{after}"

    def _counts(self) -> str:
        count = len(self.results)
        missing = f", {len(self.missing)} missing" if self.missing else ""
        return f"{count} result{'s' * (count != 1)}{missing}"

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
            "capped": self.capped,
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
            "tries": [each.as_json() for each in self.tries],
            "seconds": round(self.seconds, 3),
            "watched_seconds": round(self.watched_seconds, 3),
            "steps": {name: round(seconds, 3) for name, seconds in self.steps.items()},
            "kept_until": self.kept_until,
            "price": self.price.as_json() if self.price is not None else None,
        }


class JobFailed(SkyliftError):
    """The program failed, and the caller asked for an error (`check=True`). `outcome` has the details and results. The
    last lines of standard error are a note, which a traceback shows, and so are the first lines of the details."""

    def __init__(self, outcome: Outcome) -> None:
        reason = " ".join(visible_lines(outcome.reason)).strip()
        name = visible(outcome.name)
        super().__init__(
            f"{name}: {outcome.state}, exit code {outcome.exit_code}. {reason}".rstrip(),
            f"Its output: skylift logs {name}",
        )
        self.outcome = outcome
        self.exit_code = outcome.exit_code
        if last := outcome.stderr_tail.splitlines()[-_LISTED:]:
            self.add_note("\n".join(["standard error ends with:", *map(visible, last)]))
        if outcome.detail:
            self.add_note("\n".join(map(visible, _some(_lines(outcome.detail)))))

    def __reduce__(self) -> tuple[type[JobFailed], tuple[Outcome]]:
        """For process pools, which pickle errors."""
        return JobFailed, (self.outcome,)


def _lines(text: str) -> list[str]:
    return text.rstrip("\n").split("\n")


def _some(lines: list[str]) -> list[str]:
    more = len(lines) - _LISTED
    return [*lines[:_LISTED], f"and {more} more"] if more > 0 else lines


def _text(line: str) -> str:
    return html.escape(shown(line))

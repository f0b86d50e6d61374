"""Decides when each input is handed out, what its end means, and when the map has ended.

The coordinator knows nothing of Dask. A `ServerPool` runs tasks of one or more inputs, and reports their outcomes, or a
loss when the server was lost under a task. After a loss the inputs are handed out again. So are those that a server
hands back because it can run none now, which is neither a loss nor an attempt. An input that has lost one server gets a
task of its own. One that has lost two runs alone, so that it is certain which input ends its servers. One that has lost
as many as are allowed gets the outcome `lost`."""

from __future__ import annotations

import heapq
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from skylift.client.map.log_writer import LogWriter
from skylift.client.map.outcome import InputOutcome, InputState, MapEnd, parse_outcome
from skylift.client.map.spec import input_fields
from skylift.client.text.json_object import as_object
from skylift.contract.document import Malformed
from skylift.contract.map_progress import LONGEST_LINE, MOST_ERRORS, GroupedError, Progress, ServerProgress
from skylift.contract.map_spec import MapInput, MapSpec

ALONE = 2
"""The number of losses after which an input runs alone."""
SOON = 0.25
"""Seconds that a batch of small inputs should take."""
MOST_IN_A_BATCH = 64
PAUSE = 1.0
"""Seconds before a program is started again for the first time; each later time it is twice as long."""
_LONGEST_PAUSE = 60.0
_REPORT_EVERY = 1.0
_RECENT = 20.0
"""Seconds over which the rate is measured."""
UNFIT, SHORT = 300.0, 30.0
"""Seconds after which a map ends whose servers hand all inputs back, and for which they keep one before."""
FAILED = 1
"""The exit code of a map of which some inputs have failed."""


@dataclass(frozen=True)
class Waiting:
    """An input that has no outcome: which attempt comes next, and how many servers were lost under it."""

    input: MapInput
    attempt: int = 1
    losses: int = 0


@dataclass(frozen=True)
class Task:
    number: int
    inputs: tuple[Waiting, ...]
    begun: float


class ServerPool(Protocol):
    @property
    def slots(self) -> int:
        """How many tasks can run at a time now; 0 while there is no server."""

    def submit(self, number: int, request: dict[str, Any]) -> None: ...

    def ended(self, timeout: float) -> list[tuple[int, list[Any] | None]]:
        """Tasks that have ended since the last call, and their outcomes as they were reported, or None for a loss. The
        last report may be {"unfit": reason}, in the place of all that would follow (see task.py). Waits for the first
        task up to `timeout` seconds."""

    def servers(self) -> Sequence[ServerProgress]: ...


class Coordinator:
    """`report` is called with the progress of the map now and then. `stop` ends the coordinator without an end in the
    log: the map may go on elsewhere. `noticed` is whether EC2 takes the server back, asked when it has been stopped."""

    def __init__(
        self,
        spec: MapSpec,
        log: LogWriter,
        pool: ServerPool,
        report: Callable[[Progress], None],
        clock: Callable[[], float] = time.monotonic,
        noticed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._noticed = noticed
        self._spec, self._log, self._pool, self._report, self._clock = spec, log, pool, report, clock
        self._failed_before = spec.resumes.failed if spec.resumes is not None else 0
        had = log.log.outcomes
        self._todo: deque[Waiting] = deque()
        self._later: list[tuple[float, int, Waiting]] = []
        self._alone: deque[Waiting] = deque()
        self._fresh: list[InputOutcome] = []
        self._begun: list[tuple[int, int]] = []
        self._tasks: dict[int, Task] = {}
        self._numbers = 0
        ours = {each.index for each in spec.inputs}
        self._done = {index for index in had if index in ours}
        self._failed = sum(not had[index].succeeded for index in self._done)
        self._errors: Counter[str] = Counter()
        self._first: dict[str, int] = {}
        for index in self._done:
            self._note_error(had[index])
        self._mean: float | None = None
        self._ends: deque[float] = deque()
        self._began = clock()
        self._reported_at = -math.inf
        self._stopped = False
        self._unfit: tuple[float, str] | None = None
        for each in spec.inputs:
            if each.index not in had:
                self._put_off(self._as_logged(each))
        self._program = {
            "argv": list(spec.argv),
            "python": spec.python,
            "args": list(spec.args),
            "outputs": list(spec.outputs),
            "total": spec.total or len(spec.inputs),
        }

    def stop(self) -> None:
        self._stopped = True

    def run(self) -> int:
        """The exit code of the map: 0 when every input has succeeded. Raises Superseded."""
        halt = self._spec.halt.limit(len(self._spec.inputs)) if self._spec.halt is not None else math.inf
        while self._is_left and not self._stopped and self._failed < halt and not self._is_stuck():
            self._hand_out()
            self._note()
            for number, outcomes in self._pool.ended(self._until_next()):
                self._take(number, outcomes)
            self._report_sometimes()
        end = None if self._stopped and self._is_left else self._end(halted=self._is_left)
        self._note()
        self._log.close(end, noticed=end is None and self._noticed())
        self._report(self.progress())
        succeeded = end is not None and not end.halted and not self._failed and not self._failed_before
        return 0 if succeeded else FAILED

    @property
    def _is_left(self) -> bool:
        return bool(self._todo or self._later or self._alone or self._tasks)

    def _is_stuck(self) -> bool:
        """Whether no input has really run for a while, because all servers hand them back."""
        if self._unfit is None or any(self._clock() - each.begun > SHORT for each in self._tasks.values()):
            return False
        return self._clock() - self._unfit[0] > UNFIT

    def _end(self, *, halted: bool) -> MapEnd:
        total = len(self._spec.inputs)
        if halted and self._unfit is not None and self._is_stuck():
            reason = f"It was ended early: no server could run inputs any more, as lately {self._unfit[1]}."
            return MapEnd(reason[:LONGEST_LINE], halted=True)
        if not total:
            return MapEnd("There was no input.")
        if halted:
            return MapEnd(f"It was ended early: {self._failed} of {total} inputs have failed (--halt).", halted=True)
        if self._failed:
            return MapEnd(f"{self._failed} of {total} inputs have failed.")
        if self._spec.resumes is not None and self._failed_before:
            before = f"{self._failed_before} others have failed in {self._spec.resumes.job}"
            return MapEnd(f"All {total} inputs have succeeded; {before}.")
        return MapEnd(f"All {total} inputs have succeeded.")

    @property
    def left(self) -> int:
        """Inputs that have no outcome."""
        return len(self._spec.inputs) - len(self._done)

    def seconds_left(self) -> float:
        """How long the servers that there are would take, as far as inputs have shown by now how long they take."""
        now, tasks = self._clock(), list(self._tasks.values())
        longest = max((now - each.begun for each in tasks), default=0.0)
        pace = max(longest / max((len(each.inputs) for each in tasks), default=1), self._mean or 0.0)
        return self.left * pace / max(self._pool.slots, 1)

    def _as_logged(self, each: MapInput) -> Waiting:
        """As the coordinators before have left it: a server that an input ended with them counts against it."""
        log = self._log.log
        return Waiting(each, log.attempts.get(each.index, 1), each.losses + log.losses[each.index])

    def _note(self, lost: Sequence[Waiting] = (), back: Sequence[Waiting] = (), *, wait: bool = False) -> None:
        """Outcomes and what was handed out after them, in one entry."""
        gone = ([each.input.index for each in some] for some in (lost, back))
        self._log.note(self._fresh, self._begun, *gone, wait=wait)
        self._fresh, self._begun = [], []

    # What is handed out.

    def _hand_out(self) -> None:
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            self._put_off(heapq.heappop(self._later)[2])
        while self._todo and len(self._tasks) < self._pool.slots:
            self._submit(self._batch())
        if self._alone and not (self._tasks or self._todo or self._later) and self._pool.slots:
            self._submit([self._alone.popleft()])

    def _batch(self) -> list[Waiting]:
        batch = [self._todo.popleft()]
        if batch[0].losses:
            return batch
        most = self._spec.batch or self._batch_by_duration()
        while self._todo and len(batch) < most and not self._todo[0].losses:
            batch.append(self._todo.popleft())
        return batch

    def _batch_by_duration(self) -> int:
        """So that each slot has several batches to come, and no batch takes long."""
        if not self._mean:
            return 1
        share = math.ceil((len(self._todo) + 1) / (2 * max(self._pool.slots, 1)))
        return max(1, min(int(SOON / self._mean), MOST_IN_A_BATCH, share))

    def _submit(self, batch: list[Waiting]) -> None:
        self._begun += [(each.input.index, each.attempt) for each in batch]
        if any(each.losses for each in batch):
            # One that may take the coordinator along is written down before it begins.
            self._note(wait=True)
        self._numbers += 1
        self._tasks[self._numbers] = Task(self._numbers, tuple(batch), self._clock())
        self._pool.submit(self._numbers, {"program": self._program, "inputs": [_wanted(each) for each in batch]})

    def _until_next(self) -> float:
        if not self._later:
            return _REPORT_EVERY
        return max(0.0, min(self._later[0][0] - self._clock(), _REPORT_EVERY))

    # What has ended.

    def _take(self, number: int, reports: list[Any] | None) -> None:
        task = self._tasks[number]
        unfit = _why_unfit(reports)
        outcomes = None if reports is None else _parsed(reports[:-1] if unfit else reports, task, whole=not unfit)
        if outcomes is None and self._stopped:
            # Withheld, as by a server that goes down. It counts as what still runs, and whether that is lost depends on
            # why the server goes down: see LogWriter.close.
            return
        del self._tasks[number]
        if outcomes is None:
            self._note(lost=task.inputs)
            for each in task.inputs:
                self._put_off(replace(each, losses=each.losses + 1))
            return
        now = self._clock()
        if unfit:
            self._hand_back(task.inputs[len(outcomes) :], unfit)
        else:
            each_took = (now - task.begun) / len(task.inputs)
            self._mean = each_took if self._mean is None else 0.7 * self._mean + 0.3 * each_took
        if outcomes:
            self._unfit = None
        for waiting, outcome in zip(task.inputs, outcomes, strict=False):
            failed_itself = not outcome.succeeded
            if failed_itself and waiting.attempt <= self._spec.retries:
                self._again(waiting)
            else:
                self._conclude(replace(outcome, attempt=waiting.attempt, losses=waiting.losses))

    def _hand_back(self, inputs: Sequence[Waiting], why: str) -> None:
        self._unfit = self._unfit or (self._clock(), why)
        self._note(back=inputs)
        for each in inputs:
            self._postpone(each, PAUSE)

    def _again(self, waiting: Waiting) -> None:
        pause = min(PAUSE * 2 ** (waiting.attempt - 1), _LONGEST_PAUSE)
        self._postpone(replace(waiting, attempt=waiting.attempt + 1), pause)

    def _postpone(self, waiting: Waiting, pause: float) -> None:
        heapq.heappush(self._later, (self._clock() + pause, waiting.input.index, waiting))

    def _put_off(self, waiting: Waiting) -> None:
        """Until there is a place for one that has lost so many servers."""
        if waiting.losses >= self._spec.losses:
            at_last = ", the last time with nothing else" if waiting.losses > ALONE else ""
            reason = f"Its server was lost each of the {waiting.losses} times that it ran{at_last}."
            index, attempt, losses = waiting.input.index, waiting.attempt, waiting.losses
            self._conclude(InputOutcome(index, InputState.LOST, 125, attempt, losses, reason=reason))
        elif waiting.losses >= ALONE:
            self._alone.append(waiting)
        else:
            self._todo.append(waiting)

    def _conclude(self, outcome: InputOutcome) -> None:
        self._fresh.append(outcome)
        self._done.add(outcome.index)
        self._failed += not outcome.succeeded
        self._note_error(outcome)
        self._ends.append(self._clock())

    def _note_error(self, outcome: InputOutcome) -> None:
        if not outcome.succeeded:
            line = outcome.last_line[:LONGEST_LINE]
            self._errors[line] += 1
            self._first.setdefault(line, outcome.index)

    # Reports.

    def _report_sometimes(self) -> None:
        now = self._clock()
        if now - self._reported_at >= _REPORT_EVERY:
            self._reported_at = now
            self._report(self.progress())

    def progress(self) -> Progress:
        now = self._clock()
        while self._ends and now - self._ends[0] > _RECENT:
            self._ends.popleft()
        span = min(now - self._began, _RECENT)
        rate = len(self._ends) / span if self._ends and span > 0 else None
        waiting = len(self._spec.inputs) - len(self._done)
        return Progress(
            epoch=self._log.log.epoch,
            updated=time.time(),
            total=len(self._spec.inputs),
            succeeded=len(self._done) - self._failed,
            failed=self._failed,
            running=sum(len(each.inputs) for each in self._tasks.values()),
            rate=rate,
            left=waiting / rate if rate else None,
            servers=tuple(self._pool.servers()),
            errors=tuple(
                GroupedError(line, count, self._first[line]) for line, count in self._errors.most_common(MOST_ERRORS)
            ),
        )


def _wanted(waiting: Waiting) -> dict[str, Any]:
    """As server/input_run.py describes it."""
    return {**input_fields(waiting.input), "attempt": waiting.attempt}


def _why_unfit(reports: list[Any] | None) -> str:
    """Why a server hands the rest of a task back; empty where it does not."""
    last = reports[-1] if reports else None
    return str(last.get("unfit", ""))[:LONGEST_LINE] if isinstance(last, dict) else ""


def _parsed(reports: list[Any], task: Task, *, whole: bool) -> list[InputOutcome] | None:
    """The outcomes; None if a server's report cannot belong to this task: that is no verdict either."""
    try:
        found = [parse_outcome(as_object(each, "an outcome")) for each in reports]
    except Malformed:
        return None
    wanted = [each.input.index for each in task.inputs]
    return found if [each.index for each in found] == (wanted if whole else wanted[: len(found)]) else None

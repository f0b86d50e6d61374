"""Which input runs when, and what its end means: against a pool of the test's own, in which servers come to grief."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from test_map_log import Bucket

from skylift.client.map import coordinator as mind
from skylift.client.map.coordinator import Coordinator, Task
from skylift.client.map.log_writer import LogWriter, Superseded
from skylift.client.map.outcome import InputState, entry_key
from skylift.contract.map_progress import Progress, ServerProgress
from skylift.contract.map_spec import Halt, MapInput, MapSpec

Verdict = Callable[[dict[str, Any], list[int]], int | None]
"""The exit code of an input, given all that run now; None where its server dies."""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Pool:
    """Each task takes a second. A server that dies takes all that runs there."""

    def __init__(self, clock: Clock, verdict: Verdict, slots: int = 4) -> None:
        self._clock, self._verdict, self.slots = clock, verdict, slots
        self.running: dict[int, list[dict[str, Any]]] = {}
        self.seen: list[list[int]] = []
        self.ran: list[tuple[int, int]] = []

    def submit(self, number: int, request: dict[str, Any]) -> None:
        self.running[number] = request["inputs"]
        self.ran += [(each["index"], each["attempt"]) for each in request["inputs"]]
        assert len(self.running) <= self.slots

    def ended(self, timeout: float) -> list[tuple[int, list[Any] | None]]:
        self._clock.now += 1 if self.running else timeout
        now = [each["index"] for task in self.running.values() for each in task]
        self.seen.append(now)
        codes = {number: [self._verdict(each, now) for each in task] for number, task in self.running.items()}
        dead = any(None in each for each in codes.values())
        told = [
            (number, None if dead else self._outcomes(task, codes[number])) for number, task in self.running.items()
        ]
        self.running = {}
        return told

    def _outcomes(self, task: list[dict[str, Any]], codes: Sequence[int | None]) -> list[Any]:
        return [
            {"index": each["index"], "state": "failed" if code else "succeeded", "exit_code": code}
            for each, code in zip(task, codes, strict=True)
        ]

    def servers(self) -> Sequence[ServerProgress]:
        return [ServerProgress("i-a", sum(map(len, self.running.values())))]


class Case:
    def __init__(self, verdict: Verdict, count: int = 20, bucket: Bucket | None = None, **spec: Any) -> None:
        self.bucket, self.clock = bucket or Bucket(), Clock()
        self.pool = Pool(self.clock, verdict)
        self.told: list[Progress] = []
        inputs = tuple(MapInput(number, str(number), str(number)) for number in range(count))
        self.spec = MapSpec(("python", "job.py"), True, (), inputs, **spec)
        self.log = LogWriter(self.bucket, "i-a")
        self.log.begin()
        self.coordinator = Coordinator(self.spec, self.log, self.pool, self.told.append, self.clock)

    def run(self) -> int:
        return self.coordinator.run()


def test_every_input_has_an_outcome_and_what_failed_is_named() -> None:
    case = Case(lambda each, now: 3 if each["index"] in (4, 9) else 0)
    assert case.run() == 1
    log = case.bucket.log()
    assert {index: each.exit_code for index, each in log.outcomes.items()} == {
        index: 3 if index in (4, 9) else 0 for index in range(20)
    }
    assert log.ended is not None
    assert log.ended.reason == "2 of 20 inputs have failed."
    assert (case.told[-1].succeeded, case.told[-1].failed, case.told[-1].running) == (18, 2, 0)


class Unfit(Pool):
    """Its server hands each task back after the inputs that come before the first one of `unfit`."""

    unfit: Callable[[int], bool] = staticmethod(lambda index: True)

    def _outcomes(self, task: list[dict[str, Any]], codes: Sequence[int | None]) -> list[Any]:
        run = next((number for number, each in enumerate(task) if self.unfit(each["index"])), len(task))
        told = super()._outcomes(task[:run], codes[:run])
        return told if run == len(task) else [*told, {"unfit": "i-a: No space left on device"}]


def unfit_case(unfit: Callable[[int], bool], **spec: Any) -> Case:
    case = Case(lambda each, now: 0, **spec)
    pool = Unfit(case.clock, lambda each, now: 0)
    pool.unfit = unfit  # type: ignore[method-assign]
    case.pool = case.coordinator._pool = pool
    return case


def test_inputs_that_a_server_hands_back_run_again_as_if_for_the_first_time() -> None:
    times: Counter[int] = Counter()

    def twice(index: int) -> bool:
        times[index] += 1
        return index % 3 == 1 and times[index] <= 4

    case = unfit_case(twice, batch=3, losses=1)
    assert case.run() == 0
    log = case.bucket.log()
    assert sorted(log.outcomes) == list(range(20))
    assert {(each.attempt, each.losses) for each in log.outcomes.values()} == {(1, 0)}
    assert {attempt for _, attempt in case.pool.ran} == {1}


def test_what_was_handed_back_is_not_lost_with_a_coordinator() -> None:
    case = unfit_case(lambda index: index == 2, count=3)
    for _ in range(2):
        case.coordinator._hand_out()
        case.coordinator._note()
        for number, outcomes in case.pool.ended(1):
            case.coordinator._take(number, outcomes)
    case.coordinator._note()
    case.coordinator.stop()
    case.coordinator.run()
    assert not LogWriter(case.bucket, "i-b").begin().losses


def test_a_map_whose_servers_can_run_nothing_ends_with_a_sentence() -> None:
    case = unfit_case(lambda index: index >= 5)
    assert case.run() == 1
    log = case.bucket.log()
    assert sorted(log.outcomes) == list(range(5))
    assert log.ended is not None
    assert log.ended.halted
    assert log.ended.reason == (
        "It was ended early: no server could run inputs any more, as lately i-a: No space left on device."
    )
    assert 300 < case.clock.now < 400
    assert not log.losses_so_far()


def test_one_input_that_runs_long_keeps_a_map_whose_other_server_is_unfit() -> None:
    case = unfit_case(lambda index: case.clock.now < 1000)
    case.coordinator._tasks[0] = Task(0, (), 0.0)
    case.coordinator._unfit = (0.0, "i-b: No space left on device")
    case.clock.now = 900.0
    assert not case.coordinator._is_stuck()


def test_a_failure_is_repeated_as_often_as_was_asked_and_later_each_time() -> None:
    case = Case(lambda each, now: 75 if each["index"] == 3 and each["attempt"] < 3 else 0, retries=2)
    assert case.run() == 0
    assert [attempt for index, attempt in case.pool.ran if index == 3] == [1, 2, 3]
    assert case.bucket.log().outcomes[3].attempt == 3
    assert case.clock.now >= 1 + 2


def test_an_input_that_kills_its_server_fails_by_name_and_the_others_do_not() -> None:
    case = Case(lambda each, now: None if each["index"] == 7 else 0, batch=3)
    assert case.run() == 1
    outcomes = case.bucket.log().outcomes
    assert {index for index, each in outcomes.items() if not each.succeeded} == {7}
    assert (outcomes[7].state, outcomes[7].losses, outcomes[7].exit_code) == (InputState.LOST, 3, 125)
    assert [7] in case.pool.seen, "it has run with nothing else"
    assert all(each.losses < 3 for index, each in outcomes.items() if index != 7)


def test_an_input_that_takes_each_coordinator_along_fails_by_name_and_the_others_do_not() -> None:
    """A server takes longer to die than the log to have what was begun."""
    bucket, lost = Bucket(), 0

    class Dead(Exception):
        pass

    def die(each: dict[str, Any], now: list[int]) -> int:
        if each["index"] == 7:
            while 7 not in bucket.log().running:
                continue
            raise Dead
        return 0

    while True:
        try:
            assert Case(die, batch=3, bucket=bucket).run() == 1
            break
        except Dead:
            lost += 1
    outcomes = bucket.log().outcomes
    assert lost == 3
    assert len(outcomes) == 20
    assert {index for index, each in outcomes.items() if not each.succeeded} == {7}
    assert (outcomes[7].state, outcomes[7].losses, outcomes[7].exit_code) == (InputState.LOST, 3, 125)


def test_an_input_that_turns_off_each_coordinators_server_fails_by_name_and_the_others_do_not() -> None:
    """A server that is shut down tells its coordinator to stop."""
    bucket, seen = Bucket(), list[list[int]]()
    coordinators = 0
    while bucket.log().ended is None and coordinators < 6:
        coordinators += 1
        case = Case(lambda each, now: 0, batch=1, bucket=bucket)
        end, stop = case.pool.ended, case.coordinator.stop

        def stopping(timeout: float, case: Case = case, end: Any = end, stop: Any = stop) -> Any:
            now = [each["index"] for task in case.pool.running.values() for each in task]
            if 7 not in now:
                return end(timeout)
            seen.append(now)
            stop()
            return []

        case.pool.ended = stopping
        case.run()
    outcomes = bucket.log().outcomes
    assert (coordinators, len(seen), seen[-1]) == (4, 3, [7])
    assert {index for index, each in outcomes.items() if not each.succeeded} == {7}
    assert (len(outcomes), outcomes[7].state, outcomes[7].losses) == (20, InputState.LOST, 3)


def test_a_coordinator_that_is_told_to_stop_loses_nothing() -> None:
    case = Case(lambda each, now: 0)
    end = case.pool.ended

    def stopping(timeout: float) -> list[tuple[int, list[Any] | None]]:
        case.coordinator.stop()
        return end(timeout)[:1]

    case.pool.ended = stopping
    case.run()
    assert case.bucket.log().running == {}
    assert not case.bucket.log().losses_so_far()
    assert len(case.bucket.log().interrupted) == 3


def test_a_coordinator_whose_server_ec2_takes_back_says_so() -> None:
    case = Case(lambda each, now: 0)
    stopped = Coordinator(case.spec, case.log, case.pool, case.told.append, case.clock, noticed=lambda: True)
    end = case.pool.ended

    def stopping(timeout: float) -> list[tuple[int, list[Any] | None]]:
        stopped.stop()
        return end(timeout)[:1]

    case.pool.ended = stopping
    stopped.run()
    assert case.bucket.log().interrupted == ()
    assert "noticed" in json.loads(case.bucket.objects[entry_key(case.bucket.log().next - 1)])


@pytest.mark.parametrize("noticed", [False, True])
def test_what_ends_without_a_verdict_after_the_stop_is_lost_only_if_ec2_has_given_no_notice(noticed: bool) -> None:
    """A server that goes down withholds what ends meanwhile, also a success."""
    case = Case(lambda each, now: 0)
    stopped = Coordinator(case.spec, case.log, case.pool, case.told.append, case.clock, noticed=lambda: noticed)
    end = case.pool.ended

    def stopping(timeout: float) -> list[tuple[int, list[Any] | None]]:
        stopped.stop()
        first, *others = end(timeout)
        return [first, *((number, None) for number, _ in others)]

    case.pool.ended = stopping
    assert stopped.run() == 1
    log = case.bucket.log()
    assert (len(log.outcomes), log.ended) == (1, None)
    assert sorted(log.losses_so_far()) == []
    assert len(log.interrupted) == (0 if noticed else 3)


def test_what_failed_goes_on_with_its_attempts_under_the_next_coordinator() -> None:
    first = Case(lambda each, now: 1, count=1, retries=5)
    end = first.pool.ended

    def stopping(timeout: float) -> list[tuple[int, list[Any] | None]]:
        if first.pool.ran[-1:] == [(0, 3)]:
            first.coordinator.stop()
            return []
        return end(timeout)

    first.pool.ended = stopping
    first.run()
    second = Case(lambda each, now: 1, count=1, retries=5, bucket=first.bucket)
    second.run()
    assert [attempt for _, attempt in second.pool.ran] == [3, 4, 5, 6]
    assert first.bucket.log().outcomes[0].attempt == 6


def test_what_is_begun_costs_no_entry_of_its_own() -> None:
    case = Case(lambda each, now: 0, count=100, batch=5)
    case.run()
    # An entry each time that tasks have ended, the first one, that of the epoch, and the end.
    assert len(case.bucket.objects) <= len(case.pool.seen) + 3


def test_servers_that_die_by_themselves_are_no_ones_fault() -> None:
    deaths = iter([True, True, *[False] * 1000])
    case = Case(lambda each, now: None if each["index"] == now[0] and next(deaths) else 0)
    assert case.run() == 0
    assert max(each.losses for each in case.bucket.log().outcomes.values()) in (1, 2)


@pytest.mark.parametrize("halt", [Halt(count=3), Halt(share=0.15)])
def test_too_many_failures_end_it_early(halt: Halt) -> None:
    case = Case(lambda each, now: int(each["index"] % 2), count=20, halt=halt, batch=1)
    assert case.run() == 1
    log = case.bucket.log()
    assert log.ended is not None
    assert log.ended.halted
    assert log.ended.reason.startswith("It was ended early: ")
    assert len(log.outcomes) < 20


def test_who_comes_later_runs_only_what_has_no_outcome() -> None:
    first = Case(lambda each, now: 0)
    end = first.pool.ended

    def stopping(timeout: float) -> list[tuple[int, list[Any] | None]]:
        first.coordinator.stop()
        return end(timeout)

    first.pool.ended = stopping
    first.run()
    had = dict(first.bucket.log().outcomes)
    assert 0 < len(had) < 20
    assert first.bucket.log().ended is None
    second = Case(lambda each, now: 5, bucket=first.bucket)
    second.run()
    assert {index for index, _ in second.pool.ran} == set(range(20)) - set(had)
    outcomes = first.bucket.log().outcomes
    assert {index: outcomes[index] for index in had} == had


def test_one_that_has_a_successor_stops_and_its_outcomes_do_not_count() -> None:
    case = Case(lambda each, now: 9)
    other = LogWriter(case.bucket, "i-b")
    other.begin()
    with pytest.raises(Superseded):
        case.run()
    assert case.bucket.log().outcomes == {}


@pytest.mark.parametrize(
    "told",
    [[], [{"index": 99, "state": "succeeded", "exit_code": 0}], [{"index": 0, "state": "fine", "exit_code": 0}], ["x"]],
)
def test_what_is_no_outcome_of_the_task_is_none(told: list[Any]) -> None:
    case = Case(lambda each, now: 0, count=1)
    case.pool._outcomes = lambda task, codes: told
    assert case.run() == 1
    assert case.bucket.log().outcomes[0].state == InputState.LOST


def test_small_inputs_go_together_and_large_ones_alone() -> None:
    case = Case(lambda each, now: 0, count=400)
    took = 0.001

    def quick(timeout: float) -> list[tuple[int, list[Any] | None]]:
        case.clock.now += took - 1
        return end(timeout)

    end = case.pool.ended
    case.pool.ended = quick
    sizes: list[int] = []
    submit = case.pool.submit
    case.pool.submit = lambda number, request: (sizes.append(len(request["inputs"])), submit(number, request))[1]
    assert case.run() == 0
    assert sizes[:4] == [1, 1, 1, 1]
    assert max(sizes) > 20
    assert max(sizes) <= mind.MOST_IN_A_BATCH
    slow = Case(lambda each, now: 0, count=40)
    sizes.clear()
    slow.pool.submit, plain = (
        (lambda number, request: (sizes.append(len(request["inputs"])), plain(number, request))[1]),
        slow.pool.submit,
    )
    assert slow.run() == 0
    assert set(sizes) == {1}


def test_errors_are_grouped_by_the_last_line_of_standard_error() -> None:
    from skylift.client.map.outcome import InputOutcome, RunStream

    failed = InputOutcome(1, InputState.FAILED, 1, reason="The program exited with 1.")
    assert failed.last_line == "The program exited with 1."
    text = b"Traceback\nValueError: x\n\n"
    assert replace(failed, stderr=RunStream(len(text), text, len(text))).last_line == "ValueError: x"

"""How often a server of a map starts the processes of Dask that fail."""

from __future__ import annotations

import threading

from support.agent_bench import Metadata

from skylift.agent.remote import aws
from skylift.agent.spot.spot_notice import is_taken_back
from skylift.agent.workers.map_server import LEFT, keep_working, see_through


class Ends:
    """Runs that end at once, with these codes."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)

    def __call__(self) -> int:
        return self.codes.pop(0)


def test_a_worker_that_fails_at_each_start_is_given_up() -> None:
    down, run = threading.Event(), Ends(*[1] * 20)
    assert keep_working(run, down) == 1
    assert len(run.codes) == 15


def test_one_that_has_lost_its_scheduler_looks_for_the_next_one_as_often_as_it_takes() -> None:
    assert keep_working(Ends(*[1, 1, 0] * 5, LEFT), threading.Event()) == LEFT


def test_a_server_that_turns_off_starts_no_other() -> None:
    down, run = threading.Event(), Ends(-15, 1)

    def end() -> int:
        down.set()
        return run()

    assert keep_working(end, down) == -15
    assert run.codes == [1]


class Kills:
    """Coordinators that are killed at once, but for the last one. `outcomes` is what each of them finds in the log."""

    def __init__(self, *outcomes: int) -> None:
        self.outcomes, self.found = list(outcomes), 0

    def __call__(self) -> int:
        self.found = self.outcomes.pop(0)
        return -9 if self.outcomes else 0

    def see_through(self) -> int:
        return see_through(self, lambda: self.found, Impatient())


class Impatient(threading.Event):
    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None and timeout < 60
        return False


def test_any_number_of_inputs_may_kill_their_coordinators() -> None:
    assert Kills(*(number // 3 for number in range(60))).see_through() == 0


def test_coordinators_that_are_killed_for_nothing_have_an_end() -> None:
    kills = Kills(*[5] * 20)
    assert kills.see_through() == 125
    assert len(kills.outcomes) == 11, "the first one has found something new"


def test_what_was_found_before_is_not_found_anew() -> None:
    assert Kills(*[1, 0] * 20).see_through() == 125


def test_whether_ec2_takes_a_server_back() -> None:
    with Metadata() as service:
        metadata, notice = aws.Metadata(service.url), "/latest/meta-data/spot/instance-action"
        assert not is_taken_back(metadata)
        service.more[notice] = b'{"action": "terminate", "time": "2026-11-29T06:22:00Z"}'
        assert is_taken_back(metadata)
        service.more[notice] = b'{"action": "praise"}'
        assert not is_taken_back(metadata)
    assert not is_taken_back(aws.Metadata("http://127.0.0.1:1")), "nobody answers"

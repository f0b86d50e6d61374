"""How often a server of a map starts the processes of Dask that fail."""

from __future__ import annotations

import threading

from skylift.runner.server.map_server import LEFT, keep_working


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

"""What a cloud does behind its first answers, in order, until it is told to end."""

from __future__ import annotations

import threading

import pytest

from skylift.cloud.loops.adoption import Adoption
from skylift.cloud.loops.engine import Engine
from skylift.cloud.loops.ticker import Ticker


def test_steps_are_taken_in_order() -> None:
    taken: list[str] = []
    adoption = Adoption()
    adoption.steps = [(name, lambda name=name: taken.append(name)) for name in ("networks", "servers", "loops")]
    adoption.run()
    assert taken == ["networks", "servers", "loops"]


def test_told_to_end_it_takes_no_further_step() -> None:
    taken: list[str] = []
    begun = threading.Event()
    adoption = Adoption()

    def servers() -> None:
        taken.append("servers")
        begun.set()
        while not adoption.stopped():
            pass

    adoption.steps = [("servers", servers), ("loops", lambda: taken.append("loops"))]
    thread = threading.Thread(target=adoption.run)
    thread.start()
    assert begun.wait(30)
    adoption.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert taken == ["servers"]


def test_a_step_that_fails_is_the_last() -> None:
    taken: list[str] = []

    def servers() -> None:
        raise ConnectionError("no")

    adoption = Adoption()
    adoption.steps = [("servers", servers), ("loops", lambda: taken.append("loops"))]
    with pytest.raises(ConnectionError):
        adoption.run()
    assert taken == []


@pytest.mark.parametrize("loops", [Engine, Ticker])
def test_loops_that_have_not_begun_can_be_ended(loops: type[Engine] | type[Ticker]) -> None:
    loops().stop()

from __future__ import annotations

import threading

from skylift.cloud.loops.ticker import Ticker


def test_a_step_that_fails_stops_neither_the_others_nor_the_next_tick() -> None:
    twice = threading.Barrier(2)

    def fail() -> None:
        raise ZeroDivisionError

    ticker = Ticker(every=0.01)
    ticker.steps = (fail, lambda: twice.wait(60) and None)
    ticker.start()
    try:
        twice.wait(60)
        twice.wait(60)
    finally:
        twice.abort()
        ticker.stop()

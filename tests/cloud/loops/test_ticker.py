from __future__ import annotations

import threading

from skylift.cloud.loops.ticker import Ticker


def test_whoever_wakes_it_does_not_wait_for_a_tick_and_a_failure_stops_nothing() -> None:
    done = threading.Event()

    def fail() -> None:
        raise ZeroDivisionError

    ticker = Ticker()
    ticker.between = (fail, done.set)
    ticker.start()
    try:
        for _ in range(2):
            done.clear()
            ticker.wake()
            assert done.wait(60)
    finally:
        ticker.stop()

"""Time that passes when a test says so."""

from __future__ import annotations

from collections.abc import Callable


class Clock:
    """Timers that go off when a test says so, and the time that they are read from."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.due: list[Callable[[], None]] = []

    def monotonic(self) -> float:
        return self.now

    def timer(self, seconds: float, act: Callable[[str], None], arguments: tuple[str]) -> Timer:
        return Timer(self, seconds, lambda: act(*arguments))


class Timer:
    def __init__(self, clock: Clock, seconds: float, act: Callable[[], None]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._act = act

    def start(self) -> None:
        self._clock.due.append(self._go_off)

    def cancel(self) -> None:
        self._clock.due.remove(self._go_off)

    def _go_off(self) -> None:
        self._clock.now += self._seconds
        self._act()

"""Steps of a start that run after the first answers: take over what the last process left on the machine.

Nothing is made or ended until they are done. The store keeps requests that arrive before; the loops begin with them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from skylift.cloud.process.step_times import StepTimes

log = logging.getLogger(__name__)


class Adoption:
    """`steps` are named, and run in order; the last starts the loops. A long step asks `stopped` now and then: the next
    process adopts what is left."""

    def __init__(self) -> None:
        self.steps: Sequence[tuple[str, Callable[[], None]]] = ()
        self._stop = threading.Event()

    def run(self) -> None:
        """Raises what a step raises: a cloud that cannot look after its servers does not go on."""
        laps = StepTimes()
        for name, step in self.steps:
            if self.stopped():
                log.info("adoption ended before %s: %s", name, laps)
                return
            step()
            laps.end(name)
        log.info("adopted: %s", laps)

    def stop(self) -> None:
        self._stop.set()

    def stopped(self) -> bool:
        return self._stop.is_set()

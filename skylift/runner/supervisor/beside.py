"""Several things at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable


def together(*calls: Callable[[], Any]) -> None:
    """All of them, each in a thread. An error is raised once the others have ended, too."""
    with ThreadPoolExecutor(len(calls)) as pool:
        for each in [pool.submit(call) for call in calls]:
            each.result()

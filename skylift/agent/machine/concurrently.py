"""Running several calls at the same time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Callable, List, Optional

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


class _Task(threading.Thread):
    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__()
        self._call = call
        self.result: Any = None
        self.error: Optional[BaseException] = None

    def run(self) -> None:
        try:
            self.result = self._call()
        except BaseException as error:  # noqa: BLE001 (it is raised where the task is waited for)
            self.error = error


def together(*calls: Callable[[], Any]) -> List[Any]:
    """Run each call in a thread and return their results. An error is raised after all others have ended."""
    tasks = [_Task(call) for call in calls]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join()
    for task in tasks:
        if task.error is not None:
            raise task.error
    return [task.result for task in tasks]


def thread_pool(size: int) -> ThreadPoolExecutor:
    """A pool for many calls. Its module is imported only here, because it would slow down the boot."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    return ThreadPoolExecutor(size)

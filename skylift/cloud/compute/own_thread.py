"""For what changes a thread for good, as another namespace or root directory does."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def in_own_thread(act: Callable[[], T]) -> T:
    """The result of `act`, called by a thread that ends with it; what it raises is raised here."""
    with ThreadPoolExecutor(1, thread_name_prefix="own") as pool:
        return pool.submit(act).result()

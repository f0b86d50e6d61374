"""One lock for each volume. Its holder alone touches the volume's file and mounts."""

from __future__ import annotations

import threading
from weakref import WeakValueDictionary


class VolumeLocks:
    """The locks of one cloud's volumes, each made when it is first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: WeakValueDictionary[str, threading.RLock] = WeakValueDictionary()

    def of(self, volume_id: str) -> threading.RLock:
        """The lock of one volume. It exists while a thread holds it or waits for it."""
        with self._lock:
            return self._locks.setdefault(volume_id, threading.RLock())

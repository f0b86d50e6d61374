"""uv's wheel comes from the package index once a process, not for each test's empty bucket."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from skylift.catalogue.uv import Wheel


class FetchedOnce:
    """What could not be fetched, or not all of it, is asked for again by the next test: each try has a folder."""

    def __init__(self, download: Callable[[Wheel, Path], Path], folder: Path) -> None:
        self._download, self._folder = download, folder
        self._fetched: dict[str, Path] = {}
        self._lock = threading.Lock()

    def fetch(self, wheel: Wheel, folder: Path) -> Path:
        with self._lock:
            if wheel.sha256 not in self._fetched:
                place = Path(tempfile.mkdtemp(dir=self._folder))
                self._fetched[wheel.sha256] = self._download(wheel, place)
        return Path(shutil.copy(self._fetched[wheel.sha256], folder))

"""An input's output so far, in the record, for clients that look at it while it runs.

The object server/map/runs/INDEX-live has the last bytes of both streams: {"written", "run", "attempt", "stdout",
"stderr"}, each stream {"start", "content"}, the offset of its first byte and Base64. Short inputs have no such object.
Later it is written when there is more, at growing intervals, as a job's own output is. It stays when the input has
ended: then the outcome is what counts.
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from pathlib import Path
from typing import Callable, Dict, Tuple

from skylift.agent.remote.aws import Refused, Unreachable
from skylift.agent.remote.prefix import Prefix

FIRST = 2.0
"""Seconds before an input is worth a request."""
_GROWS, _LONGEST = 1.3, 30.0
_TAIL = 64 << 10


class LiveOutput:
    """Of one input: `streams` are its files. `look` is called when `seconds` have passed. It waits for nothing: its
    caller watches the program, and a request may take a minute."""

    def __init__(
        self,
        prefix: Prefix,
        index: int,
        run: str,
        attempt: int,
        streams: Dict[str, Path],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._prefix, self._key, self._streams = prefix, live_key(index), streams
        self._known = {"run": run, "attempt": attempt}
        self._clock, self._pause = clock, FIRST
        self._due = clock() + FIRST
        self._sent: Dict[str, int] = dict.fromkeys(streams, 0)
        self._sending = threading.Lock()

    @property
    def seconds(self) -> float:
        return max(0.0, self._due - self._clock())

    def look(self) -> None:
        """Sends what is new. If that fails, a later look sends it: nothing depends on it."""
        self._pause = min(self._pause * _GROWS, _LONGEST)
        self._due = self._clock() + self._pause
        if not self._sending.acquire(blocking=False):
            return
        try:
            threading.Thread(target=self._send_aside, name="live", daemon=True).start()
        except RuntimeError:
            # The server has as many threads as it may.
            self._sending.release()

    def _send_aside(self) -> None:
        try:
            with contextlib.suppress(OSError, Refused, Unreachable):
                self._send()
        finally:
            self._sending.release()

    def _send(self) -> None:
        sizes = {name: path.stat().st_size for name, path in self._streams.items()}
        if sizes == self._sent:
            return
        found = {name: _last_bytes(path, sizes[name]) for name, path in self._streams.items()}
        shown = {
            name: {"start": start, "content": base64.b64encode(content).decode()}
            for name, (start, content) in found.items()
        }
        self._prefix.put(self._key, json.dumps(dict(shown, **self._known, written=time.time())).encode())
        self._sent = sizes


def live_key(index: int) -> str:
    return "server/map/runs/%08d-live" % index


def _last_bytes(path: Path, size: int) -> Tuple[int, bytes]:
    start = max(0, size - _TAIL)
    with path.open("rb") as file:
        file.seek(start)
        return start, file.read(size - start)

"""Uploading streams and status to the prefix, while the program runs and at its end."""

from __future__ import annotations

import contextlib
import threading
from functools import partial
from pathlib import Path
from typing import Dict, List

from skylift.agent.job.status import Status
from skylift.agent.machine.concurrently import together
from skylift.agent.machine.console import say
from skylift.agent.program.stream import Stream, cuts
from skylift.agent.remote.aws import Refused, Unreachable, Until, retry_until
from skylift.agent.remote.prefix import Prefix
from skylift.agent.remote.upload import PIECE


class Shipper:
    """`run` is a thread that uploads at growing intervals. `finish` uploads the rest."""

    def __init__(self, prefix: Prefix, streams: List[Stream], status: Status, folder: Path) -> None:
        self._prefix, self._streams, self._status = prefix, streams, status
        self._sent = {stream.name: stream.base for stream in streams}
        self._pieces: Dict[str, List[int]] = {stream.name: [] for stream in streams}
        self._shipped = folder / "shipped"
        self._read_uploaded()
        self._sent_version = -1
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shipper", daemon=True)
        self._thread.start()

    def _read_uploaded(self) -> None:
        """Read how far an earlier supervisor has uploaded. Parts that it did not note are uploaded again."""
        for line in self._shipped.read_text(errors="replace").splitlines() if self._shipped.exists() else ():
            # The line is incomplete when its writer was killed, or the disk was full.
            with contextlib.suppress(ValueError, KeyError):
                name, start, end, _ = line.split()
                self._pieces[name].append(int(start))
                self._sent[name] = int(end)

    def _note(self, stream: Stream, start: int, end: int) -> None:
        with contextlib.suppress(OSError), self._shipped.open("a") as file:
            file.write("\n%s %d %d shipped\n" % (stream.name, start, end))

    def _run(self) -> None:
        pause = 0.5
        while True:
            try:
                self._ship_status()
                for stream in self._streams:
                    self._ship_stream(stream, 0)
                self._delete_cut_pieces()
            except (Unreachable, Refused, OSError) as error:
                say("output cannot be uploaded yet: %s" % error)
            if self._over.wait(pause):
                return
            pause = min(pause * 1.3, 30)

    def _ship_status(self) -> None:
        """Sent before any output of this attempt: readers must know which attempt the output is of."""
        version = self._status.version
        if version != self._sent_version:
            self._prefix.put("server/status.json", self._status.encoded(cut=cuts(self._streams)))
            self._sent_version = version

    @property
    def shipped(self) -> Dict[str, int]:
        """The offset up to which each stream is in the prefix."""
        return dict(self._sent)

    def finish(self, until: Until) -> None:
        """Raises Unreachable or Refused when the output could not be delivered."""
        self._over.set()
        self._thread.join()
        if self._sent_version < 0:
            retry_until("status", self._ship_status, until)
        together(*(partial(self._ship_stream, stream, until) for stream in self._streams))
        self._delete_cut_pieces()

    def _ship_stream(self, stream: Stream, until: Until) -> None:
        while self._sent[stream.name] < stream.size:
            start, data = stream.read(self._sent[stream.name], PIECE)
            end = start + len(data)
            times = stream.times(start, end)
            retry_until(stream.name, lambda: self._prefix.put(_key(stream, start), data, times=times), until)  # noqa: B023
            self._sent[stream.name] = end
            self._pieces[stream.name].append(start)
            self._note(stream, start, end)
            stream.forget_times(end)

    def _delete_cut_pieces(self) -> None:
        """Delete the uploaded pieces between head and tail. No piece crosses the end of a segment."""
        for stream in self._streams:
            if stream.cut is None:
                continue
            low, high = stream.cut
            for start in [start for start in self._pieces[stream.name] if low <= start < high]:
                self._prefix.delete(_key(stream, start))
                self._pieces[stream.name].remove(start)


def _key(stream: Stream, start: int) -> str:
    return "server/%s/%020d" % (stream.name, start)

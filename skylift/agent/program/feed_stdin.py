"""Fills the program's standard input from the pieces in the job's record. It is a separate process."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
from typing import Optional, Tuple

from skylift.agent.remote.aws import Aws, Metadata, Refused, Unreachable
from skylift.agent.remote.prefix import Prefix

PLACE = "in/stdin/"
TAKEN = "server/stdin.json"
_TELL = 16 << 20
"""Bytes between two reports of the program's progress; its client stays within reach of them."""
_FIRST, _LONGEST = 0.05, 2.0
"""Seconds between two looks for the next piece if no message announces one."""


def main() -> None:
    """It is told an object of region, bucket, prefix, imds, bell and state. The pipe is our standard output."""
    given = json.loads(sys.argv[1])
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    aws = Aws(given["region"], os.environ.get("AWS_ENDPOINT_URL"), Metadata(given["imds"]))
    bell = os.open(given["bell"], os.O_RDWR | os.O_NONBLOCK)
    Feed(Prefix(aws, given["bucket"], given["prefix"]), bell, 1).run()
    os.write(given["state"], b"over")
    # The program has its end of file with us, and Python's own tidying up takes longer than all the rest.
    os._exit(0)


class Feed:
    """`run` ends with the last piece, or once no process reads any more."""

    def __init__(self, prefix: Prefix, bell: int, pipe: int) -> None:
        self._prefix, self._bell, self._pipe = prefix, bell, pipe
        self._waiting = select.poll()
        self._waiting.register(bell, select.POLLIN)
        # For a pipe's writing end the kernel always reports when there are no more readers.
        self._waiting.register(pipe, 0)

    def run(self) -> None:
        offset = reported = 0
        last = False
        while not last:
            found = self._await_piece(offset)
            if found is None or not self._pass_on(found[0]):
                return
            last = found[1]
            offset += len(found[0])
            if offset - reported >= _TELL:
                reported = offset
                self._tell(offset)

    def _await_piece(self, offset: int) -> Optional[Tuple[bytes, bool]]:
        """Its bytes, and whether it is the last one. None when no process reads any more."""
        pause = _FIRST
        while True:
            found = self._fetch(offset)
            if found is not None:
                return found
            ready = dict(self._waiting.poll(1000 * pause))
            if self._pipe in ready:
                return None
            pause = min(1.5 * pause, _LONGEST)
            if self._bell in ready:
                os.read(self._bell, 65536)
                pause = _FIRST

    def _fetch(self, offset: int) -> Optional[Tuple[bytes, bool]]:
        """A server that may not list its prefix is refused a piece that is missing."""
        try:
            status, headers, body = self._prefix.request("GET", "%s%020d" % (PLACE, offset))
        except (Unreachable, Refused):
            return None
        if status != 200:
            return None
        last = "x-amz-meta-last" in headers
        # An empty piece that is not the last would be requested for ever.
        return (body, last) if body or last else None

    def _pass_on(self, data: bytes) -> bool:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._pipe, left) :]
        except BrokenPipeError:
            return False
        return True

    def _tell(self, offset: int) -> None:
        with contextlib.suppress(Unreachable, Refused):  # the next word says more
            self._prefix.put(TAKEN, json.dumps({"taken": offset}).encode())

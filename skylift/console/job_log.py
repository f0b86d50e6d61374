"""A job's output as it comes, in a thread of its own: an event loop that pages wait for must not wait for a network."""

from __future__ import annotations

import asyncio
import codecs
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from skylift.client.errors import SkyliftError
from skylift.client.jobs.logs import show_logs
from skylift.client.remote.account import Account
from skylift.client.watcher import NoWatcher
from skylift.console.scrollback import Scrollback

_KEPT = 8 << 20
"""Characters of the log that a page can scroll back and search. `skylift logs` has all of it."""


class JobLog:
    """Begins with the first page that shows it, and ends when `wanted` says that nobody does."""

    def __init__(self, account: Account, job: str) -> None:
        self._account, self._job = account, job
        self.text = Scrollback(_KEPT)
        self._pages = asyncio.get_running_loop()
        self._decoders = {
            "stdout": codecs.getincrementaldecoder("utf-8")("replace"),
            "stderr": codecs.getincrementaldecoder("utf-8")("replace"),
        }
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reading: asyncio.Task[object] | None = None
        self._stopped = False

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True, name=f"log of {self._job}").start()

    def stop(self) -> None:
        self._stopped = True
        if self._loop is not None and self._reading is not None:
            # The log of a job that has ended has been read: its loop is closed.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._reading.cancel)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            try:
                runner.run(self._read())
            except asyncio.CancelledError:
                pass
            except SkyliftError as error:
                self._put(f"\r\n\x1b[31m{error.message}\x1b[0m {error.advice}\r\n")

    async def _read(self) -> None:
        self._loop, self._reading = asyncio.get_running_loop(), asyncio.current_task()
        if not self._stopped:
            await show_logs(self._account, self._job, _Watcher(self._output), follow=True)

    def _output(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        text = self._decoders[stream].decode(data)
        self._put(_yellow(text) if stream == "stderr" else text)

    def _put(self, text: str) -> None:
        if not self._pages.is_closed():
            self._pages.call_soon_threadsafe(self.text.append, text)


def _yellow(text: str) -> str:
    """Line by line: a search may show any of them alone."""
    return "\n".join(f"\x1b[33m{line}\x1b[39m" if line else "" for line in text.split("\n"))


class _Watcher(NoWatcher):
    """Of all that there is to see, the output."""

    def __init__(self, show: Callable[[Literal["stdout", "stderr"], bytes], None]) -> None:
        self._show = show

    def output(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        self._show(stream, data)

    def take_back(self, stream: Literal["stdout", "stderr"], size: int) -> bool:
        self._show("stderr", f"\nThe last of {stream} was lost with the server, and is not in the log.\n".encode())
        return False

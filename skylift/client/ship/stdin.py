"""The client's standard input on its way to the program: pieces in the job's record, which servers can only read.

So whichever server starts the program has it from the first byte on, a client that has lost its SSH has nothing to
make up for, and what a server says of how far it is costs no byte: a lie lets the client run ahead, and no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from skylift.client.errors import RecordDamaged, RunError, SkyliftError, Unreachable
from skylift.client.job.record import JobKeys
from skylift.client.job.server_record import parse_stdin_taken
from skylift.client.text.size import spell_size
from skylift.contract.stream import FRAME_LIMIT

if TYPE_CHECKING:
    from skylift.client.remote.api import Api

PIECE = 4 << 20
"""The most bytes of a piece. Slow input is sent as it comes."""
AHEAD = 64 << 20
"""The most bytes that a client sends before the program has read them."""
_MUCH = 1 << 30
"""From this many bytes in a job's record on, its user sees a note."""
_BURST = 100
"""The number of pieces that are sent at once although each costs money; after them it is one a second."""
_WAIT = 2.0
"""Seconds after which a user who waits for the end of the upload is told the reason; a last write may also take this
long when nobody needs it any more."""


def has_input(source: int) -> bool:
    """Whether a descriptor brings a program something: a pipe, a file or the like. A terminal's keys are nobody's but
    the user's, and from /dev/null there is nothing to be had, nor from a file that is at its end."""
    try:
        found = os.fstat(source)
    except OSError:
        return False
    if stat.S_ISREG(found.st_mode):
        return os.lseek(source, 0, os.SEEK_CUR) < found.st_size
    if stat.S_ISCHR(found.st_mode):
        return not os.isatty(source) and found.st_rdev != Path(os.devnull).stat().st_rdev
    return stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode)


class Stdin:
    """One descriptor, which is read once and from now on by nobody else."""

    def __init__(self, source: int) -> None:
        self._source = source
        self._ended, self._sent = False, 0

    @property
    def ended(self) -> bool:
        """Whether all of it is in the record, its end too."""
        return self._ended

    async def send_first(self, api: Api, bucket: str, job: str, note: Callable[[str], None]) -> int:
        """All of it, before anybody needs it. Raises SkyliftError. The bytes that were sent, now or before."""
        if not self._ended:
            sending = _Sending(self._source, api, JobKeys(job), bucket, partial(_in_loop(), note), patient=False)
            work = asyncio.ensure_future(sending.finish())
            try:
                await asyncio.wait([work], timeout=_WAIT)
                if not work.done():
                    note("Standard input is read to its end before the server starts; `</dev/null` has none.")
                await work
            finally:
                work.cancel()
                sending.stop()
            self._ended, self._sent = True, sending.sent
        return self._sent

    @contextlib.asynccontextmanager
    async def sending(
        self, api: Api, bucket: str, job: str, note: Callable[[str], None], ring: Callable[[], object], *, billed: bool
    ) -> AsyncIterator[None]:
        """For as long as this block takes. `ring` is called, in the event loop, when there is a piece more."""
        if self._ended:
            yield
            return
        tell, pace = _in_loop(), _Pace() if billed else None
        where = (self._source, api, JobKeys(job), bucket)
        sending = _Sending(*where, partial(tell, note), partial(tell, ring), pace)
        sending.start()
        try:
            yield
        finally:
            sending.stop()
            await asyncio.to_thread(sending.join, _WAIT)
            self._ended = sending.ended


def _in_loop() -> Callable[..., None]:
    """Has something called in this event loop, from any thread."""
    loop = asyncio.get_running_loop()

    def tell(call: Callable[..., object], *words: str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is no more, and nobody is told
            loop.call_soon_threadsafe(call, *words)

    return tell


class _Pace:
    """Each piece is a request that costs money, and so does a program that gets a word at a time."""

    def __init__(self) -> None:
        self._left, self._since = float(_BURST), time.monotonic()

    def pause(self) -> float:
        """Seconds to wait before the next piece."""
        now = time.monotonic()
        self._left, self._since = min(_BURST, self._left + now - self._since) - 1, now
        return max(0.0, -self._left)


class _Sending:
    """Two threads: one reads what there is, the other sends all that has been read meanwhile in one piece."""

    def __init__(
        self,
        source: int,
        api: Api,
        prefix: JobKeys,
        bucket: str,
        note: Callable[[str], object] = lambda text: None,
        ring: Callable[[], object] = lambda: None,
        pace: _Pace | None = None,
        *,
        patient: bool = True,
    ) -> None:
        """A `patient` one tries again what fails, notes that, and does not run ahead of the program."""
        self._source, self._api, self._prefix, self._bucket = source, api, prefix, bucket
        self._note, self._ring, self._pace, self._patient = note, ring, pace, patient
        self._waiting = bytearray()
        self._at_end = False
        self._trouble: SkyliftError | None = None
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._wake, self._waker = os.pipe()
        self.sent = self._taken = 0
        self.ended = False
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._read, self._send)]

    def start(self) -> None:
        for each in self._threads:
            each.start()

    async def finish(self) -> None:
        """All of it. Raises SkyliftError."""
        self.start()
        done = asyncio.get_running_loop().run_in_executor(None, self._threads[1].join)
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:
            self.stop()
            await asyncio.gather(done, return_exceptions=True)
            raise
        if self._trouble is not None:
            raise self._trouble

    def stop(self) -> None:
        """Stop sending: pieces that have not been sent will not be."""
        with self._changed:
            if not self._over.is_set():
                self._over.set()
                self._changed.notify_all()
                os.close(self._waker)

    def join(self, seconds: float) -> None:
        """Wait for a request that is under way, but not for ever."""
        self._threads[1].join(seconds)

    # Reading.

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(self._source, select.POLLIN)
        try:
            while self._has_room():
                if self._wake in dict(poll.poll()):
                    return
                try:
                    data = os.read(self._source, PIECE)
                except BlockingIOError:
                    # Somebody who shares it with us has taken it.
                    continue
                except OSError as error:
                    self._end(RunError(f"Standard input cannot be read any further: {error.strerror}."))
                    return
                with self._changed:
                    self._waiting += data
                    self._changed.notify_all()
                if not data:
                    self._end(None)
                    return
        finally:
            os.close(self._wake)

    def _end(self, trouble: RunError | None) -> None:
        with self._changed:
            self._at_end, self._trouble = True, trouble
            self._changed.notify_all()

    def _has_room(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._over.is_set() or len(self._waiting) < PIECE)
        return not self._over.is_set()

    # Sending.

    def _send(self) -> None:
        noted = False
        while not self.ended:
            found = self._next()
            if found is None or not self._put(*found):
                return
            self.sent += len(found[0])
            self.ended = found[1]
            self._ring()
            if self.sent > _MUCH and not noted:
                noted = True
                self._note(
                    f"Standard input is kept in the job's record, by now {spell_size(self.sent)} of it, for a server "
                    f"that starts the program again. `skylift rm {self._prefix.job}` removes it later."
                )
            if not self.ended and self._patient:
                self._let_follow()
                if self._pace is not None and len(found[0]) < PIECE:
                    self._over.wait(self._pace.pause())

    def _next(self) -> tuple[bytes, bool] | None:
        """What is there by now, and whether it is the last. None when it is over, or there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._over.is_set() or self._waiting or self._at_end)
            if self._over.is_set():
                return None
            data = bytes(self._waiting[:PIECE])
            del self._waiting[:PIECE]
            self._changed.notify_all()
            last = self._at_end and not self._waiting and self._trouble is None
            if self._trouble is not None and not data:
                self._note(f"{self._trouble.message} The program waits for more: `skylift cancel` ends it.")
                return None
            return data, last

    def _put(self, data: bytes, last: bool) -> bool:
        """False when it is over."""
        pause, noted = 0.1, False
        more = {"Metadata": {"last": "1"}} if last else {}
        while not self._over.is_set():
            try:
                key = self._prefix.stdin(self.sent)
                self._api.call("s3", "put_object", Bucket=self._bucket, Key=key, Body=data, **more)
            except SkyliftError as error:
                if not self._patient:
                    with self._changed:
                        self._trouble = error
                    return False
                # If the cloud is away, other code tells the user who watches.
                if not isinstance(error, Unreachable) and not noted:
                    noted = True
                    self._note(f"Standard input is not sent for now; trying again. {error.message}")
                self._over.wait(pause)
                pause = min(2 * pause, 5.0)
            else:
                return True
        return False

    def _let_follow(self) -> None:
        """A program that is slow, or does not read at all, is not sent all there may be."""
        pause = 0.05
        while self.sent - self._taken >= AHEAD and not self._over.wait(pause):
            self._taken = max(self._taken, min(self._look(), self.sent))
            pause = min(1.5 * pause, 2.0)

    def _look(self) -> int:
        """The program's progress, as its server reports it."""
        key = self._prefix.stdin_taken
        try:
            found = self._api.get(self._bucket, key, FRAME_LIMIT)
            return 0 if found is None else parse_stdin_taken(key, found)
        except (Unreachable, RecordDamaged):
            return 0
        except SkyliftError:
            # Such as credentials that have expired: the next piece tells of that.
            return self.sent

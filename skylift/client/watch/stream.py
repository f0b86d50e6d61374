"""The program's output as it comes: by SSH while the server can be reached, or else from S3. Both count in bytes."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Literal

from skylift.client.errors import ConnectionLost, RecordDamaged, Refused, SkyliftError, Unreachable
from skylift.client.job.record import JobKeys
from skylift.client.job.server_record import parse_bases, parse_status, piece_offset
from skylift.client.remote.api import Api
from skylift.client.remote.connection import Connection
from skylift.client.remote.reconnect import Reconnect
from skylift.client.steps import together
from skylift.client.text.size import spell_size
from skylift.client.watcher import Watcher
from skylift.contract.document import Malformed, parse
from skylift.contract.results import MANIFEST_LIMIT
from skylift.contract.status import STATUS_LIMIT, Status
from skylift.contract.stream import FRAME_LIMIT, STREAMS, Gauge, Offsets, Skip
from skylift.contract.usage import LONGEST_STREAM

_PIECE = 1 << 20
"""Bytes of the log that are read at a time."""
_CHECK_PAUSE = 5.0
"""Seconds between two calls that check the cloud while SSH works."""
_GAUGE = 2.0
"""Seconds between two measurements of the server, where a monitor shows them."""
_ONCE_TIMEOUT = 5.0
"""Seconds in which SSH must connect when only the output so far is wanted."""
_NOTE_AFTER = 3.0
"""Seconds without SSH after which the user is told. Shorter breaks do not matter."""


class Follower:
    """Follows one job: delivers its output, each byte once, and its statuses, whatever connection breaks meanwhile.

    `on_output` is called before output is delivered, `on_gauge` for each measurement of the server.
    """

    def __init__(
        self,
        api: Api,
        bucket: str,
        prefix: JobKeys,
        connect: Callable[[], Awaitable[Connection]],
        is_gone: Callable[[], bool],
        reconnect: Reconnect,
        watcher: Watcher,
        on_status: Callable[[Status], None],
        on_output: Callable[[], None],
        on_gauge: Callable[[Gauge], None] | None = None,
    ) -> None:
        self._api, self._bucket, self._prefix = api, bucket, prefix
        self._connect, self._is_gone, self._reconnect, self._watcher = connect, is_gone, reconnect, watcher
        self._on_status, self._on_output, self._on_gauge = on_status, on_output, on_gauge
        self._offsets: dict[Literal["stdout", "stderr"], int] = {"stdout": 0, "stderr": 0}
        self._attempt, self._heard = 0, False
        """The attempt that has written what was shown last, and whether anything came by SSH: S3 may lack that."""
        self.connection: Connection | None = None
        """The SSH connection to the server, while there is one."""
        self._waiting: list[dict[str, object]] = []
        self._cut_off_since: float | None = None
        self._since: float | None = None

    def order(self, **order: object) -> bool:
        """Send an order (`signal="INT"`) to the supervisor. False when there is no SSH: it is sent when SSH is back."""
        if self.connection is not None and not self._waiting and self._send(order):
            return True
        self._waiting.append(order)
        return False

    def hint(self, **order: object) -> None:
        """Send an order that is of no use later, and that the supervisor does without. Without SSH it is not sent."""
        if self.connection is not None:
            self._send(order)

    def _send(self, order: dict[str, object]) -> bool:
        assert self.connection is not None
        try:
            return self.connection.send(**order)
        except ConnectionLost:
            return False

    def start_at(self, stream: Literal["stdout", "stderr"], offset: int) -> None:
        """Skip the stream's bytes before this offset."""
        self._offsets[stream] = offset

    def start_since(self, when: float) -> None:
        """Skip output from before this time, in seconds since the epoch, as far as only the server knows its offset."""
        self._since = when

    async def once(self, *, live: bool, moved: bool = False) -> Status | None:
        """Deliver only what there is now. The server of a `live` job is asked too, because it may not have sent
        everything to S3. The server of a job that has `moved` to it does not have the output from before; S3 has."""
        if moved:
            await self._from_s3()
        if live:
            with suppress(ConnectionLost, TimeoutError):
                await self._by_ssh(once=True)
        return await self._from_s3()

    async def run(self) -> Status | None:
        """Deliver everything until the job's end: the final status, or None when the server is gone without one."""
        pause = 0.05
        while True:
            began = time.monotonic()
            try:
                final = await self._by_ssh()
                if final is not None:
                    return final
            except ConnectionLost as error:
                self._tell_cut_off(str(error))
            try:
                gone = await self._reconnect.once(self._is_gone)
                final = await self._from_s3()
                if final is not None or gone:
                    return final
            except Unreachable as error:
                self._tell_cut_off(str(error))
            if time.monotonic() - began > 10:
                pause = 0.05
            await asyncio.sleep(pause)
            pause = min(pause * 1.7, 5)

    async def _by_ssh(self, *, once: bool = False) -> Status | None:
        connection = await asyncio.wait_for(self._connect(), _ONCE_TIMEOUT if once else None)
        self.connection = connection
        checking = asyncio.ensure_future(self._check_cloud())
        try:
            how: dict[str, object] = {"once": True} if once else {}
            how |= {"since": self._since} if self._since else {}
            how |= {"gauge": _GAUGE} if self._on_gauge is not None else {}
            how |= {"attempt": self._attempt} if self._attempt else {}
            async for frame in connection.watch(self._offsets["stdout"], self._offsets["stderr"], **how):
                self._tell_connected()
                if frame.kind == "status":
                    status = parse_status(self._prefix.status, frame.data)
                    self._attempt = self._attempt or status.attempt
                    self._on_status(status)
                    if status.final:
                        return status
                elif frame.kind == "begin":
                    self._heard = True
                    self._offsets.update(parse(Offsets, frame.data, FRAME_LIMIT).by_name())
                    self._since = None
                elif frame.kind == "gauge":
                    if self._on_gauge is not None:
                        self._on_gauge(parse(Gauge, frame.data, FRAME_LIMIT))
                elif frame.kind == "cut":
                    self._jump(*parse(Skip, frame.data, FRAME_LIMIT))
                elif frame.kind == "usage":
                    raise Malformed("usage was not asked for")
                else:
                    self._heard = True
                    await self._deliver(frame.kind, frame.data)
        except (Malformed, RecordDamaged) as error:
            # Use S3 instead: each file there has one writer at a time.
            raise ConnectionLost(f"The server sent a message that no supervisor sends: {error}") from None
        finally:
            checking.cancel()
            self.connection = None
            await connection.close()
        raise ConnectionLost("The server closed the stream before the job's end.")

    async def _check_cloud(self) -> None:
        """Notice when the cloud does not answer. SSH does not need the cloud, but the results will."""
        refused = False
        while True:
            await asyncio.sleep(_CHECK_PAUSE)
            try:
                await self._reconnect.once(self._is_gone)
            except Unreachable:
                # `Reconnect` tells the user, once.
                continue
            except SkyliftError as error:
                # For example expired credentials: the stream goes on, but the results will need new ones.
                if not refused:
                    self._watcher.note(f"The cloud no longer answers: {error.message}")
                refused = True

    async def _from_s3(self) -> Status | None:
        """Deliver what S3 has beyond our offsets. The status is read first: once it is final, S3 has all output."""
        status = await self._read_status()
        if status is not None and not status.final:
            self._on_status(status)
        listed = await together(*(self._list_pieces(name) for name in STREAMS))
        # An attempt has its status written before any output: this one is of the last whose output is in the list.
        latest = await self._read_status() if self._heard else status
        if latest is not None and latest.attempt > self._attempt:
            await self._go_over_to(latest.attempt)
        for name, pieces in zip(STREAMS, listed, strict=True):
            await self._deliver_pieces(name, pieces, getattr(status.cut, name) if status is not None else None)
        if status is None or not status.final:
            return None
        self._on_status(status)
        return status

    async def _read_status(self) -> Status | None:
        found = await self._reconnect.once(self._api.get, self._bucket, self._prefix.status, STATUS_LIMIT)
        return parse_status(self._prefix.status, found) if found is not None else None

    async def _go_over_to(self, attempt: int) -> None:
        """What an earlier server has shown, and could not send to S3 any more, is not in the log: a later attempt
        begins where the log had ended, and is shown from there on."""
        for number in range(self._attempt + 1, attempt + 1) if self._heard and self._attempt else ():
            key = self._prefix.attempt(number)
            found = await self._reconnect.once(self._api.get, self._bucket, key, MANIFEST_LIMIT)
            bases = parse_bases(found) if found is not None else None
            if bases is not None:
                for name in STREAMS:
                    await self._go_back(name, bases[name])
            if found is None or bases is not None:
                break
        self._attempt = attempt

    async def _go_back(self, name: Literal["stdout", "stderr"], offset: int) -> None:
        lost = self._offsets[name] - offset
        if lost <= 0 or self._offsets[name] >= LONGEST_STREAM:
            return
        self._offsets[name] = offset
        taken = await asyncio.to_thread(self._watcher.take_back, name, lost)
        where = "were taken out of the file again" if taken else "stay as they were shown; the log goes on from here"
        what = f"The last {spell_size(lost)} of {name} were lost with the server before they came into the log"
        self._watcher.note(f"{what}. They {where}.")

    async def _list_pieces(self, name: Literal["stdout", "stderr"]) -> list[Any]:
        top = self._prefix.stream(name)
        return await self._reconnect.once(
            self._api.pages, "s3", "list_objects_v2", "Contents", Bucket=self._bucket, Prefix=top
        )

    async def _deliver_pieces(
        self, name: Literal["stdout", "stderr"], pieces: list[Any], cut: tuple[int, int] | None
    ) -> None:
        for piece in sorted(pieces, key=lambda each: str(each["Key"])):
            start = piece_offset(str(piece["Key"]))
            if start is None:
                continue
            if cut is not None and cut[0] <= self._offsets[name] < cut[1] <= start:
                self._jump(name, cut[1])
            skip = self._offsets[name] - start
            while 0 <= skip < piece["Size"]:
                body = await self._reconnect.once(self._read_piece, piece["Key"], skip)
                await self._deliver(name, body)
                skip = skip + len(body) if body else -1

    def _read_piece(self, key: str, skip: int) -> bytes:
        """A part of a piece of the log. Empty when the piece was removed meanwhile, which a later status reports."""
        buffer = io.BytesIO()
        try:
            for _ in self._api.stream(self._bucket, key, buffer, skip, _PIECE):
                pass
        except Refused as error:
            if error.code not in ("NoSuchKey", "InvalidRange"):
                raise
        return buffer.getvalue()

    def _jump(self, name: Literal["stdout", "stderr"], offset: int) -> None:
        """Skip what the server did not keep of a very long stream."""
        missing = offset - self._offsets[name]
        if missing > 0:
            self._offsets[name] = offset
            self._watcher.note(
                f"{spell_size(missing)} of {name} are cut out here: head and tail of a long log are kept."
            )

    async def _deliver(self, name: Literal["stdout", "stderr"], data: bytes) -> None:
        # The offset moves first: a screen that is interrupted halfway must not get the same bytes again.
        self._offsets[name] += len(data)
        self._on_output()
        await asyncio.to_thread(self._watcher.output, name, data)

    def _tell_connected(self) -> None:
        if self._cut_off_since is not None and time.monotonic() - self._cut_off_since > _NOTE_AFTER:
            self._watcher.note("The server can be reached by SSH again.")
        self._cut_off_since = None
        while self._waiting and self._send(self._waiting[0]):
            self._waiting.pop(0)

    def _tell_cut_off(self, why: str) -> None:
        now = time.monotonic()
        if self._cut_off_since is None:
            self._cut_off_since = now
        elif self._cut_off_since > 0 and now - self._cut_off_since > _NOTE_AFTER:
            self._watcher.note(f"The server cannot be reached by SSH; output comes from S3 meanwhile. {why}")
            self._cut_off_since = 0.0

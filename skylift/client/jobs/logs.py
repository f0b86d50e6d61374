"""`skylift logs`: a job's output so far, or also what follows, from a time on."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Literal

from skylift.client.errors import UsageError
from skylift.client.job.record import JobKeys
from skylift.client.job.server_record import parse_times, piece_offset
from skylift.client.launch.server import live_servers
from skylift.client.remote.account import Account
from skylift.client.remote.reconnect import Reconnect
from skylift.client.steps import in_thread
from skylift.client.text.duration import parse_duration
from skylift.client.watch.relocation import Relocation
from skylift.client.watch.ssh_access import SshAccess
from skylift.client.watch.stream import Follower
from skylift.client.watcher import Watcher
from skylift.contract.status import Status
from skylift.contract.usage import LONGEST_STREAM


async def show_logs(
    account: Account,
    name: str,
    watcher: Watcher,
    *,
    follow: bool = False,
    only: Literal["stdout", "stderr"] | None = None,
    since: float = 0.0,
) -> Status | None:
    """Give the job's output to the watcher, each byte once. With `follow`, until the job's end. Returns the final
    status, if the job has ended."""
    spot = account.record(name).fleet
    servers = live_servers(account.api, name)
    access = SshAccess(account, name, servers[0] if servers else None, spot=spot)
    reconnect = Reconnect(account.api, watcher, account.settings.revive)
    follower = Follower(
        account.api,
        account.bucket,
        JobKeys(name),
        access.connect,
        access.server_is_gone,
        reconnect,
        watcher,
        Relocation(watcher).see if follow else lambda _: None,
        lambda: None,
    )
    for stream in ("stdout", "stderr"):
        if only not in (None, stream):
            # It is not wanted.
            follower.start_at(stream, LONGEST_STREAM)
        elif since:
            follower.start_at(stream, await reconnect.until_answered(_offset_at, account, name, stream, since))
            follower.start_since(since)
    gone = access.server is None and await reconnect.until_answered(access.server_is_gone)
    status = await reconnect.until_answered(account.status, name)
    ended = gone or (status is not None and status.final)
    if not ended:
        await in_thread(access.try_to_open_ssh, watcher)
    if follow and not ended:
        return await follower.run()
    return await follower.once(live=not ended, moved=status is not None and status.attempt > 1)


def _offset_at(account: Account, name: str, stream: str, since: float) -> int:
    """The offset in S3 of the first byte that was written since that time; the end of the stream when there is none."""
    top = JobKeys(name).stream(stream)
    listed = account.api.pages("s3", "list_objects_v2", "Contents", Bucket=account.bucket, Prefix=top)
    found = ((piece_offset(str(each["Key"])), each) for each in listed)
    pieces = sorted(((start, each) for start, each in found if start is not None), key=lambda each: each[0])
    for start, piece in pieces:
        # S3's times are whole seconds, rounded down. A piece is written before it is uploaded.
        if piece["LastModified"].timestamp() + 1 > since:
            offset = _offset_in(account, piece, start, since)
            if offset is not None:
                return offset
    return max((start + int(each["Size"]) for start, each in pieces), default=0)


def _offset_in(account: Account, piece: Any, start: int, since: float) -> int | None:
    """The same within one piece. None when all of it was written before; its start when its times are not known."""
    times = account.api.call("s3", "head_object", Bucket=account.bucket, Key=piece["Key"])["Metadata"].get("times")
    if times is None:
        return start
    grain, marks = parse_times(piece["Key"], times)
    if not marks or (since < marks[0][0] and start < marks[0][1]):
        # The beginning of the piece was written before its supervisor started.
        return start
    return next((offset for written, offset in marks if written + grain > since), None)


def read_since(text: str, now: float) -> float:
    """Seconds since the epoch. `text` is a duration back from `now`, or a time, by default in this machine's zone.
    Raises UsageError."""
    if re.match(r"\d{4}-\d", text):
        try:
            return datetime.fromisoformat(text).timestamp()
        except ValueError:
            raise UsageError(f"--since {text!r} is not a time.", "Write it like 2026-01-31T12:00:00Z.") from None
    return now - parse_duration(text, "--since")

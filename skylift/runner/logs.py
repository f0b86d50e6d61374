"""A job's output for somebody who only looks: what there is, or also what comes, from a time on."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, Literal

from skylift.runner import launch
from skylift.runner.account import Account
from skylift.runner.duration import parse_duration
from skylift.runner.errors import UsageError
from skylift.runner.lifeline import Lifeline
from skylift.runner.moves import Moves
from skylift.runner.reach import Reach
from skylift.runner.record import Prefix
from skylift.runner.steps import in_thread
from skylift.runner.stream import Follower, Status
from skylift.runner.watch import Watcher

_NEVER = 1 << 62
"""An offset that no stream reaches: a stream that is not asked for."""


async def show_logs(
    account: Account,
    name: str,
    watcher: Watcher,
    *,
    follow: bool = False,
    only: Literal["stdout", "stderr"] | None = None,
    since: float = 0.0,
) -> Status | None:
    """The output to the watcher, each byte once. With `follow`, until the job's end: its final status."""
    spot = "spot" in account.record(name)
    servers = launch.live_servers(account.api, name)
    reach = Reach(account, name, servers[0] if servers else None, spot=spot)
    lifeline = Lifeline(account.api, watcher, account.settings.revive)
    follower = Follower(
        account.api,
        account.bucket,
        Prefix(name),
        reach.connect,
        reach.server_is_gone,
        lifeline,
        watcher,
        Moves(watcher).see if follow else lambda _: None,
        lambda: None,
    )
    for stream in ("stdout", "stderr"):
        if only not in (None, stream):
            follower.start_at(stream, _NEVER)
        elif since:
            follower.start_at(stream, await lifeline.reach(_offset_at, account, name, stream, since))
            follower.start_since(since)
    gone = reach.server is None and await lifeline.reach(reach.server_is_gone)
    status = await lifeline.reach(account.status, name)
    ended = gone or status.get("final")
    if not ended:
        await in_thread(reach.let_in, watcher)
    if follow and not ended:
        return await follower.run()
    return await follower.once(live=not ended, moved=status.get("attempt", 1) > 1)


def _offset_at(account: Account, name: str, stream: str, since: float) -> int:
    """Where what was written since then begins, by what S3 has; the end of that when it was written before."""
    top = Prefix(name).stream(stream)
    pieces = account.api.pages("s3", "list_objects_v2", "Contents", Bucket=account.bucket, Prefix=top)
    for piece in sorted(pieces, key=lambda each: str(each["Key"])):
        # S3's times are whole seconds, rounded down; what came before then was written before.
        if piece["LastModified"].timestamp() + 1 > since:
            found = _offset_in(account, piece, since)
            if found is not None:
                return found
    return max((_start_of(each) + int(each["Size"]) for each in pieces), default=0)


def _offset_in(account: Account, piece: Any, since: float) -> int | None:
    """None when all of the piece was written before. Its start, where it does not say what was written when."""
    told = account.api.call("s3", "head_object", Bucket=account.bucket, Key=piece["Key"])["Metadata"].get("times")
    if told is None:
        return _start_of(piece)
    grain, marks = json.loads(told)
    if not marks or (since < marks[0][0] and _start_of(piece) < marks[0][1]):
        # Its beginning was written before its supervisor came to be.
        return _start_of(piece)
    return next((int(offset) for written, offset in marks if written + grain > since), None)


def _start_of(piece: Any) -> int:
    return int(piece["Key"].rsplit("/", 1)[1])


def read_since(text: str, now: float) -> float:
    """Seconds since the epoch, of a duration back from now or of a time; one without a zone is this machine's."""
    if re.match(r"\d{4}-\d", text):
        try:
            return datetime.fromisoformat(text).timestamp()
        except ValueError:
            raise UsageError(f"--since {text!r} is not a time.", "Write it like 2026-01-31T12:00:00Z.") from None
    return now - parse_duration(text, "--since")

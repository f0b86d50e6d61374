"""A job's output for somebody who only looks: what there is, or also what comes, from a time on."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Literal

from skylift.runner import launch
from skylift.runner.account import Account
from skylift.runner.duration import parse_duration
from skylift.runner.errors import UsageError
from skylift.runner.lifeline import Lifeline
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
    account.record(name)
    servers = launch.live_servers(account.api, name)
    reach = Reach(account, name, servers[0] if servers else None)
    lifeline = Lifeline(account.api, watcher, account.settings.revive)
    follower = Follower(
        account.api,
        account.bucket,
        Prefix(name),
        reach.connect,
        reach.server_is_gone,
        lifeline,
        watcher,
        lambda _: None,
        lambda: None,
    )
    for stream in ("stdout", "stderr"):
        if only not in (None, stream):
            follower.start_at(stream, _NEVER)
        elif since:
            follower.start_at(stream, await lifeline.reach(_offset_at, account, name, stream, since))
    if reach.server is None or not follow:
        return await follower.once()
    await in_thread(reach.let_in, watcher)
    return await follower.run()


def _offset_at(account: Account, name: str, stream: str, since: float) -> int:
    """Where the first piece begins that was sent since then: it may hold some output from before, and lacks none."""
    top = Prefix(name).stream(stream)
    pieces = account.api.pages("s3", "list_objects_v2", "Contents", Bucket=account.bucket, Prefix=top)
    later = [int(each["Key"].rsplit("/", 1)[1]) for each in pieces if each["LastModified"].timestamp() >= since]
    ends = [int(each["Key"].rsplit("/", 1)[1]) + each["Size"] for each in pieces]
    return min(later) if later else max(ends, default=0)


def read_since(text: str, now: float) -> float:
    """Seconds since the epoch, of a duration back from now or of a time; one without a zone is this machine's."""
    if re.match(r"\d{4}-\d", text):
        try:
            return datetime.fromisoformat(text).timestamp()
        except ValueError:
            raise UsageError(f"--since {text!r} is not a time.", "Write it like 2026-01-31T12:00:00Z.") from None
    return now - parse_duration(text, "--since")

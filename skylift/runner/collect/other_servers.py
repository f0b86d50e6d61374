"""The time of a map's other servers, as its coordinator has reported it last."""

from __future__ import annotations

from skylift.runner.job.record import Prefix
from skylift.runner.job.server_time import PROGRESS_LIMIT, ServerTime, read_times
from skylift.runner.remote.account import Account


def other_servers(account: Account, name: str) -> tuple[ServerTime, ...]:
    found = account.api.get(account.bucket, Prefix(name).progress, PROGRESS_LIMIT)
    return () if found is None else read_times(found)

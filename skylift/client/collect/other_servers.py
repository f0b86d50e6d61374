"""The time of a map's other servers, as its coordinator has reported it last."""

from __future__ import annotations

from skylift.client.errors import RecordDamaged
from skylift.client.job.record import JobKeys
from skylift.client.remote.account import Account
from skylift.contract.map_progress import PROGRESS_LIMIT, ServerTime, times_in


def other_servers(account: Account, name: str) -> tuple[ServerTime, ...]:
    """None of a report that cannot be read: it is only shown, and a program of the job may have written it."""
    try:
        found = account.api.get(account.bucket, JobKeys(name).progress, PROGRESS_LIMIT)
    except RecordDamaged:
        return ()
    return () if found is None else times_in(found)

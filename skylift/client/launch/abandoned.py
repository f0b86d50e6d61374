"""Whether a map is given up. Who cancels a map, or goes on with it, writes a mark and then looks for a server. Who
starts a server for it looks at the mark after that. So one of them always sees the other."""

from __future__ import annotations

from skylift.client.job.job import NAME_FORM
from skylift.client.job.record import JobKeys
from skylift.client.job.server_record import of_file
from skylift.client.remote.account import Account
from skylift.client.text.json_object import parse_object

_LIMIT = 1 << 20


def is_abandoned(account: Account, name: str) -> bool:
    """Whether somebody has cancelled the map, or another one goes on where this one has ended. Raises RecordDamaged."""
    api, bucket, prefix = account.api, account.bucket, JobKeys(name)
    if api.get(bucket, prefix.cancel, _LIMIT) is not None:
        return True
    mark = api.get(bucket, prefix.resumed, _LIMIT)
    if mark is None:
        return False
    later = of_file(prefix.resumed, lambda: parse_object(mark, _LIMIT).text("job", 40, NAME_FORM))
    return later is None or api.get(bucket, JobKeys(later).record, 64 << 20) is not None

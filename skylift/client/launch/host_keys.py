"""A server's own host keys and login user. So nobody has to trust a host key on first use, or guess the user."""

from __future__ import annotations

from skylift.client.job.record import JobKeys
from skylift.client.job.server_record import parse_host_keys
from skylift.client.remote.api import Api
from skylift.contract.stream import FRAME_LIMIT, HostKeys

__all__ = ["HostKeys", "find_host_keys"]


def find_host_keys(api: Api, bucket: str, prefix: JobKeys, instance: str = "") -> HostKeys | None:
    """What the job's server has published; None before that. `instance` is the server's id, for a job that may have had
    other servers before. Raises RecordDamaged."""
    found = api.get(bucket, prefix.host_keys, FRAME_LIMIT)
    if found is None:
        return None
    published = parse_host_keys(prefix.host_keys, found)
    return published if not instance or published.instance == instance else None

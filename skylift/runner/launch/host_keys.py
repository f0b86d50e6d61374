"""What a server shows of itself, so that nobody has to trust it on first use or guess its image's login user."""

from __future__ import annotations

from skylift.runner.job.record import Prefix
from skylift.runner.job.server_record import HOST_KEYS_LIMIT, HostKeys, parse_host_keys
from skylift.runner.remote.api import Api

__all__ = ["HostKeys", "find_host_keys"]


def find_host_keys(api: Api, bucket: str, prefix: Prefix, instance: str = "") -> HostKeys | None:
    """None as long as the server has shown none; of a job that has had others, `instance` says which one it is. Raises
    RecordDamaged."""
    found = api.get(bucket, prefix.host_keys, HOST_KEYS_LIMIT)
    if found is None:
        return None
    shown = parse_host_keys(prefix.host_keys, found)
    return shown if not instance or shown.instance == instance else None

"""What a server shows of itself, so that nobody has to trust it on first use or guess its image's login user."""

from __future__ import annotations

from skylift.runner.job.record import Prefix
from skylift.runner.job.server_record import WAY_IN_LIMIT, WayIn, parse_way_in
from skylift.runner.remote.api import Api

__all__ = ["WayIn", "find_way_in"]


def find_way_in(api: Api, bucket: str, prefix: Prefix, instance: str = "") -> WayIn | None:
    """None as long as the server has shown none; of a job that has had others, `instance` says which one it is. Raises
    RecordDamaged."""
    found = api.get(bucket, prefix.host_keys, WAY_IN_LIMIT)
    if found is None:
        return None
    shown = parse_way_in(prefix.host_keys, found)
    return shown if not instance or shown.instance == instance else None

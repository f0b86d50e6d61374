"""What a server shows of itself, so that nobody has to trust it on first use or guess its image's login user."""

from __future__ import annotations

import json
from dataclasses import dataclass

from skylift.runner.ec2 import Api
from skylift.runner.record import Prefix


@dataclass(frozen=True)
class WayIn:
    """Whom to log in as by SSH, and the host keys of which the server must have one."""

    user: str
    keys: tuple[str, ...]


def find_way_in(api: Api, bucket: str, prefix: Prefix, instance: str = "") -> WayIn | None:
    """None as long as the server has shown none; of a job that has had others, `instance` says which one it is."""
    found = api.get(bucket, prefix.host_keys)
    if found is None:
        return None
    shown = json.loads(found)
    if instance and shown.get("instance") != instance:
        return None
    return WayIn(shown["user"], tuple(shown["keys"]))

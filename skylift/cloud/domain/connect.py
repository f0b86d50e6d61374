"""Nouns of EC2 Instance Connect."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class SessionKey:
    """A public key, as a line of `authorized_keys`, that lets its owner in to a server as `os_user` for a while."""

    instance_id: str
    os_user: str
    public_key: str
    expires: datetime

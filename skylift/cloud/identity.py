"""Nouns of IAM and STS: who there is, who is calling, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class Caller:
    """The authenticated sender of one request.

    `arn` is the caller's own (`arn:aws:sts::123456789012:assumed-role/NAME/SESSION`). `role` is the role's name for
    an assumed role, `instance_arn` the instance whose metadata service handed the credentials out, `secure` whether
    the request came by TLS.
    """

    kind: Literal["root", "user", "role"]
    account: str
    region: str
    arn: str
    user_id: str
    access_key_id: str
    source_ip: str
    request_id: str
    role: str | None = None
    session_policies: tuple[str, ...] = ()
    instance_arn: str | None = None
    secure: bool = False


@dataclass(frozen=True)
class AccessKey:
    """A long-lived key; `user` is None for the account's root."""

    id: str
    secret: str = field(repr=False)
    user: str | None
    created: datetime
    active: bool = True


@dataclass(frozen=True)
class Session:
    """Temporary credentials, made by AssumeRole or by an instance's metadata service.

    They are bound to the role's id: a role deleted and made again under the same name does not revive them.
    """

    access_key_id: str
    secret: str = field(repr=False)
    token: str = field(repr=False)
    role: str
    role_id: str
    name: str
    created: datetime
    expires: datetime
    policies: tuple[str, ...] = ()
    instance_id: str | None = None


@dataclass(frozen=True)
class Role:
    name: str
    id: str
    arn: str
    path: str
    trust_policy: str
    created: datetime
    description: str = ""
    max_session_seconds: int = 3600
    permissions_boundary: str | None = None
    inline: dict[str, str] = field(default_factory=dict)
    attached: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class InstanceProfile:
    name: str
    id: str
    arn: str
    path: str
    created: datetime
    role: str | None = None
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PolicyVersion:
    document: str
    created: datetime


@dataclass(frozen=True)
class ManagedPolicy:
    """A customer's or AWS's own policy; `versions` are by version id (`v1`), `latest` is the last number given out."""

    arn: str
    name: str
    id: str
    path: str
    created: datetime
    updated: datetime
    versions: dict[str, PolicyVersion]
    default_version: str
    latest: int
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)

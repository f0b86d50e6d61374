"""Nouns of IAM and STS: identities, the caller, and permissions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class Signature:
    """How a request is signed, in the words of S3's condition keys.

    `made` is when, which signature version 2 does not tell. `payload` is what the request says its body hashes to.
    """

    auth_type: Literal["POST", "REST-HEADER", "REST-QUERY-STRING"]
    version: Literal["AWS4-HMAC-SHA256", "AWS"]
    made: datetime | None = None
    payload: str = ""


def assumed_arn(account: str, role: str, session: str) -> str:
    return f"arn:aws:sts::{account}:assumed-role/{role}/{session}"


@dataclass(frozen=True)
class Caller:
    """The authenticated sender of one request.

    `arn` is the caller's own (`arn:aws:sts::123456789012:assumed-role/NAME/SESSION`). `role` is the name of an assumed
    role, `user` the name of a user. `instance_arn` is the instance whose metadata service handed the credentials out,
    `role_delivery` that service's version. `secure` is whether the request came by TLS. `issued` is when temporary
    credentials were made, None for an access key. `session_tags` are their tags; sessions made from them inherit the
    keys in `transitive`. `source_identity` names the person behind them, set once for a whole chain of roles. An
    `anonymous` caller signed nothing; `account` is then the endpoint's. `mfa` is when an MFA device's code made the
    credentials. A `federated` caller acts for `federator`, a user (without one, for root), as its session policies
    allow. A request through a VPC endpoint has the endpoint's id and the VPC's; `source_ip` is then a private address.
    `federation` are the condition keys of the identity provider's token that a role was assumed with.
    """

    kind: Literal["root", "user", "role", "federated", "anonymous"]
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
    user: str | None = None
    issued: datetime | None = None
    session_tags: dict[str, str] = field(default_factory=dict)
    transitive: tuple[str, ...] = ()
    source_identity: str | None = None
    role_delivery: str = ""
    user_agent: str = ""
    referer: str = ""
    tls_version: str = ""
    signature: Signature | None = None
    mfa: datetime | None = None
    federator: str | None = None
    vpc_id: str = ""
    vpc_endpoint_id: str = ""
    federation: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def unsigned(self) -> Caller:
        """The same request as if it were not signed."""
        return Caller(
            "anonymous",
            self.account,
            self.region,
            arn="anonymous",
            user_id="anonymous",
            access_key_id="",
            source_ip=self.source_ip,
            request_id=self.request_id,
            secure=self.secure,
            user_agent=self.user_agent,
            referer=self.referer,
            tls_version=self.tls_version,
            vpc_id=self.vpc_id,
            vpc_endpoint_id=self.vpc_endpoint_id,
        )


@dataclass(frozen=True)
class AccessKey:
    """A long-lived key. `user` is None for the account's root; the root key's last use is not recorded."""

    id: str
    secret: str = field(repr=False)
    user: str | None
    created: datetime
    active: bool = True
    used: datetime | None = None
    used_service: str | None = None
    used_region: str | None = None


@dataclass(frozen=True)
class Session:
    """Temporary credentials, made by one of STS's operations or an instance's metadata service.

    They are bound to the id of their role or user: making another one with the same name does not revive them. Without
    a role they are from GetSessionToken, or with a `name` a federated user's. Without a user either, they are the
    account's root's.
    """

    access_key_id: str
    secret: str = field(repr=False)
    token: str = field(repr=False)
    role: str | None
    role_id: str | None
    name: str
    created: datetime
    expires: datetime
    policies: tuple[str, ...] = ()
    instance_id: str | None = None
    user_id: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    transitive: tuple[str, ...] = ()
    delivery: str = ""
    source_identity: str | None = None
    mfa: datetime | None = None
    federation: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class ServiceCredential:
    """A user's name for one service (`codecommit.amazonaws.com`); its password is not kept."""

    id: str
    user_id: str
    service: str
    service_user: str
    created: datetime
    active: bool = True


@dataclass(frozen=True)
class OidcProvider:
    """An issuer of ID tokens that roles may trust. `url` is the issuer's without its scheme, to the letter."""

    arn: str
    url: str
    created: datetime
    client_ids: tuple[str, ...] = ()
    thumbprints: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class IssuerKeys:
    """The keys that an issuer signs with, as the cloud's owner gave them: a JSON Web Key Set."""

    url: str
    document: str
    given: datetime


@dataclass(frozen=True)
class MfaDevice:
    """A virtual device, by its ARN. `last_step` is the time step of its last accepted code. Since then `wrong` codes in
    a row were refused, the last one at `tried`."""

    serial: str
    seed: str = field(repr=False)
    created: datetime
    user_id: str | None = None
    enabled: datetime | None = None
    last_step: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    wrong: int = 0
    tried: datetime | None = None


@dataclass(frozen=True)
class LoginProfile:
    """A user's password as salt and digest, from which it cannot be read: in `password`; earlier ones in `earlier`."""

    user: str
    created: datetime
    changed: datetime
    password: str = field(repr=False)
    earlier: tuple[str, ...] = field(default=(), repr=False)
    reset_required: bool = False


@dataclass(frozen=True)
class Role:
    """`used` is when a session of the role last made a request, give or take some minutes."""

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
    used: datetime | None = None
    used_region: str | None = None

    def in_session(
        self, session: str, *, account: str, region: str, source_ip: str, request_id: str, now: datetime
    ) -> Caller:
        """The caller in a role session that is made for one request and has no keys."""
        return Caller(
            kind="role",
            account=account,
            region=region,
            arn=assumed_arn(account, self.name, session),
            user_id=f"{self.id}:{session}",
            access_key_id="",
            source_ip=source_ip,
            request_id=request_id,
            role=self.name,
            issued=now,
        )


@dataclass(frozen=True)
class User:
    """`groups` are the names of the groups that the user is in."""

    name: str
    id: str
    arn: str
    path: str
    created: datetime
    permissions_boundary: str | None = None
    inline: dict[str, str] = field(default_factory=dict)
    attached: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    name: str
    id: str
    arn: str
    path: str
    created: datetime
    inline: dict[str, str] = field(default_factory=dict)
    attached: tuple[str, ...] = ()


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

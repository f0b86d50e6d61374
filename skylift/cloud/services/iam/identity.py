"""Identifies the caller: keys and temporary credentials, and how each service refuses others.

A role's credentials carry no rights of their own: policies are read per request, so that whatever is done to the
role has effect at once.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NotRequired, TypedDict

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import AccessKey, Caller, Role, Session, Signature, User, assumed_arn
from skylift.cloud.services.api.instance_role import instance_role
from skylift.cloud.services.api.trust import trust_in_service
from skylift.cloud.state.home import RootKey
from skylift.cloud.store.database import Tx
from skylift.cloud.store.identity import forget_sessions, newest_session

INSTANCE_SESSION = timedelta(hours=6)
RENEWED_BEFORE = timedelta(hours=1)
REMEMBERED = timedelta(days=1)
"""Expired credentials are still known as such for this long."""
NOTED_EVERY = timedelta(minutes=1)
"""The last use of a key is recorded this often: recording each use would make every request a write."""

_KEY_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


class Circumstances(TypedDict):
    """The fields of a Caller of any kind: from the request, and from the temporary credentials that signed it."""

    account: str
    region: str
    source_ip: str
    request_id: str
    secure: NotRequired[bool]
    user_agent: NotRequired[str]
    referer: NotRequired[str]
    tls_version: NotRequired[str]
    signature: NotRequired[Signature | None]
    issued: NotRequired[datetime]
    mfa: NotRequired[datetime | None]


def secret_for(tx: Tx, access_key_id: str, session_token: str | None) -> str:
    """The secret that a request of these credentials must be signed with.

    Raises, in S3's words, which are the most detailed and which wire translates for the other services:
    InvalidAccessKeyId for a key that is unknown, inactive, of a role that is gone, or lacks its token; InvalidToken
    for a token that is wrong or not called for; ExpiredToken.
    """
    return _credential(tx, access_key_id, session_token).secret


def authenticate(
    tx: Tx,
    access_key_id: str | None,
    session_token: str | None,
    circumstances: Circumstances,
    *,
    service: str,
    unsigned: bool = False,
) -> Caller:
    """The caller whose signature has been verified. Raises as `secret_for`.

    A request without a signature is an anonymous caller's where it is to S3, whose buckets' policies may let him in, or
    for an `unsigned` operation; every other one is refused with MissingAuthenticationToken. IAM does not accept
    credentials of GetSessionToken that were made without an MFA device's code.
    """
    common = circumstances.copy()
    account, region = common["account"], common["region"]
    if access_key_id is None:
        if unsigned or service == "s3":
            return Caller(kind="anonymous", arn="anonymous", user_id="anonymous", access_key_id="", **common)
        raise ServiceError("MissingAuthenticationToken", "Request is missing Authentication Token", status=403)
    found = _credential(tx, access_key_id, session_token)
    if isinstance(found, AccessKey):
        if found.user is None:
            return _root(found.id, common)
        return _user(found.id, tx.get(User, name=found.user), common)
    common["issued"] = found.created
    common["mfa"] = found.mfa
    if found.role is None and found.name:
        return _federated(tx, found, service, common)
    if found.role is None:
        if service == "iam" and found.mfa is None:
            raise _invalid_token()
        if found.user_id is None:
            return _root(found.access_key_id, common)
        return _user(found.access_key_id, tx.get(User, id=found.user_id), common)
    return Caller(
        kind="role",
        arn=assumed_arn(account, found.role, found.name),
        user_id=f"{found.role_id}:{found.name}",
        access_key_id=found.access_key_id,
        role=found.role,
        session_policies=found.policies,
        session_tags=found.tags,
        transitive=found.transitive,
        instance_arn=instance_arn(region, account, found.instance_id) if found.instance_id else None,
        role_delivery=found.delivery,
        source_identity=found.source_identity,
        federation=found.federation,
        **common,
    )


def use_is_news(tx: Tx, caller: Caller) -> bool:
    """Whether a request changes the record of the last use of its access key or role; `note_use` writes it."""
    used: AccessKey | Role | None = None
    if caller.kind == "user":
        used = tx.get(AccessKey, id=caller.access_key_id)
    elif caller.role is not None:
        used = tx.get(Role, name=caller.role)
    return used is not None and (used.used is None or tx.now - used.used >= NOTED_EVERY)


def note_use(tx: Tx, caller: Caller, service: str) -> None:
    role = tx.get(Role, name=caller.role) if caller.role is not None else None
    if role is not None:
        tx.save(replace(role, used=tx.now, used_region=caller.region))
        return
    key = tx.get(AccessKey, id=caller.access_key_id)
    if key is not None:
        tx.save(replace(key, used=tx.now, used_service=service, used_region=caller.region))


def make_user_key(tx: Tx, user: User) -> AccessKey:
    """A new access key of a user; its secret is shown this once only."""
    key = AccessKey(id=_key_id("AKIA"), secret=_secret(), user=user.name, created=tx.now)
    tx.add(key)
    return key


def make_root_key(tx: Tx) -> RootKey:
    """A new access key of the account's root. Keys made before stay valid."""
    key = AccessKey(id=_key_id("AKIA"), secret=_secret(), user=None, created=tx.now)
    tx.add(key)
    return RootKey(key.id, key.secret)


def open_session(
    tx: Tx,
    role: Role,
    name: str,
    length: timedelta,
    *,
    policies: tuple[str, ...] = (),
    instance_id: str | None = None,
    delivery: str = "",
    tags: dict[str, str] | None = None,
    transitive: tuple[str, ...] = (),
    source_identity: str | None = None,
    mfa: bool = False,
    federation: dict[str, tuple[str, ...]] | None = None,
) -> Session:
    """New temporary credentials for a role."""
    session = replace(
        _new_session(tx, length),
        role=role.name,
        role_id=role.id,
        name=name,
        policies=policies,
        instance_id=instance_id,
        delivery=delivery,
        tags=tags or {},
        transitive=transitive,
        source_identity=source_identity,
        mfa=tx.now if mfa else None,
        federation=federation or {},
    )
    tx.add(session)
    return session


def open_own_session(tx: Tx, user: User | None, length: timedelta, *, mfa: bool = False) -> Session:
    """New temporary credentials that stand for a user itself, or for the account's root."""
    session = replace(_new_session(tx, length), user_id=user.id if user else None, mfa=tx.now if mfa else None)
    tx.add(session)
    return session


def open_federated_session(
    tx: Tx, user: User | None, name: str, length: timedelta, policies: tuple[str, ...], tags: dict[str, str]
) -> Session:
    """New temporary credentials for a federated user, on behalf of a user or of the account's root."""
    session = replace(
        _new_session(tx, length), user_id=user.id if user else None, name=name, policies=policies, tags=tags
    )
    tx.add(session)
    return session


def instance_credentials(tx: Tx, instance_id: str, delivery: str) -> Session | None:
    """What the instance's metadata service hands out: the same until less than an hour is left, then new ones.

    `delivery` is the version of the service that was asked (`1.0`, `2.0`), which policies can insist on.
    None when the instance has no role. Raises AssumeRoleUnauthorizedAccess, the metadata service's own code, when the
    role does not trust EC2. Needs a write transaction.
    """
    role = instance_role(tx, instance_id)
    if role is None:
        return None
    if not trust_in_service(role, "ec2.amazonaws.com"):
        raise ServiceError(
            "AssumeRoleUnauthorizedAccess",
            f"EC2 cannot assume the role {role.name}. Its trust policy has to allow ec2.amazonaws.com sts:AssumeRole.",
        )
    session = newest_session(tx, instance_id, role.id, delivery)
    if session is not None and session.expires - tx.now >= RENEWED_BEFORE:
        return session
    return open_session(tx, role, instance_id, INSTANCE_SESSION, instance_id=instance_id, delivery=delivery)


def federated_arn(account: str, name: str) -> str:
    return f"arn:aws:sts::{account}:federated-user/{name}"


def instance_arn(region: str, account: str, instance_id: str) -> str:
    return f"arn:aws:ec2:{region}:{account}:instance/{instance_id}"


def _credential(tx: Tx, access_key_id: str, session_token: str | None) -> AccessKey | Session:
    key = tx.get(AccessKey, id=access_key_id)
    if key is not None and key.active:
        if session_token is not None:
            raise _invalid_token()
        if key.user is not None and tx.get(User, name=key.user) is None:
            raise _unknown()
        return key
    session = tx.get(Session, access_key_id=access_key_id)
    if session is None or session_token is None:
        raise _unknown()
    if not hmac.compare_digest(session.token.encode(), session_token.encode()):
        raise _invalid_token()
    if session.expires <= tx.now:
        raise ServiceError("ExpiredToken", "The provided token has expired.")
    if session.role is not None:
        role = tx.get(Role, name=session.role)
        if role is None or role.id != session.role_id:
            raise _unknown()
    # By id: a user may have been renamed since.
    elif session.user_id is not None and tx.get(User, id=session.user_id) is None:
        raise _unknown()
    return session


def _root(access_key_id: str, common: Circumstances) -> Caller:
    account = common["account"]
    arn = f"arn:aws:iam::{account}:root"
    return Caller(kind="root", arn=arn, user_id=account, access_key_id=access_key_id, **common)


def _user(access_key_id: str, user: User | None, common: Circumstances) -> Caller:
    if user is None:
        raise _unknown()
    return Caller(kind="user", arn=user.arn, user_id=user.id, user=user.name, access_key_id=access_key_id, **common)


def _federated(tx: Tx, session: Session, service: str, common: Circumstances) -> Caller:
    """To IAM such credentials are none."""
    federator = tx.get(User, id=session.user_id) if session.user_id is not None else None
    if service == "iam":
        raise _invalid_token()
    return Caller(
        kind="federated",
        arn=federated_arn(common["account"], session.name),
        user_id=f"{common['account']}:{session.name}",
        access_key_id=session.access_key_id,
        session_policies=session.policies,
        session_tags=session.tags,
        federator=federator.name if federator else None,
        **common,
    )


def _new_session(tx: Tx, length: timedelta) -> Session:
    forget_sessions(tx, tx.now - REMEMBERED)
    return Session(
        access_key_id=_key_id("ASIA"),
        secret=_secret(),
        token=secrets.token_urlsafe(256),
        role=None,
        role_id=None,
        name="",
        created=tx.now,
        # Answers have whole seconds, and the credentials end when the answer says.
        expires=(tx.now + length).replace(microsecond=0),
    )


def _unknown() -> ServiceError:
    return ServiceError("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")


def _invalid_token() -> ServiceError:
    return ServiceError("InvalidToken", "The provided token is malformed or otherwise invalid.")


def _key_id(prefix: str) -> str:
    return prefix + "".join(secrets.choice(_KEY_ALPHABET) for _ in range(16))


def _secret() -> str:
    """40 characters, as AWS's are."""
    return secrets.token_urlsafe(30)

"""Who is calling: keys and temporary credentials, and what each service says of those that are none.

A role's credentials carry no rights of their own: policies are read per request, so that whatever is done to the
role has effect at once.
"""

from __future__ import annotations

import hmac
import secrets
from datetime import timedelta
from typing import Any

from skylift.cloud.error import ServiceError
from skylift.cloud.home import RootKey
from skylift.cloud.identity import AccessKey, Caller, InstanceProfile, Role, Session
from skylift.cloud.instance import Instance
from skylift.cloud.services.trust import trust_in_service
from skylift.cloud.store.database import Tx
from skylift.cloud.store.identity import forget_sessions, newest_session

INSTANCE_SESSION = timedelta(hours=6)
RENEWED_BEFORE = timedelta(hours=1)
REMEMBERED = timedelta(days=1)
"""How long credentials that have expired are still known as such."""

_KEY_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


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
    *,
    service: str,
    source_ip: str,
    request_id: str,
    account: str,
    region: str,
    secure: bool = False,
) -> Caller:
    """The caller whose signature has been verified. Raises as `secret_for`.

    A request that nobody signed is refused as `service` does: AccessDenied of S3, else MissingAuthenticationToken.
    """
    if access_key_id is None:
        if service == "s3":
            raise ServiceError("AccessDenied", "Access Denied", status=403)
        raise ServiceError("MissingAuthenticationToken", "Request is missing Authentication Token", status=403)
    found = _credential(tx, access_key_id, session_token)
    common: dict[str, Any] = {
        "account": account,
        "region": region,
        "source_ip": source_ip,
        "request_id": request_id,
        "secure": secure,
    }
    if isinstance(found, AccessKey):
        root = f"arn:aws:iam::{account}:root"
        return Caller(kind="root", arn=root, user_id=account, access_key_id=found.id, **common)
    return Caller(
        kind="role",
        arn=assumed_arn(account, found.role, found.name),
        user_id=f"{found.role_id}:{found.name}",
        access_key_id=found.access_key_id,
        role=found.role,
        session_policies=found.policies,
        instance_arn=instance_arn(region, account, found.instance_id) if found.instance_id else None,
        **common,
    )


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
) -> Session:
    """New temporary credentials for a role."""
    forget_sessions(tx, tx.now - REMEMBERED)
    session = Session(
        access_key_id=_key_id("ASIA"),
        secret=_secret(),
        token=secrets.token_urlsafe(256),
        role=role.name,
        role_id=role.id,
        name=name,
        created=tx.now,
        # Answers have whole seconds, and the credentials end when the answer says.
        expires=(tx.now + length).replace(microsecond=0),
        policies=policies,
        instance_id=instance_id,
    )
    tx.add(session)
    return session


def instance_role(tx: Tx, instance_id: str) -> Role | None:
    """The role in the profile of an instance; None without a profile, or with an empty one."""
    instance = tx.get(Instance, id=instance_id)
    if instance is None or instance.profile_arn is None:
        return None
    profile = tx.get(InstanceProfile, arn=instance.profile_arn)
    return tx.get(Role, name=profile.role) if profile and profile.role else None


def instance_credentials(tx: Tx, instance_id: str) -> Session | None:
    """What the instance's metadata service hands out: the same until less than an hour is left, then new ones.

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
    session = newest_session(tx, instance_id, role.id)
    if session is not None and session.expires - tx.now >= RENEWED_BEFORE:
        return session
    return open_session(tx, role, instance_id, INSTANCE_SESSION, instance_id=instance_id)


def assumed_arn(account: str, role: str, session: str) -> str:
    return f"arn:aws:sts::{account}:assumed-role/{role}/{session}"


def instance_arn(region: str, account: str, instance_id: str) -> str:
    return f"arn:aws:ec2:{region}:{account}:instance/{instance_id}"


def _credential(tx: Tx, access_key_id: str, session_token: str | None) -> AccessKey | Session:
    key = tx.get(AccessKey, id=access_key_id)
    if key is not None and key.active:
        if session_token is not None:
            raise _invalid_token()
        return key
    session = tx.get(Session, access_key_id=access_key_id)
    if session is None or session_token is None:
        raise _unknown()
    if not hmac.compare_digest(session.token.encode(), session_token.encode()):
        raise _invalid_token()
    if session.expires <= tx.now:
        raise ServiceError("ExpiredToken", "The provided token has expired.")
    role = tx.get(Role, name=session.role)
    if role is None or role.id != session.role_id:
        raise _unknown()
    return session


def _unknown() -> ServiceError:
    return ServiceError("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")


def _invalid_token() -> ServiceError:
    return ServiceError("InvalidToken", "The provided token is malformed or otherwise invalid.")


def _key_id(prefix: str) -> str:
    return prefix + "".join(secrets.choice(_KEY_ALPHABET) for _ in range(16))


def _secret() -> str:
    """40 characters, as AWS's are."""
    return secrets.token_urlsafe(30)

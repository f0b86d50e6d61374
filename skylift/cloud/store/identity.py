"""Where identities and policies are kept, and the questions about them that need SQL."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

from skylift.cloud.domain import identity
from skylift.cloud.domain.bucket import BucketPolicy
from skylift.cloud.domain.vpc_endpoint import VpcEndpoint
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import mapped, table, to_column

table(identity.AccessKey, "access_keys", key=("id",))
table(identity.Session, "sessions", key=("access_key_id",))
table(identity.LoginProfile, "login_profiles", key=("user",))
table(identity.MfaDevice, "mfa_devices", key=("serial",))
table(identity.ServiceCredential, "service_credentials", key=("id",))
table(identity.OidcProvider, "oidc_providers", key=("arn",))
table(identity.IssuerKeys, "issuer_keys", key=("url",))
table(identity.Role, "roles", key=("name",))
table(identity.InstanceProfile, "instance_profiles", key=("name",))
table(identity.ManagedPolicy, "managed_policies", key=("arn",))
table(identity.User, "users", key=("name",))
table(identity.Group, "user_groups", key=("name",))

T = TypeVar("T", identity.Role, identity.InstanceProfile, identity.ManagedPolicy, identity.User, identity.Group)
Holder = TypeVar("Holder", identity.Role, identity.User, identity.Group)


def under_path(tx: Tx, noun: type[T], path: str, after: str, limit: int) -> list[T]:
    """Up to `limit` whose path begins with `path`, by name, from the first name greater than `after`."""
    return tx.select(
        noun, "WHERE name > ? AND substr(path, 1, ?) = ? ORDER BY name LIMIT ?", after, len(path), path, limit
    )


def name_taken(tx: Tx, noun: type[T], name: str) -> bool:
    """Whether a row has this name, in any case."""
    return bool(tx.select(noun, "WHERE name = ? COLLATE NOCASE", name))


def attachments(tx: Tx) -> dict[str, int]:
    """How many roles, users and groups each managed policy is attached to, by the policy's ARN."""
    rows = tx.execute(
        "SELECT value, count(*) FROM (SELECT attached FROM roles UNION ALL SELECT attached FROM users"
        " UNION ALL SELECT attached FROM user_groups) AS holders, json_each(holders.attached) GROUP BY value"
    )
    return dict(rows.fetchall())


def boundaries(tx: Tx) -> dict[str, int]:
    """How many roles and users each managed policy bounds, by the policy's ARN."""
    rows = tx.execute(
        "SELECT permissions_boundary, count(*) FROM (SELECT permissions_boundary FROM roles"
        " UNION ALL SELECT permissions_boundary FROM users) WHERE permissions_boundary IS NOT NULL GROUP BY 1"
    )
    return dict(rows.fetchall())


def holders(tx: Tx, noun: type[Holder], policy_arn: str, *, attached: bool, bounded: bool) -> list[Holder]:
    """Roles, users or groups that use a managed policy in one of the ways asked for, by name."""
    has_it = f"EXISTS (SELECT 1 FROM json_each({mapped(noun).name}.attached) WHERE value = ?)"  # noqa: S608 - a name of ours
    if noun is identity.Group:
        return tx.select(noun, f"WHERE ? AND {has_it} ORDER BY name", attached, policy_arn)
    return tx.select(
        noun,
        f"WHERE (? AND {has_it}) OR (? AND permissions_boundary = ?) ORDER BY name",
        attached,
        policy_arn,
        bounded,
        policy_arn,
    )


def members(tx: Tx, group: str) -> list[identity.User]:
    """The users in a group, by name."""
    return tx.select(
        identity.User, "WHERE EXISTS (SELECT 1 FROM json_each(users.groups) WHERE value = ?) ORDER BY name", group
    )


def versions_in_use(tx: Tx) -> int:
    """How many versions the customer's managed policies have together."""
    row = tx.execute("SELECT count(*) FROM managed_policies, json_each(managed_policies.versions)").fetchone()
    return int(row[0])


def newest_session(tx: Tx, instance_id: str, role_id: str, delivery: str) -> identity.Session | None:
    """The session that this version of an instance's metadata service made last for this role."""
    found = tx.select(
        identity.Session,
        "WHERE instance_id = ? AND role_id = ? AND delivery = ? ORDER BY expires DESC LIMIT 1",
        instance_id,
        role_id,
        delivery,
    )
    return found[0] if found else None


def forget_sessions(tx: Tx, expired_before: datetime) -> None:
    """Some of them: each new session has others forgotten."""
    tx.forget(identity.Session, "expires < ?", to_column(expired_before))


def trust_policies_with(tx: Tx, name: str) -> list[identity.Role]:
    """The roles whose trust policy may contain this text. JSON can also spell it with escapes, so these match, too."""
    return tx.select(identity.Role, r"WHERE instr(trust_policy, ?) OR instr(trust_policy, '\u')", name)


def bucket_policies_with(tx: Tx, name: str) -> list[BucketPolicy]:
    return tx.select(BucketPolicy, r"WHERE instr(document, ?) OR instr(document, '\u')", name)


def endpoints_with(tx: Tx, name: str) -> list[VpcEndpoint]:
    return tx.select(VpcEndpoint, r"WHERE instr(policy, ?) OR instr(policy, '\u')", name)

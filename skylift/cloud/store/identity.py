"""Where identities and policies are kept, and the questions about them that need SQL."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

from skylift.cloud.identity import AccessKey, InstanceProfile, ManagedPolicy, Role, Session
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import table, to_column

table(AccessKey, "access_keys", key=("id",))
table(Session, "sessions", key=("access_key_id",))
table(Role, "roles", key=("name",))
table(InstanceProfile, "instance_profiles", key=("name",))
table(ManagedPolicy, "managed_policies", key=("arn",))

T = TypeVar("T", Role, InstanceProfile, ManagedPolicy)


def under_path(tx: Tx, noun: type[T], path: str, after: str, limit: int) -> list[T]:
    """Up to `limit` whose path begins with `path`, by name, from the first name greater than `after`."""
    return tx.select(
        noun, "WHERE name > ? AND substr(path, 1, ?) = ? ORDER BY name LIMIT ?", after, len(path), path, limit
    )


def count(tx: Tx, noun: type[T]) -> int:
    names = {Role: "roles", InstanceProfile: "instance_profiles", ManagedPolicy: "managed_policies"}
    row = tx.execute(f"SELECT count(*) FROM {names[noun]}").fetchone()  # noqa: S608 - a name of ours
    return int(row[0])


def name_taken(tx: Tx, noun: type[T], name: str) -> bool:
    """Whether there is one whose name differs by case at most."""
    return bool(tx.select(noun, "WHERE name = ? COLLATE NOCASE", name))


def attachments(tx: Tx) -> dict[str, int]:
    """How many roles each managed policy is attached to, by the policy's ARN."""
    rows = tx.execute("SELECT value, count(*) FROM roles, json_each(roles.attached) GROUP BY value")
    return dict(rows.fetchall())


def boundaries(tx: Tx) -> dict[str, int]:
    """How many roles each managed policy bounds, by the policy's ARN."""
    rows = tx.execute(
        "SELECT permissions_boundary, count(*) FROM roles WHERE permissions_boundary IS NOT NULL GROUP BY 1"
    )
    return dict(rows.fetchall())


def roles_with(tx: Tx, policy_arn: str, *, attached: bool, bounded: bool) -> list[Role]:
    """Roles that use a managed policy in one of the ways asked for, by name."""
    return tx.select(
        Role,
        "WHERE (? AND EXISTS (SELECT 1 FROM json_each(roles.attached) WHERE value = ?))"
        " OR (? AND permissions_boundary = ?) ORDER BY name",
        attached,
        policy_arn,
        bounded,
        policy_arn,
    )


def newest_session(tx: Tx, instance_id: str, role_id: str) -> Session | None:
    """The session that an instance's metadata service made last for this role."""
    found = tx.select(
        Session,
        "WHERE instance_id = ? AND role_id = ? ORDER BY expires DESC LIMIT 1",
        instance_id,
        role_id,
    )
    return found[0] if found else None


def forget_sessions(tx: Tx, expired_before: datetime) -> None:
    tx.execute("DELETE FROM sessions WHERE expires < ?", to_column(expired_before))

"""The role of a server, which its programs call AWS with."""

from __future__ import annotations

from skylift.cloud.domain.identity import InstanceProfile, Role
from skylift.cloud.domain.instance import Instance
from skylift.cloud.store.database import Tx


def instance_role(tx: Tx, instance_id: str) -> Role | None:
    """The role in the profile of an instance; None without a profile, or with an empty one."""
    instance = tx.get(Instance, id=instance_id)
    if instance is None or instance.profile_arn is None:
        return None
    # One made again under the old name is another: an instance keeps the one that it was given.
    profile = tx.get(InstanceProfile, arn=instance.profile_arn, id=instance.profile_id)
    return tx.get(Role, name=profile.role) if profile and profile.role else None

"""The instance profile that a request names."""

from __future__ import annotations

from skylift.cloud.domain.identity import InstanceProfile
from skylift.cloud.domain.launch_request import ProfileName
from skylift.cloud.services.api.refusal import combination, invalid, invalid_value
from skylift.cloud.store.database import Tx


def find_profile(tx: Tx, asked: ProfileName | None) -> InstanceProfile | None:
    """The instance profile that a request names, by name or by ARN."""
    if asked is None:
        return None
    if asked.name and asked.arn:
        raise combination(
            "The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'"
        )
    if asked.name:
        return tx.get(InstanceProfile, name=asked.name)
    return tx.get(InstanceProfile, arn=asked.arn) if asked.arn else None


def wanted_profile(tx: Tx, asked: ProfileName | None) -> InstanceProfile | None:
    """Like `find_profile`, but raises if the profile does not exist or has no role."""
    found = find_profile(tx, asked)
    if found is not None and found.role is None:
        raise invalid(f'IAM Instance Profile "{found.arn}" has no associated IAM Roles')
    if found is None and asked is not None:
        field = "name" if asked.name else "arn"
        label = "name" if field == "name" else "ARN"
        raise invalid_value(
            asked.name or asked.arn, f"iamInstanceProfile.{field}", f"Invalid IAM Instance Profile {label}"
        )
    return found

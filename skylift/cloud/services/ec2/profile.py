"""The instance profile that a request names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import InstanceProfile
from skylift.cloud.services.api.refusal import combination, invalid, invalid_value
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2


def find_profile(tx: Tx, asked: ec2.IamInstanceProfileSpecification) -> InstanceProfile | None:
    """The instance profile that a request names, by name or by ARN."""
    if asked.get("Name") and asked.get("Arn"):
        raise combination(
            "The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'"
        )
    if asked.get("Name"):
        return tx.get(InstanceProfile, name=asked["Name"])
    return tx.get(InstanceProfile, arn=asked["Arn"]) if asked.get("Arn") else None


def wanted_profile(tx: Tx, asked: ec2.IamInstanceProfileSpecification) -> InstanceProfile | None:
    """As `find_profile`; raises where it is not there or has no role to give."""
    found = find_profile(tx, asked)
    if found is not None and found.role is None:
        raise invalid(f'IAM Instance Profile "{found.arn}" has no associated IAM Roles')
    if found is None and asked:
        field = "name" if asked.get("Name") else "arn"
        label = "name" if field == "name" else "ARN"
        raise invalid_value(
            asked.get("Name") or asked.get("Arn"),
            f"iamInstanceProfile.{field}",
            f"Invalid IAM Instance Profile {label}",
        )
    return found

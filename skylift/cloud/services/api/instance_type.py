"""An instance type by its name."""

from __future__ import annotations

from skylift.catalogue import InstanceType, types
from skylift.cloud.services.api.refusal import invalid


def instance_type(name: str) -> InstanceType:
    """The type of this name; raises InvalidParameterValue as RunInstances does."""
    found = types().get(name)
    if found is None:
        raise invalid(f"Invalid value '{name}' for InstanceType.")
    return found

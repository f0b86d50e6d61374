"""ModifyInstanceAttribute in its older spelling, `Attribute=disableApiStop` and `Value=true`, as the newer one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from skylift.cloud.services.api.refusal import combination, invalid_value, missing
from skylift.cloud.services.ec2.user_data import decoded

if TYPE_CHECKING:
    from aws_shapes import ec2


def as_structure(params: ec2.ModifyInstanceAttributeRequest) -> ec2.ModifyInstanceAttributeRequest:
    """The same request with `DisableApiStop={"Value": True}` in the place of the two."""
    if "Attribute" not in params and "Value" not in params:
        return params
    name, value = params.get("Attribute"), params.get("Value")
    if not name:
        raise missing("attribute")
    if name not in _VALUES:
        raise invalid_value(name, "attribute", "It cannot be given with a value.")
    if value is None:
        raise missing("value")
    member = name[0].upper() + name[1:]
    if member in params:
        raise combination(f"Fields for multiple attribute types specified: attribute, {name}")
    others = {key: given for key, given in params.items() if key not in ("Attribute", "Value")}
    return cast("ec2.ModifyInstanceAttributeRequest", {**others, member: {"Value": _VALUES[name](value)}})


def _switch(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise invalid_value(value, "value", "It has to be true or false.")
    return value.lower() == "true"


_VALUES: dict[str, Callable[[str], object]] = {
    "disableApiStop": _switch,
    "disableApiTermination": _switch,
    "ebsOptimized": _switch,
    "enaSupport": _switch,
    "instanceInitiatedShutdownBehavior": str,
    "instanceType": str,
    "sourceDestCheck": _switch,
    "userData": decoded,
}

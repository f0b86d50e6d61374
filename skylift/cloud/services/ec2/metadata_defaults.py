"""The options of an account's metadata services for launches that do not give them.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-options.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from skylift.cloud.domain.account import MetadataDefaults
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import MetadataOptions
from skylift.cloud.services.api.condition_key import of_change
from skylift.cloud.services.api.ec2_operation import reads, writes
from skylift.cloud.services.api.operation import Check, Params
from skylift.cloud.services.api.refusal import invalid_value, missing
from skylift.cloud.store.account import account_of, keep
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

NO_PREFERENCE = "no-preference"

_SWITCH = ("enabled", "disabled")
_CHOICES: dict[str, tuple[str, tuple[str, ...]]] = {
    "HttpTokens": ("tokens", ("optional", "required")),
    "HttpEndpoint": ("endpoint", _SWITCH),
    "InstanceMetadataTags": ("tags", _SWITCH),
    "HttpTokensEnforced": ("tokens_enforced", _SWITCH),
}
_HOPS = "HttpPutResponseHopLimit"


def get(tx: Tx, caller: Caller, _params: object) -> ec2.GetInstanceMetadataDefaultsResult:
    """An option without a preference is left out."""
    defaults = account_of(tx, caller.account).metadata
    return {
        "AccountLevel": {
            **({"HttpTokens": defaults.tokens} if defaults.tokens else {}),
            **({"HttpEndpoint": defaults.endpoint} if defaults.endpoint else {}),
            **({"HttpPutResponseHopLimit": defaults.hop_limit} if defaults.hop_limit else {}),
            **({"InstanceMetadataTags": defaults.tags} if defaults.tags else {}),
            **({"HttpTokensEnforced": defaults.tokens_enforced} if defaults.tokens_enforced else {}),
        }
    }


def modify(
    tx: Tx, caller: Caller, params: ec2.ModifyInstanceMetadataDefaultsRequest
) -> ec2.ModifyInstanceMetadataDefaultsResult:
    """Instances that are there already stay as they are."""
    given: Params = params
    asked = {name: given[name] for name in (*_CHOICES, _HOPS) if name in given}
    if not asked:
        raise missing("HttpTokens")
    account = account_of(tx, caller.account)
    changes = dict(_checked(name, value) for name, value in asked.items())
    keep(tx, replace(account, metadata=replace(account.metadata, **changes)))
    return {"Return": True}


def check_modify(_tx: Tx, _caller: Caller, params: ec2.ModifyInstanceMetadataDefaultsRequest) -> Iterator[Check]:
    yield Check("ec2:ModifyInstanceMetadataDefaults", "*", of_change(params))


def default_options(tx: Tx, account_id: str) -> MetadataOptions:
    """The options of a launch without any: the account's preferences, and else the image's."""
    defaults, own = account_of(tx, account_id).metadata, MetadataOptions()
    return MetadataOptions(
        tokens=defaults.tokens or own.tokens,
        endpoint=defaults.endpoint or own.endpoint,
        hop_limit=defaults.hop_limit or own.hop_limit,
        tags=defaults.tags or own.tags,
    )


def refuse_tokenless(tx: Tx, account_id: str, options: MetadataOptions) -> None:
    """Where the account insists on version 2, no instance comes to answer version 1 as well."""
    if options.tokens == "optional" and _enforced(account_of(tx, account_id).metadata):
        raise ServiceError(
            "UnsupportedOperation",
            "You can't launch or modify an instance with the HttpTokens metadata option set to optional: "
            "HttpTokensEnforced is enabled in the instance metadata defaults of this account.",
        )


def _enforced(defaults: MetadataDefaults) -> bool:
    return defaults.tokens_enforced == "enabled"


def _checked(name: str, value: Any) -> tuple[str, Any]:
    """The field of the defaults and what it becomes."""
    if name == _HOPS:
        if value != -1 and not 1 <= value <= 64:
            raise invalid_value(value, name, "It has to be between 1 and 64, or -1 for no preference.")
        return "hop_limit", None if value == -1 else value
    column, values = _CHOICES[name]
    if value not in (*values, NO_PREFERENCE):
        raise invalid_value(value, name, f"It has to be {' or '.join(values)} or {NO_PREFERENCE}.")
    return column, None if value == NO_PREFERENCE else value


OPERATIONS = (
    reads("GetInstanceMetadataDefaults", get, ""),
    writes(
        "ModifyInstanceMetadataDefaults",
        modify,
        "HttpTokens HttpPutResponseHopLimit HttpEndpoint InstanceMetadataTags HttpTokensEnforced",
        check_modify,
    ),
)

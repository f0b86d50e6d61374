"""What ends with instances that are terminated, and what stays."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, Protocol

from skylift.client.errors import SkyliftError
from skylift.console.call import Call

_MOST_NAMED = 12
"""The most volumes that a question names one by one."""
_AT_ONCE = 200
"""The most volumes that one call asks about."""


class Calls(Protocol):
    """The port's calls. Both raise SkyliftError."""

    def perform(self, call: Call) -> Any: ...

    def pages(self, call: Call, key: str) -> list[Any]: ...


def ends_with(port: Calls, instances: Sequence[str]) -> list[str]:
    """What is deleted with these instances, and what stays and costs, in words. Who may terminate instances may not see
    all of that: what could not be looked up is said instead. Raises SkyliftError for themselves."""
    reservations = port.pages(Call("ec2", "describe_instances", {"InstanceIds": list(instances)}), "Reservations")
    found = [each for reservation in reservations for each in reservation["Instances"]]
    volumes = {volume: mapping for each in found for volume, mapping in mapped(each).items()}
    return [*_volumes_end(port, volumes), *_addresses_kept(port, {each["InstanceId"] for each in found})]


def mapped(described: Any) -> dict[str, Any]:
    """How an instance has its volumes, by their ids."""
    return {each["Ebs"]["VolumeId"]: each for each in described.get("BlockDeviceMappings", []) if "Ebs" in each}


def goes(mapping: Any) -> bool:
    """Whether the volume is deleted with the instance."""
    return bool(mapping["Ebs"].get("DeleteOnTermination"))


def describe_volumes(port: Calls, volumes: Sequence[str]) -> list[Any]:
    parts = [list(volumes[at : at + _AT_ONCE]) for at in range(0, len(volumes), _AT_ONCE)]
    return [
        each for part in parts for each in port.pages(Call("ec2", "describe_volumes", {"VolumeIds": part}), "Volumes")
    ]


def _volumes_end(port: Calls, volumes: Mapping[str, Any]) -> list[str]:
    lines = []
    try:
        described = {each["VolumeId"]: each for each in describe_volumes(port, sorted(volumes))}
    except SkyliftError as error:
        described = dict.fromkeys(volumes)
        lines.append(f"How large its volumes are could not be looked up. {error.message}")
    # One that is gone by now is no longer among them.
    going = [each for each in described if goes(volumes[each])]
    if len(going) > _MOST_NAMED:
        size = sum(int(described[each]["Size"]) for each in going if described[each])
        lines.append(f"{len(going)} volumes are deleted with them{f', {size} GiB in all' if size else ''}.")
    else:
        lines += [f"{_spell_volume(each, described[each])} is deleted with it." for each in going]
    staying = [each for each in described if not goes(volumes[each])]
    return [*lines, *(f"{_spell_volume(each, described[each])} stays, and costs." for each in staying)]


def _addresses_kept(port: Calls, instances: Container[str]) -> list[str]:
    try:
        addresses = port.perform(Call("ec2", "describe_addresses", {}))["Addresses"]
    except SkyliftError as error:
        return [f"Whether an Elastic IP stays, and costs, could not be looked up. {error.message}"]
    return [
        f"{each['PublicIp']} stays yours, and costs: release it among Elastic IPs."
        for each in addresses
        if each.get("InstanceId") in instances
    ]


def _spell_volume(volume: str, described: Any) -> str:
    return f"{volume} ({described['Size']} GiB {described.get('VolumeType', '')})" if described else volume

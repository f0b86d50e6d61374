"""For a program that ran out of memory: the next larger instance type."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from skylift.client.errors import Refused, Unreachable
from skylift.client.job.outcome import Outcome
from skylift.client.remote.api import Api
from skylift.client.text.size import spell_size
from skylift.contract.states import State


def name_bigger_type(api: Api, outcome: Outcome, instance_type: str) -> Outcome:
    """The same outcome. When the program ran out of memory, its reason names the next larger type, if EC2 lists one."""
    if outcome.state != State.OUT_OF_MEMORY:
        return outcome
    try:
        found = next_bigger(api, instance_type)
    except (Refused, Unreachable):
        return outcome
    if found is None:
        advice = f"{instance_type} is the largest of its family."
    else:
        name, memory = found
        advice = f"The next larger type is {name}, with {spell_size(memory)} (--type {name})."
    return replace(outcome, reason=f"{outcome.reason} {advice}")


def next_bigger(api: Api, instance_type: str) -> tuple[str, int] | None:
    """The type of the same family with the next larger memory, and that memory in bytes. None for the largest."""
    family = instance_type.partition(".")[0]
    filters = [{"Name": "instance-type", "Values": [f"{family}.*"]}]
    kinds = api.pages("ec2", "describe_instance_types", "InstanceTypes", Filters=filters)
    memory = {str(kind["InstanceType"]): _memory(kind) for kind in kinds if not kind.get("BareMetal")}
    larger = [(size, name) for name, size in memory.items() if size > memory.get(instance_type, 0)]
    if not larger:
        return None
    size, name = min(larger)
    return name, size


def _memory(kind: dict[str, Any]) -> int:
    return int(kind["MemoryInfo"]["SizeInMiB"]) << 20

"""The types in `types.csv`: a row for each, below lines that name the source and the columns."""

from __future__ import annotations

from functools import cache
from typing import Any

from skylift.catalogue.folder import FOLDERS, TYPES
from skylift.catalogue.instance_type import Accelerators, InstanceStore, InstanceType
from skylift.catalogue.source import Source

COLUMNS = (
    "name",
    "vcpus",
    "cores",
    "memory_mib",
    "architectures",
    "clock_ghz",
    "manufacturer",
    "network",
    "baseline_gbps",
    "peak_gbps",
    "disks",
    "accelerators",
    "hypervisor",
    "interfaces",
    "addresses",
    "flags",
)
FLAGS = ("burstable", "free_tier", "current", "bare_metal", "spot", "dedicated_hosts")


@cache
def types() -> dict[str, InstanceType]:
    """Every instance type there is, by name."""
    return _read()[1]


def types_source() -> Source:
    return _read()[0]


@cache
def _read() -> tuple[Source, dict[str, InstanceType]]:
    found = FOLDERS.read(TYPES, _parse)
    assert found is not None, "the package has them"
    return found


def _parse(rows: list[list[str]]) -> tuple[Source, dict[str, InstanceType]]:
    head = 2
    if len(rows) < head or len(rows[0]) != head or tuple(rows[1]) != COLUMNS:
        raise ValueError("its head is another one")
    if any(len(row) != len(COLUMNS) or len(row[-1]) != len(FLAGS) for row in rows[head:]):
        raise ValueError("a row is cut off")
    return Source(*rows[0]), {row[0]: _type(*row) for row in rows[head:]}


FOLDERS.when_forgotten(types.cache_clear, _read.cache_clear)


def _type(
    name: str,
    vcpus: str,
    cores: str,
    memory_mib: str,
    architectures: str,
    clock_ghz: str,
    manufacturer: str,
    network: str,
    baseline_gbps: str,
    peak_gbps: str,
    disks: str,
    accelerators: str,
    hypervisor: Any,
    interfaces: str,
    addresses: str,
    flags: str,
) -> InstanceType:
    """By position: 1,400 rows are read by commands that have 0.3 s in all."""
    return InstanceType(
        name,
        int(vcpus),
        int(cores),
        int(memory_mib),
        tuple(architectures.split(" ")),
        float(clock_ghz) if clock_ghz else None,
        manufacturer,
        network,
        float(baseline_gbps),
        float(peak_gbps),
        _disks(disks) if disks else None,
        _accelerators(accelerators) if accelerators else None,
        hypervisor or None,
        int(interfaces),
        int(addresses),
        *(flag == "y" for flag in flags),
    )


def _disks(text: str) -> InstanceStore:
    count, size, kind = text.split(" ")
    assert kind in ("hdd", "ssd")
    return InstanceStore(int(count), int(size), "ssd" if kind == "ssd" else "hdd")


def _accelerators(text: str) -> Accelerators:
    count, memory, kind, manufacturer, name = text.split(" ", 4)
    known: Any = kind
    return Accelerators(int(count), name, manufacturer, int(memory), known)

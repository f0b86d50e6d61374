"""Volume types: how large and how fast each may be.

The figures are AWS's; the speed is that of the host's disk, whatever the type.
https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html
"""

from __future__ import annotations

from dataclasses import dataclass

from skylift.cloud.services.api.refusal import combination, invalid, invalid_value, missing

Speed = tuple[int | None, int | None]
"""IOPS and throughput; None if the type shows none."""


@dataclass(frozen=True)
class VolumeType:
    """`iops` are the bounds of what may be asked for, `a_gib` how many of them a GiB carries at most."""

    least_gib: int
    most_gib: int
    iops: tuple[int, int] | None = None
    a_gib: int = 0
    default_iops: int | None = None
    throughput: tuple[int, int] | None = None


TYPES = {
    "gp3": VolumeType(1, 65536, (3000, 80000), 500, 3000, (125, 2000)),
    "gp2": VolumeType(1, 16384),
    "io1": VolumeType(4, 16384, (100, 64000), 50),
    "io2": VolumeType(4, 65536, (100, 256000), 1000),
    "st1": VolumeType(125, 16384),
    "sc1": VolumeType(125, 16384),
    "standard": VolumeType(1, 1024),
}


def volume_type(name: str) -> VolumeType:
    if name not in TYPES:
        raise invalid_value(name, "volumeType", f"It has to be one of {', '.join(TYPES)}.")
    return TYPES[name]


def refuse_size(name: str, size: int) -> None:
    kind = volume_type(name)
    if size < kind.least_gib:
        raise invalid(f"Volume of {size}GiB is too small for volume type {name}; minimum is {kind.least_gib}GiB.")
    if size > kind.most_gib:
        raise invalid(f"Volume of {size}GiB is too large for volume type {name}; maximum is {kind.most_gib}GiB.")


def speed(name: str, size: int, iops: int | None, throughput: int | None) -> Speed:
    """The performance figures of a volume of this type and size; raises if there is no such volume."""
    kind = volume_type(name)
    return _iops(name, kind, size, iops), _throughput(name, kind, iops, throughput)


def _iops(name: str, kind: VolumeType, size: int, asked: int | None) -> int | None:
    if kind.iops is None:
        if asked is not None:
            raise combination(f"The parameter iops is not supported for {name} volumes.")
        return min(max(100, 3 * size), 16000) if name == "gp2" else None
    if asked is None and kind.default_iops is None:
        raise missing("iops")
    iops = kind.default_iops if asked is None else asked
    assert iops is not None
    least, most = kind.iops
    if not least <= iops <= most:
        raise invalid(f"Volume iops of {iops} is out of bounds for volume type {name}: {least} to {most}.")
    if iops > max(least, kind.a_gib * size):
        raise invalid(f"Iops to volume size ratio of {iops}/{size} is too high; maximum is {kind.a_gib} IOPS per GiB.")
    return iops


def _throughput(name: str, kind: VolumeType, iops: int | None, asked: int | None) -> int | None:
    if kind.throughput is None:
        if asked is not None:
            raise combination(f"The parameter throughput is not supported for {name} volumes.")
        return None
    least, most = kind.throughput
    throughput = least if asked is None else asked
    if not least <= throughput <= most:
        raise invalid(f"Volume throughput of {throughput} is out of bounds: {least} to {most} MiB/s.")
    if throughput * 4 > (iops or kind.default_iops or 0):
        raise invalid(f"Throughput to iops ratio of {throughput}/{iops} is too high; maximum is 0.25 MiB/s per IOPS.")
    return throughput

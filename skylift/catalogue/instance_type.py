"""The noun: an instance type as DescribeInstanceTypes describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Category = Literal[
    "general-purpose",
    "compute-optimized",
    "memory-optimized",
    "storage-optimized",
    "accelerated",
    "high-performance-computing",
]

_CATEGORIES: dict[str, Category] = {
    "a": "general-purpose",
    "m": "general-purpose",
    "mac": "general-purpose",
    "t": "general-purpose",
    "c": "compute-optimized",
    "cc": "compute-optimized",
    "cr": "memory-optimized",
    "r": "memory-optimized",
    "u": "memory-optimized",
    "x": "memory-optimized",
    "z": "memory-optimized",
    "d": "storage-optimized",
    "h": "storage-optimized",
    "hs": "storage-optimized",
    "i": "storage-optimized",
    "im": "storage-optimized",
    "is": "storage-optimized",
    "dl": "accelerated",
    "f": "accelerated",
    "g": "accelerated",
    "gr": "accelerated",
    "inf": "accelerated",
    "p": "accelerated",
    "trn": "accelerated",
    "vt": "accelerated",
    "hpc": "high-performance-computing",
}
"""What AWS sells a family as, by the letters before its generation."""


@dataclass(frozen=True, slots=True)
class InstanceStore:
    """Instance store: what is lost with the server. `size_gb` is that of one."""

    count: int
    size_gb: int
    kind: Literal["hdd", "ssd"]


@dataclass(frozen=True, slots=True)
class Accelerators:
    """`memory_mib` is that of one. A fraction of a GPU, which some types have, counts as the one that servers see."""

    count: int
    name: str
    manufacturer: str
    memory_mib: int
    kind: Literal["gpu", "neuron", "inference", "fpga", "media"]


@dataclass(frozen=True, slots=True)
class InstanceType:
    """Memory is in MiB, as DescribeInstanceTypes gives it; `addresses` are private ones of each network interface.

    `network` is AWS's own wording; the two figures beside it are what the type always has and what it may have for a
    while, of all its network cards together. Both are 0 where AWS gives words only.
    """

    name: str
    vcpus: int
    cores: int
    memory_mib: int
    architectures: tuple[str, ...]
    clock_ghz: float | None
    manufacturer: str
    network: str
    baseline_gbps: float
    peak_gbps: float
    disks: InstanceStore | None
    accelerators: Accelerators | None
    hypervisor: Literal["nitro", "xen"] | None
    interfaces: int
    addresses: int
    burstable: bool
    free_tier: bool
    current: bool
    bare_metal: bool
    spot: bool
    dedicated_hosts: bool

    @property
    def family(self) -> str:
        return self.name.partition(".")[0]

    @property
    def size(self) -> str:
        return self.name.partition(".")[2]

    @property
    def architecture(self) -> str:
        """The 64-bit one, which images are built for."""
        return self.architectures[-1]

    @property
    def category(self) -> Category:
        letters = self.family.split("-")[0]
        for digit in "0123456789":
            letters = letters.partition(digit)[0]
        return _CATEGORIES[letters]

    @property
    def gpus(self) -> int:
        return self.accelerators.count if self.accelerators and self.accelerators.kind == "gpu" else 0

    @property
    def has_nvme_disks(self) -> bool:
        """Whether its instance store is behind NVMe, as all but that of older types."""
        return self.disks is not None and (self.hypervisor != "xen" or self.family == "i3")

    @property
    def has_disks_unasked(self) -> bool:
        """Whether its instance store is there without a block device mapping that asks for it. An m3's may be.

        https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/add-instance-store-volumes.html
        """
        return self.has_nvme_disks or self.family == "m3"

    @property
    def disk_gb(self) -> int:
        """What it has of instance store in all."""
        return self.disks.count * self.disks.size_gb if self.disks else 0

from __future__ import annotations

import gzip
import importlib.resources
import json
import re

from skylift.catalogue import types


def test_figures_are_aws_s_own() -> None:
    """moto carries what DescribeInstanceTypes answers on AWS; what may change of a type from one day to the next is
    left out here, because another moto may be installed than the figures are from."""
    packed = importlib.resources.files("moto.ec2") / "resources" / "instance_types.json.gz"
    known = json.loads(gzip.decompress(packed.read_bytes()))
    both = [kind for kind in types().values() if kind.name in known]
    assert len(both) > 1000
    for kind in both:
        real = known[kind.name]
        assert kind.vcpus == real["VCpuInfo"]["DefaultVCpus"]
        assert kind.cores == real["VCpuInfo"]["DefaultCores"]
        assert kind.memory_mib == real["MemoryInfo"]["SizeInMiB"]
        assert list(kind.architectures) == real["ProcessorInfo"]["SupportedArchitectures"]
        assert kind.bare_metal == real["BareMetal"]
        assert kind.disk_gb == real.get("InstanceStorageInfo", {}).get("TotalSizeInGB", 0)


def test_all_families_of_t_but_the_first_are_burstable() -> None:
    """AWS has said so of T8i only some time after it had listed it."""
    assert [each.name for each in types().values() if each.burstable] == [
        name for name in types() if re.match(r"t[2-9]", name)
    ]


def test_there_are_types_of_every_kind() -> None:
    current = [kind for kind in types().values() if kind.current]
    assert len(current) > 300
    assert {kind.category for kind in current} == {
        "general-purpose",
        "compute-optimized",
        "memory-optimized",
        "storage-optimized",
        "accelerated",
        "high-performance-computing",
    }
    assert {kind.architecture for kind in current} >= {"x86_64", "arm64"}
    assert [kind.name for kind in current if kind.free_tier and kind.burstable][:2] == ["t3.micro", "t3.small"]


def test_what_a_type_says_of_itself() -> None:
    storage = types()["i3en.24xlarge"]
    assert storage.disks is not None
    assert (storage.disks.count, storage.disks.size_gb, storage.disks.kind) == (8, 7500, "ssd")
    assert (storage.disk_gb, storage.gpus, storage.accelerators) == (60000, 0, None)
    assert (storage.family, storage.size, storage.category) == ("i3en", "24xlarge", "storage-optimized")
    graphics = types()["g5.12xlarge"]
    assert graphics.accelerators is not None
    assert (graphics.gpus, graphics.accelerators.name, graphics.category) == (4, "A10G", "accelerated")
    chips = types()["inf2.48xlarge"]
    assert chips.accelerators is not None
    assert (chips.gpus, chips.accelerators.count, chips.accelerators.kind) == (0, 12, "neuron")
    small = types()["t3.nano"]
    assert (small.network, small.baseline_gbps, small.peak_gbps) == ("Up to 5 Gigabit", 0.032, 5)
    old = types()["t2.micro"]
    assert (old.architectures, old.architecture, old.hypervisor) == (("i386", "x86_64"), "x86_64", "xen")
    assert [types()[name].category for name in ("u7i-12tb.224xlarge", "m7i-flex.large", "hpc7g.4xlarge")] == [
        "memory-optimized",
        "general-purpose",
        "high-performance-computing",
    ]

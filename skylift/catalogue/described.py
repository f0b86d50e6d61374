"""An instance type from what DescribeInstanceTypes answers on AWS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skylift.catalogue.instance_type import Accelerators, InstanceStore, InstanceType

Item = Mapping[str, Any]


def from_description(item: Item) -> InstanceType:
    network, processor = item["NetworkInfo"], item["ProcessorInfo"]
    cards = network.get("NetworkCards", [])
    return InstanceType(
        name=item["InstanceType"],
        vcpus=item["VCpuInfo"]["DefaultVCpus"],
        cores=item["VCpuInfo"]["DefaultCores"],
        memory_mib=item["MemoryInfo"]["SizeInMiB"],
        architectures=tuple(processor["SupportedArchitectures"]),
        clock_ghz=processor.get("SustainedClockSpeedInGhz"),
        manufacturer=processor.get("Manufacturer", ""),
        network=network["NetworkPerformance"],
        baseline_gbps=sum(card.get("BaselineBandwidthInGbps", 0.0) for card in cards),
        peak_gbps=sum(card.get("PeakBandwidthInGbps", 0.0) for card in cards),
        disks=_disks(item),
        accelerators=_accelerators(item),
        hypervisor=item.get("Hypervisor"),
        interfaces=network["MaximumNetworkInterfaces"],
        addresses=network["Ipv4AddressesPerInterface"],
        burstable=item["BurstablePerformanceSupported"],
        free_tier=item["FreeTierEligible"],
        current=item["CurrentGeneration"],
        bare_metal=item["BareMetal"],
        spot="spot" in item["SupportedUsageClasses"],
        dedicated_hosts=item["DedicatedHostsSupported"],
    )


def _disks(item: Item) -> InstanceStore | None:
    """AWS describes one kind of disk for each type."""
    for disk in item.get("InstanceStorageInfo", {}).get("Disks", []):
        return InstanceStore(disk["Count"], disk["SizeInGB"], disk["Type"])
    return None


def _accelerators(item: Item) -> Accelerators | None:
    """Of the first kind that the type has: inf2's chips are said twice, as two kinds."""
    kinds: dict[Any, list[Item] | None] = {
        "gpu": item.get("GpuInfo", {}).get("Gpus"),
        "neuron": item.get("NeuronInfo", {}).get("NeuronDevices"),
        "inference": item.get("InferenceAcceleratorInfo", {}).get("Accelerators"),
        "fpga": item.get("FpgaInfo", {}).get("Fpgas"),
        "media": item.get("MediaAcceleratorInfo", {}).get("Accelerators"),
    }
    for kind, devices in kinds.items():
        for device in devices or []:
            return Accelerators(
                count=device.get("LogicalGpuCount", device["Count"]),
                name=device["Name"],
                manufacturer=device.get("Manufacturer", "AWS"),
                memory_mib=device.get("MemoryInfo", {}).get("SizeInMiB", 0),
                kind=kind,
            )
    return None

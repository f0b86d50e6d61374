"""Instance types: the catalogue, and what of each this cloud can do.

`instance_types.csv` has AWS's own figures. What DescribeInstanceTypes says beyond them is what holds here: one network
card, no instance store, no spot, no hibernation.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Any

from skylift.cloud.error import ServiceError
from skylift.cloud.identity import Caller
from skylift.cloud.instance import InstanceType
from skylift.cloud.services.filter import matching
from skylift.cloud.services.listing import Listing
from skylift.cloud.services.page import Limits, answer, page
from skylift.cloud.services.refusal import invalid, invalid_value
from skylift.cloud.services.zone import zone_id, zones
from skylift.cloud.store.database import Tx

CATALOGUE = Path(__file__).with_name("instance_types.csv")

LISTING = Listing(
    InstanceType,
    ids="InstanceTypes",
    member="InstanceTypes",
    key="InstanceType",
    tags="",
    limits=Limits(most=100),
    filters={
        "auto-recovery-supported": "AutoRecoverySupported",
        "bare-metal": "BareMetal",
        "burstable-performance-supported": "BurstablePerformanceSupported",
        "current-generation": "CurrentGeneration",
        "dedicated-hosts-supported": "DedicatedHostsSupported",
        "ebs-info.ebs-optimized-support": "EbsInfo.EbsOptimizedSupport",
        "ebs-info.encryption-support": "EbsInfo.EncryptionSupport",
        "ebs-info.nvme-support": "EbsInfo.NvmeSupport",
        "free-tier-eligible": "FreeTierEligible",
        "hibernation-supported": "HibernationSupported",
        "hypervisor": "Hypervisor",
        "instance-storage-info.disk.count": "InstanceStorageInfo.Disks.Count",
        "instance-storage-info.disk.size-in-gb": "InstanceStorageInfo.Disks.SizeInGB",
        "instance-storage-info.disk.type": "InstanceStorageInfo.Disks.Type",
        "instance-storage-info.encryption-support": "InstanceStorageInfo.EncryptionSupport",
        "instance-storage-info.nvme-support": "InstanceStorageInfo.NvmeSupport",
        "instance-storage-info.total-size-in-gb": "InstanceStorageInfo.TotalSizeInGB",
        "instance-storage-supported": "InstanceStorageSupported",
        "instance-type": "InstanceType",
        "memory-info.size-in-mib": "MemoryInfo.SizeInMiB",
        "network-info.efa-supported": "NetworkInfo.EfaSupported",
        "network-info.ena-support": "NetworkInfo.EnaSupport",
        "network-info.encryption-in-transit-supported": "NetworkInfo.EncryptionInTransitSupported",
        "network-info.ipv4-addresses-per-interface": "NetworkInfo.Ipv4AddressesPerInterface",
        "network-info.ipv6-addresses-per-interface": "NetworkInfo.Ipv6AddressesPerInterface",
        "network-info.ipv6-supported": "NetworkInfo.Ipv6Supported",
        "network-info.maximum-network-cards": "NetworkInfo.MaximumNetworkCards",
        "network-info.maximum-network-interfaces": "NetworkInfo.MaximumNetworkInterfaces",
        "network-info.network-performance": "NetworkInfo.NetworkPerformance",
        "nitro-enclaves-support": "NitroEnclavesSupport",
        "nitro-tpm-support": "NitroTpmSupport",
        "processor-info.supported-architecture": "ProcessorInfo.SupportedArchitectures",
        "processor-info.supported-features": "ProcessorInfo.SupportedFeatures",
        "processor-info.sustained-clock-speed-in-ghz": "ProcessorInfo.SustainedClockSpeedInGhz",
        "supported-boot-mode": "SupportedBootModes",
        "supported-root-device-type": "SupportedRootDeviceTypes",
        "supported-usage-class": "SupportedUsageClasses",
        "supported-virtualization-type": "SupportedVirtualizationTypes",
        "vcpu-info.default-cores": "VCpuInfo.DefaultCores",
        "vcpu-info.default-threads-per-core": "VCpuInfo.DefaultThreadsPerCore",
        "vcpu-info.default-vcpus": "VCpuInfo.DefaultVCpus",
        "vcpu-info.valid-cores": "VCpuInfo.ValidCores",
        "vcpu-info.valid-threads-per-core": "VCpuInfo.ValidThreadsPerCore",
    },
)

OFFERINGS = Limits(most=1000)


@cache
def catalogue() -> dict[str, InstanceType]:
    """Every instance type there is, by name."""
    with CATALOGUE.open(newline="") as file:
        return {row["name"]: _read(row) for row in csv.DictReader(file)}


def instance_type(name: str) -> InstanceType:
    """The type of this name; raises InvalidParameterValue as RunInstances does."""
    found = catalogue().get(name)
    if found is None:
        raise invalid(f"Invalid value '{name}' for InstanceType.")
    return found


def describe(_tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    wanted = params.get("InstanceTypes") or list(catalogue())
    unknown = [name for name in wanted if name not in catalogue()]
    if unknown:
        raise ServiceError(
            "InvalidInstanceType",
            f"The following supplied instance types do not exist: [{', '.join(unknown)}]",
        )
    return LISTING.answer(params, [view(catalogue()[name]) for name in dict.fromkeys(wanted)])


def describe_offerings(_tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
    """Every type is offered everywhere."""
    location_type = params.get("LocationType", "region")
    known = zones(caller.region)
    locations = {
        "region": [caller.region],
        "availability-zone": list(known),
        "availability-zone-id": [zone_id(zone) for zone in known],
    }
    if location_type not in locations:
        raise invalid_value(
            location_type, "locationType", "It has to be region, availability-zone or availability-zone-id."
        )
    items = [
        {"InstanceType": name, "LocationType": location_type, "Location": location}
        for location in locations[location_type]
        for name in catalogue()
    ]
    found = matching(items, params.get("Filters"), {"instance-type": "InstanceType", "location": "Location"})
    chosen = page(found, params, lambda item: f"{item['InstanceType']} {item['Location']}", OFFERINGS)
    return answer("InstanceTypeOfferings", chosen)


def view(kind: InstanceType) -> dict[str, Any]:
    threads = kind.vcpus // kind.cores
    return {
        "InstanceType": kind.name,
        "CurrentGeneration": kind.current,
        "FreeTierEligible": kind.free_tier,
        "SupportedUsageClasses": ["on-demand"],
        "SupportedRootDeviceTypes": ["ebs"],
        "SupportedVirtualizationTypes": ["hvm"],
        "BareMetal": False,
        "Hypervisor": kind.hypervisor,
        "ProcessorInfo": {
            "SupportedArchitectures": [kind.architecture],
            "SustainedClockSpeedInGhz": kind.clock_ghz,
            "Manufacturer": kind.manufacturer,
        },
        "VCpuInfo": {
            "DefaultVCpus": kind.vcpus,
            "DefaultCores": kind.cores,
            "DefaultThreadsPerCore": threads,
            "ValidCores": [kind.cores],
            "ValidThreadsPerCore": [threads],
        },
        "MemoryInfo": {"SizeInMiB": kind.memory_mib},
        "InstanceStorageSupported": False,
        "EbsInfo": {
            "EbsOptimizedSupport": "unsupported",
            "EncryptionSupport": "unsupported",
            "NvmeSupport": "unsupported",
        },
        "NetworkInfo": {
            "NetworkPerformance": kind.network,
            "MaximumNetworkInterfaces": kind.interfaces,
            "MaximumNetworkCards": 1,
            "DefaultNetworkCardIndex": 0,
            "Ipv4AddressesPerInterface": kind.addresses,
            "Ipv6AddressesPerInterface": 0,
            "Ipv6Supported": False,
            "EnaSupport": "supported",
            "EfaSupported": False,
            "EncryptionInTransitSupported": False,
        },
        "HibernationSupported": False,
        "BurstablePerformanceSupported": kind.burstable,
        "DedicatedHostsSupported": False,
        "AutoRecoverySupported": False,
        "NitroEnclavesSupport": "unsupported",
        "NitroTpmSupport": "unsupported",
    }


def _read(row: dict[str, str]) -> InstanceType:
    architecture, hypervisor = row["architecture"], row["hypervisor"]
    assert architecture in ("x86_64", "arm64") and hypervisor in ("nitro", "xen")
    return InstanceType(
        name=row["name"],
        vcpus=int(row["vcpus"]),
        cores=int(row["cores"]),
        memory_mib=int(row["memory_mib"]),
        architecture="arm64" if architecture == "arm64" else "x86_64",
        clock_ghz=float(row["clock_ghz"]),
        manufacturer=row["manufacturer"],
        network=row["network"],
        hypervisor="xen" if hypervisor == "xen" else "nitro",
        burstable=row["burstable"] == "yes",
        free_tier=row["free_tier"] == "yes",
        current=row["current"] == "yes",
        interfaces=int(row["interfaces"]),
        addresses=int(row["addresses"]),
    )

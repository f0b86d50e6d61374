"""Instance types. All of AWS's are described, with AWS's figures; offered are those that this machine can run.

The figures that the catalogue has not are those of servers here: one network card, no hibernation, no choice of CPU
options. A type is offered nowhere, and its launch refused, as in a zone of AWS's without it, if this machine lacks what
the type is for: bare metal, an accelerator, disks of its own, a processor of another architecture. A type that is
larger than this machine is offered: its servers get what the machine has.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, cast

from skylift.catalogue import InstanceType, types
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Image
from skylift.cloud.services.api.ec2_operation import PAGES, reads
from skylift.cloud.services.api.filter import matching, same_named
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.page import Limits, page
from skylift.cloud.services.api.refusal import invalid_value
from skylift.cloud.services.api.zone import zone_id, zones
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

LISTING = Listing(
    InstanceType,
    ids="InstanceTypes",
    key="InstanceType",
    tags="",
    # https://github.com/ray-project/ray/issues/11484
    limits=Limits(most=100, always=True),
    filters={
        **same_named(
            "auto-recovery-supported bare-metal burstable-performance-supported current-generation "
            "dedicated-hosts-supported ebs-info.ebs-optimized-support ebs-info.encryption-support "
            "ebs-info.nvme-support free-tier-eligible hibernation-supported hypervisor "
            "instance-storage-info.encryption-support instance-storage-info.nvme-support "
            "instance-storage-supported instance-type network-info.efa-supported "
            "network-info.ena-support network-info.encryption-in-transit-supported "
            "network-info.ipv4-addresses-per-interface network-info.ipv6-addresses-per-interface "
            "network-info.ipv6-supported network-info.maximum-network-cards "
            "network-info.maximum-network-interfaces network-info.network-performance "
            "nitro-enclaves-support nitro-tpm-support processor-info.supported-features "
            "processor-info.sustained-clock-speed-in-ghz"
        ),
        **same_named(
            "default-cores default-threads-per-core valid-cores valid-threads-per-core", "vcpu-info", "VCpuInfo"
        ),
        "instance-storage-info.disk.count": "InstanceStorageInfo.Disks.Count",
        "instance-storage-info.disk.size-in-gb": "InstanceStorageInfo.Disks.SizeInGB",
        "instance-storage-info.disk.type": "InstanceStorageInfo.Disks.Type",
        "instance-storage-info.total-size-in-gb": "InstanceStorageInfo.TotalSizeInGB",
        "memory-info.size-in-mib": "MemoryInfo.SizeInMiB",
        "processor-info.supported-architecture": "ProcessorInfo.SupportedArchitectures",
        "supported-boot-mode": "SupportedBootModes",
        "supported-root-device-type": "SupportedRootDeviceTypes",
        "supported-usage-class": "SupportedUsageClasses",
        "supported-virtualization-type": "SupportedVirtualizationTypes",
        "vcpu-info.default-vcpus": "VCpuInfo.DefaultVCpus",
    },
)

OFFERINGS = Limits(most=1000)


def refuse_unless_offered(kind: InstanceType, zone: str) -> None:
    """Raises Unsupported; the launch checks the image's architecture."""
    why = _lack(kind)
    if why:
        raise ServiceError(
            "Unsupported",
            f"Your requested instance type ({kind.name}) is not supported in your requested Availability Zone "
            f"({zone}): this machine's servers have no {why}.",
        )


def is_offered(kind: InstanceType) -> bool:
    """Whether servers of this type can run here, with an image of its architecture."""
    return _lack(kind) is None


def is_offered_whole(kind: InstanceType) -> bool:
    """Whether they can have here all that the type may have: no instance store, not even one to be asked for."""
    return is_offered(kind) and kind.disks is None


def _lack(kind: InstanceType) -> str | None:
    """The features of the type that servers here do not have."""
    if kind.bare_metal:
        return "bare metal"
    if kind.accelerators:
        return f"{kind.accelerators.manufacturer} {kind.accelerators.name}"
    if kind.has_disks_unasked:
        return "instance store"
    return None


def describe(_tx: Tx, _caller: Caller, params: ec2.DescribeInstanceTypesRequest) -> ec2.DescribeInstanceTypesResult:
    wanted = params.get("InstanceTypes") or list(types())
    unknown = [name for name in wanted if name not in types()]
    if unknown:
        raise ServiceError(
            "InvalidInstanceType", f"The following supplied instance types do not exist: [{', '.join(unknown)}]"
        )
    shown = LISTING.page(params, [view(types()[name]) for name in dict.fromkeys(wanted)])
    return {"InstanceTypes": shown.items, **shown.next}


def describe_offerings(
    tx: Tx, caller: Caller, params: ec2.DescribeInstanceTypeOfferingsRequest
) -> ec2.DescribeInstanceTypeOfferingsResult:
    """Each type that is offered is offered in each zone."""
    architectures = {image.architecture for image in tx.find(Image)}
    offered = [kind.name for kind in types().values() if kind.architecture in architectures and not _lack(kind)]
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
    items: list[ec2.InstanceTypeOffering] = [
        {"InstanceType": name, "LocationType": location_type, "Location": location}
        for location in locations[location_type]
        for name in offered
    ]
    found = matching(items, params.get("Filters"), {"instance-type": "InstanceType", "location": "Location"})
    shown = page(found, params, lambda item: f"{item['InstanceType']} {item['Location']}", OFFERINGS)
    return {"InstanceTypeOfferings": shown.items, **shown.next}


@cache
def view(kind: InstanceType) -> ec2.InstanceTypeInfo:
    threads = kind.vcpus // kind.cores
    return {
        "InstanceType": kind.name,
        "CurrentGeneration": kind.current,
        "FreeTierEligible": kind.free_tier,
        "SupportedUsageClasses": ["on-demand", "spot"] if kind.spot else ["on-demand"],
        "SupportedRootDeviceTypes": ["ebs"],
        "SupportedVirtualizationTypes": ["hvm"],
        "BareMetal": kind.bare_metal,
        **({"Hypervisor": kind.hypervisor} if kind.hypervisor else {}),
        "ProcessorInfo": {
            "SupportedArchitectures": list(kind.architectures),
            **({"SustainedClockSpeedInGhz": kind.clock_ghz} if kind.clock_ghz else {}),
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
        "InstanceStorageSupported": kind.disks is not None,
        **_storage(kind),
        **_accelerators(kind),
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
            "NetworkCards": [
                {
                    "NetworkCardIndex": 0,
                    "NetworkPerformance": kind.network,
                    "MaximumNetworkInterfaces": kind.interfaces,
                    "BaselineBandwidthInGbps": kind.baseline_gbps,
                    "PeakBandwidthInGbps": kind.peak_gbps,
                }
            ],
            "Ipv4AddressesPerInterface": kind.addresses,
            "Ipv6AddressesPerInterface": 0,
            "Ipv6Supported": False,
            "EnaSupport": "supported",
            "EfaSupported": False,
            "EncryptionInTransitSupported": False,
        },
        "HibernationSupported": False,
        "BurstablePerformanceSupported": kind.burstable,
        "DedicatedHostsSupported": kind.dedicated_hosts,
        "AutoRecoverySupported": False,
        "NitroEnclavesSupport": "unsupported",
        "NitroTpmSupport": "unsupported",
    }


def _storage(kind: InstanceType) -> ec2.InstanceTypeInfo:
    if kind.disks is None:
        return {}
    disk: ec2.DiskInfo = {"SizeInGB": kind.disks.size_gb, "Count": kind.disks.count, "Type": kind.disks.kind}
    return {
        "InstanceStorageInfo": {
            "TotalSizeInGB": kind.disk_gb,
            "Disks": [disk],
            "NvmeSupport": "required" if kind.has_nvme_disks else "unsupported",
        }
    }


def _accelerators(kind: InstanceType) -> ec2.InstanceTypeInfo:
    """AWS has a member of its own for each kind, and each spells its parts another way."""
    found = kind.accelerators
    if found is None:
        return {}
    member, devices, total = _SPELLED[found.kind]
    device: dict[str, Any] = {"Name": found.name, "Count": found.count, "MemoryInfo": {"SizeInMiB": found.memory_mib}}
    if found.kind != "neuron":
        device["Manufacturer"] = found.manufacturer
    # No checker knows names that are put together like these; the wire refuses what the model does not have.
    return cast("ec2.InstanceTypeInfo", {member: {devices: [device], total: found.count * found.memory_mib}})


_SPELLED = {
    "gpu": ("GpuInfo", "Gpus", "TotalGpuMemoryInMiB"),
    "neuron": ("NeuronInfo", "NeuronDevices", "TotalNeuronDeviceMemoryInMiB"),
    "inference": ("InferenceAcceleratorInfo", "Accelerators", "TotalInferenceMemoryInMiB"),
    "fpga": ("FpgaInfo", "Fpgas", "TotalFpgaMemoryInMiB"),
    "media": ("MediaAcceleratorInfo", "Accelerators", "TotalMediaMemoryInMiB"),
}


OPERATIONS = (
    reads("DescribeInstanceTypes", describe, f"InstanceTypes {PAGES}"),
    reads("DescribeInstanceTypeOfferings", describe_offerings, f"LocationType {PAGES}"),
)

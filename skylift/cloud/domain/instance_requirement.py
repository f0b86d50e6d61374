"""What a fleet asks of instance types where it names none, in the members that EC2 has for it."""

from __future__ import annotations

from typing import TypedDict


class Count(TypedDict, total=False):
    """Inclusive bounds. A missing member means that there is no such bound."""

    Min: int
    Max: int


class Amount(TypedDict, total=False):
    """The same of what may have parts."""

    Min: float
    Max: float


class FamilyReference(TypedDict, total=False):
    InstanceFamily: str


class ProcessorReference(TypedDict, total=False):
    References: list[FamilyReference]


class BaselineReference(TypedDict, total=False):
    Cpu: ProcessorReference


class TypeRequirements(TypedDict, total=False):
    VCpuCount: Count
    MemoryMiB: Count
    CpuManufacturers: list[str]
    MemoryGiBPerVCpu: Amount
    ExcludedInstanceTypes: list[str]
    InstanceGenerations: list[str]
    SpotMaxPricePercentageOverLowestPrice: int
    OnDemandMaxPricePercentageOverLowestPrice: int
    BareMetal: str
    BurstablePerformance: str
    RequireHibernateSupport: bool
    NetworkInterfaceCount: Count
    LocalStorage: str
    LocalStorageTypes: list[str]
    TotalLocalStorageGB: Amount
    BaselineEbsBandwidthMbps: Count
    AcceleratorTypes: list[str]
    AcceleratorCount: Count
    AcceleratorManufacturers: list[str]
    AcceleratorNames: list[str]
    AcceleratorTotalMemoryMiB: Count
    NetworkBandwidthGbps: Amount
    AllowedInstanceTypes: list[str]
    MaxSpotPriceAsPercentageOfOptimalOnDemandPrice: int
    BaselinePerformanceFactors: BaselineReference
    RequireEncryptionInTransit: bool

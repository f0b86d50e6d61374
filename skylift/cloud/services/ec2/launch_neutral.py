"""Parameters of a launch that can only ask for what holds anyway. Many tools always send them."""

from __future__ import annotations

NEUTRAL: dict[str, tuple[object, ...]] = {
    "BlockDeviceMappings.Ebs.Encrypted": (False,),
    "CapacityReservationSpecification.CapacityReservationPreference": ("open", "none"),
    "CreditSpecification.CpuCredits": ("unlimited",),
    "EbsOptimized": (False,),
    "EnclaveOptions.Enabled": (False,),
    "HibernationOptions.Configured": (False,),
    "Ipv6AddressCount": (0,),
    "MetadataOptions.HttpProtocolIpv6": ("disabled",),
    "NetworkInterfaces.InterfaceType": ("interface",),
    "NetworkInterfaces.Ipv6AddressCount": (0,),
    "NetworkInterfaces.NetworkCardIndex": (0,),
    "PrivateDnsNameOptions.EnableResourceNameDnsAAAARecord": (False,),
    "PrivateDnsNameOptions.EnableResourceNameDnsARecord": (False,),
    "PrivateDnsNameOptions.HostnameType": ("ip-name",),
}

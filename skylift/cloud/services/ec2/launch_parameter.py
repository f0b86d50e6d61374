"""The parameters that RunInstances takes, and those of them that launch templates keep."""

from __future__ import annotations

from skylift.cloud.services.ec2.launch_neutral import NEUTRAL

LAUNCH = (
    "ImageId InstanceType MinCount MaxCount KeyName SecurityGroupIds SecurityGroups SubnetId PrivateIpAddress UserData "
    "IamInstanceProfile.Arn IamInstanceProfile.Name TagSpecifications ClientToken InstanceInitiatedShutdownBehavior "
    "DisableApiTermination DisableApiStop MetadataOptions.HttpTokens MetadataOptions.HttpPutResponseHopLimit "
    "Monitoring.Enabled "
    "MetadataOptions.HttpEndpoint MetadataOptions.InstanceMetadataTags NetworkInterfaces.AssociatePublicIpAddress "
    "NetworkInterfaces.Description NetworkInterfaces.DeviceIndex NetworkInterfaces.Groups "
    "NetworkInterfaces.PrivateIpAddress NetworkInterfaces.PrivateIpAddresses NetworkInterfaces.SubnetId "
    "NetworkInterfaces.DeleteOnTermination NetworkInterfaces.NetworkInterfaceId "
    "NetworkInterfaces.SecondaryPrivateIpAddressCount "
    "BlockDeviceMappings.DeviceName BlockDeviceMappings.VirtualName BlockDeviceMappings.NoDevice "
    "BlockDeviceMappings.Ebs.VolumeSize "
    "BlockDeviceMappings.Ebs.SnapshotId BlockDeviceMappings.Ebs.VolumeType BlockDeviceMappings.Ebs.Iops "
    "BlockDeviceMappings.Ebs.Throughput BlockDeviceMappings.Ebs.DeleteOnTermination Placement.AvailabilityZone "
    "Placement.AvailabilityZoneId Placement.GroupId Placement.GroupName Placement.PartitionNumber "
    "Placement.Tenancy Placement.HostId Placement.Affinity "
    "InstanceMarketOptions.MarketType InstanceMarketOptions.SpotOptions.MaxPrice "
    "InstanceMarketOptions.SpotOptions.SpotInstanceType InstanceMarketOptions.SpotOptions.ValidUntil "
    "InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior "
    "LaunchTemplate.LaunchTemplateId LaunchTemplate.LaunchTemplateName LaunchTemplate.Version " + " ".join(NEUTRAL)
)

_ONLY_AT_LAUNCH = frozenset(
    {"ClientToken", "Ipv6AddressCount", "LaunchTemplate", "MaxCount", "MinCount", "PrivateIpAddress", "SubnetId"}
)

TEMPLATE_DATA = " ".join(
    f"LaunchTemplateData.{name}" for name in LAUNCH.split() if name.partition(".")[0] not in _ONLY_AT_LAUNCH
)

TEMPLATE = "LaunchTemplateId LaunchTemplateName"

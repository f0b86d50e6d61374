"""EC2's operations: one line each says what it takes, what it needs permission for and who carries it out."""

from __future__ import annotations

from skylift.cloud.services.api.check import (
    adds_rules,
    creates,
    makes_key,
    on,
    on_association,
    on_group,
    on_key,
    tagging,
)
from skylift.cloud.services.api.ec2_operation import acts as _acts
from skylift.cloud.services.api.ec2_operation import reads as _reads
from skylift.cloud.services.api.ec2_operation import writes as _writes
from skylift.cloud.services.api.operation import Operation
from skylift.cloud.services.ebs import (
    snapshot,
    snapshot_attribute,
    snapshot_making,
    volume,
    volume_attachment,
    volume_change,
    volume_making,
)
from skylift.cloud.services.ec2 import (
    credit,
    image,
    image_attribute,
    image_lifecycle,
    image_making,
    image_registration,
    instance,
    instance_attribute,
    instance_type,
    keypair,
    launch,
    launch_check,
    launch_template,
    launch_template_version,
    metadata_defaults,
    monitoring,
    placement_group,
    profile_association,
    region,
)
from skylift.cloud.services.ec2 import tagging as tags
from skylift.cloud.services.ec2.empty_listings import ABSENT
from skylift.cloud.services.ec2.launch_neutral import NEUTRAL
from skylift.cloud.services.ec2.launch_template import on_template
from skylift.cloud.services.vpc import (
    address,
    dhcp_options,
    gateway,
    interface,
    interface_address,
    interface_attachment,
    interface_attribute,
    interface_making,
    nat_gateway,
    nat_gateway_address,
    network_acl,
    peering,
    prefix_list,
    route,
    security_group,
    security_group_edit,
    security_group_use,
    subnet,
    vpc,
    vpc_cidr,
    vpc_endpoint,
)

_PAGES = "Filters MaxResults NextToken"

_RULES = (
    "IpPermissions.IpProtocol IpPermissions.FromPort IpPermissions.ToPort IpPermissions.IpRanges "
    "IpPermissions.Ipv6Ranges IpPermissions.UserIdGroupPairs.Description IpPermissions.UserIdGroupPairs.GroupId "
    "IpPermissions.UserIdGroupPairs.GroupName IpPermissions.UserIdGroupPairs.UserId "
    "IpPermissions.UserIdGroupPairs.VpcId IpPermissions.UserIdGroupPairs.VpcPeeringConnectionId "
    "IpPermissions.PrefixListIds"
)
_ONE_RULE = "CidrIp FromPort IpProtocol ToPort"

_LAUNCH = (
    "ImageId InstanceType MinCount MaxCount KeyName SecurityGroupIds SecurityGroups SubnetId PrivateIpAddress UserData "
    "IamInstanceProfile.Arn IamInstanceProfile.Name TagSpecifications ClientToken InstanceInitiatedShutdownBehavior "
    "DisableApiTermination DisableApiStop MetadataOptions.HttpTokens MetadataOptions.HttpPutResponseHopLimit "
    "Monitoring.Enabled "
    "MetadataOptions.HttpEndpoint MetadataOptions.InstanceMetadataTags NetworkInterfaces.AssociatePublicIpAddress "
    "NetworkInterfaces.Description NetworkInterfaces.DeviceIndex NetworkInterfaces.Groups "
    "NetworkInterfaces.PrivateIpAddress NetworkInterfaces.PrivateIpAddresses NetworkInterfaces.SubnetId "
    "NetworkInterfaces.DeleteOnTermination NetworkInterfaces.NetworkInterfaceId "
    "NetworkInterfaces.SecondaryPrivateIpAddressCount "
    "BlockDeviceMappings.DeviceName BlockDeviceMappings.NoDevice BlockDeviceMappings.Ebs.VolumeSize "
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
_TEMPLATE_DATA = " ".join(
    f"LaunchTemplateData.{name}" for name in _LAUNCH.split() if name.partition(".")[0] not in _ONLY_AT_LAUNCH
)
_TEMPLATE = "LaunchTemplateId LaunchTemplateName"

_RULE_REQUEST = "IpProtocol FromPort ToPort CidrIpv4 CidrIpv6 PrefixListId ReferencedGroupId Description"

_ROUTE = (
    "RouteTableId DestinationCidrBlock DestinationPrefixListId GatewayId NatGatewayId NetworkInterfaceId InstanceId "
    "VpcPeeringConnectionId"
)

_ACL_ENTRY = (
    "NetworkAclId RuleNumber Protocol RuleAction Egress CidrBlock Ipv6CidrBlock "
    "IcmpTypeCode.Type IcmpTypeCode.Code PortRange.From PortRange.To"
)

EC2_OPERATIONS: tuple[Operation, ...] = (
    # Regions and zones
    _reads("DescribeRegions", region.describe_regions, "Filters RegionNames AllRegions"),
    _reads("DescribeAvailabilityZones", region.describe_zones, "Filters ZoneNames ZoneIds AllAvailabilityZones"),
    _reads("DescribeAccountAttributes", region.describe_account_attributes, "AttributeNames"),
    # VPCs
    _writes(
        "CreateVpc",
        vpc.create,
        "CidrBlock InstanceTenancy TagSpecifications " + " ".join(vpc.NEUTRAL),
        creates("CreateVpc", "vpc"),
    ),
    _writes("CreateDefaultVpc", vpc.create_default, "", creates("CreateDefaultVpc", "vpc")),
    _reads("DescribeVpcs", vpc.describe, f"VpcIds {_PAGES}"),
    _acts("DeleteVpc", vpc.delete, "VpcId", "VpcId"),
    _acts("ModifyVpcAttribute", vpc.modify_attribute, "VpcId EnableDnsHostnames EnableDnsSupport", "VpcId"),
    _reads(
        "DescribeVpcAttribute",
        vpc.describe_attribute,
        "VpcId Attribute",
        on("ec2:DescribeVpcAttribute", "VpcId"),
    ),
    _acts("AssociateVpcCidrBlock", vpc_cidr.associate, "VpcId CidrBlock", "VpcId"),
    _writes(
        "DisassociateVpcCidrBlock",
        vpc_cidr.disassociate,
        "AssociationId",
        vpc_cidr.on_cidr_association("ec2:DisassociateVpcCidrBlock"),
    ),
    _acts("ModifyVpcTenancy", vpc.modify_tenancy, "VpcId InstanceTenancy", "VpcId"),
    # DHCP options
    _writes(
        "CreateDhcpOptions",
        dhcp_options.create,
        "DhcpConfigurations TagSpecifications",
        creates("CreateDhcpOptions", "dhcp-options"),
    ),
    _reads("DescribeDhcpOptions", dhcp_options.describe, f"DhcpOptionsIds {_PAGES}"),
    _acts("DeleteDhcpOptions", dhcp_options.delete, "DhcpOptionsId", "DhcpOptionsId"),
    _writes("AssociateDhcpOptions", dhcp_options.associate, "DhcpOptionsId VpcId", dhcp_options.check_associate),
    # Subnets
    _writes(
        "CreateSubnet",
        subnet.create,
        "AvailabilityZone AvailabilityZoneId CidrBlock VpcId TagSpecifications " + " ".join(subnet.NEUTRAL),
        creates("CreateSubnet", "subnet", "VpcId"),
    ),
    _reads("DescribeSubnets", subnet.describe, f"SubnetIds {_PAGES}"),
    _acts("DeleteSubnet", subnet.delete, "SubnetId", "SubnetId"),
    _writes(
        "CreateDefaultSubnet",
        subnet.create_default,
        "AvailabilityZone AvailabilityZoneId " + " ".join(subnet.NEUTRAL),
        creates("CreateDefaultSubnet", "subnet"),
    ),
    _acts(
        "ModifySubnetAttribute",
        subnet.modify_attribute,
        "SubnetId MapPublicIpOnLaunch " + " ".join(subnet.ATTRIBUTE_NEUTRAL),
        "SubnetId",
    ),
    # Internet gateways
    _writes(
        "CreateInternetGateway",
        gateway.create,
        "TagSpecifications",
        creates("CreateInternetGateway", "internet-gateway"),
    ),
    _reads("DescribeInternetGateways", gateway.describe, f"InternetGatewayIds {_PAGES}"),
    _acts("DeleteInternetGateway", gateway.delete, "InternetGatewayId", "InternetGatewayId"),
    _acts("AttachInternetGateway", gateway.attach, "InternetGatewayId VpcId", "InternetGatewayId", "VpcId"),
    _acts("DetachInternetGateway", gateway.detach, "InternetGatewayId VpcId", "InternetGatewayId", "VpcId"),
    # Route tables
    _writes(
        "CreateRouteTable",
        route.create,
        "VpcId ClientToken TagSpecifications",
        creates("CreateRouteTable", "route-table", "VpcId"),
    ),
    _reads("DescribeRouteTables", route.describe, f"RouteTableIds {_PAGES}"),
    _acts("DeleteRouteTable", route.delete, "RouteTableId", "RouteTableId"),
    _acts("CreateRoute", route.create_route, _ROUTE, "RouteTableId"),
    _acts("ReplaceRoute", route.replace_route, f"{_ROUTE} LocalTarget", "RouteTableId"),
    _acts(
        "DeleteRoute", route.delete_route, "RouteTableId DestinationCidrBlock DestinationPrefixListId", "RouteTableId"
    ),
    _acts(
        "AssociateRouteTable",
        route.associate,
        "RouteTableId SubnetId GatewayId",
        "RouteTableId",
        "SubnetId",
        "GatewayId",
    ),
    _writes(
        "DisassociateRouteTable",
        route.disassociate,
        "AssociationId",
        on_association("ec2:DisassociateRouteTable"),
    ),
    _writes(
        "ReplaceRouteTableAssociation",
        route.replace_association,
        "AssociationId RouteTableId",
        on_association("ec2:ReplaceRouteTableAssociation", "RouteTableId"),
    ),
    # Security groups
    _writes(
        "CreateSecurityGroup",
        security_group.create,
        "Description GroupName VpcId TagSpecifications",
        creates("CreateSecurityGroup", "security-group", "VpcId"),
    ),
    _reads("DescribeSecurityGroups", security_group.describe, f"GroupIds GroupNames {_PAGES}"),
    _reads("DescribeSecurityGroupRules", security_group.describe_rules, f"SecurityGroupRuleIds {_PAGES}"),
    _writes(
        "DeleteSecurityGroup",
        security_group.delete,
        "GroupId GroupName",
        on_group("ec2:DeleteSecurityGroup"),
    ),
    _writes(
        "AuthorizeSecurityGroupIngress",
        security_group.authorize_ingress,
        f"GroupId GroupName TagSpecifications {_ONE_RULE} {_RULES}",
        adds_rules("AuthorizeSecurityGroupIngress"),
    ),
    _writes(
        "AuthorizeSecurityGroupEgress",
        security_group.authorize_egress,
        f"GroupId TagSpecifications {_RULES}",
        adds_rules("AuthorizeSecurityGroupEgress"),
    ),
    _writes(
        "RevokeSecurityGroupIngress",
        security_group.revoke_ingress,
        f"GroupId GroupName SecurityGroupRuleIds {_ONE_RULE} {_RULES}",
        on_group("ec2:RevokeSecurityGroupIngress"),
    ),
    _writes(
        "RevokeSecurityGroupEgress",
        security_group.revoke_egress,
        f"GroupId SecurityGroupRuleIds {_RULES}",
        on_group("ec2:RevokeSecurityGroupEgress"),
    ),
    _writes(
        "ModifySecurityGroupRules",
        security_group_edit.modify_rules,
        "GroupId SecurityGroupRules.SecurityGroupRuleId "
        + " ".join(f"SecurityGroupRules.SecurityGroupRule.{name}" for name in _RULE_REQUEST.split()),
        security_group_edit.on_rules("ec2:ModifySecurityGroupRules"),
    ),
    _reads(
        "GetSecurityGroupsForVpc",
        security_group_use.for_vpc,
        f"VpcId {_PAGES}",
        on("ec2:GetSecurityGroupsForVpc", "VpcId"),
    ),
    _reads("DescribeSecurityGroupReferences", security_group_use.references, "GroupId"),
    _reads("DescribeStaleSecurityGroups", security_group_use.stale, "VpcId MaxResults NextToken"),
    _writes(
        "UpdateSecurityGroupRuleDescriptionsIngress",
        security_group_edit.describe_ingress_anew,
        f"GroupId GroupName SecurityGroupRuleDescriptions {_RULES}",
        on_group("ec2:UpdateSecurityGroupRuleDescriptionsIngress"),
    ),
    _writes(
        "UpdateSecurityGroupRuleDescriptionsEgress",
        security_group_edit.describe_egress_anew,
        f"GroupId GroupName SecurityGroupRuleDescriptions {_RULES}",
        on_group("ec2:UpdateSecurityGroupRuleDescriptionsEgress"),
    ),
    # Peering connections
    _writes(
        "CreateVpcPeeringConnection",
        peering.create,
        "VpcId PeerVpcId PeerOwnerId PeerRegion TagSpecifications",
        peering.check_create,
    ),
    _writes("AcceptVpcPeeringConnection", peering.accept, "VpcPeeringConnectionId", peering.check_accept),
    _acts("RejectVpcPeeringConnection", peering.reject, "VpcPeeringConnectionId", "VpcPeeringConnectionId"),
    _acts("DeleteVpcPeeringConnection", peering.delete, "VpcPeeringConnectionId", "VpcPeeringConnectionId"),
    _reads("DescribeVpcPeeringConnections", peering.describe, f"VpcPeeringConnectionIds {_PAGES}"),
    # VPC endpoints
    _writes(
        "CreateVpcEndpoint",
        vpc_endpoint.create,
        "VpcId ServiceName PolicyDocument RouteTableIds ClientToken TagSpecifications "
        + " ".join(vpc_endpoint.NEUTRAL),
        vpc_endpoint.check_create,
    ),
    _reads("DescribeVpcEndpoints", vpc_endpoint.describe, f"VpcEndpointIds {_PAGES}"),
    _reads("DescribeVpcEndpointServices", vpc_endpoint.describe_services, f"ServiceNames {_PAGES}"),
    _writes(
        "ModifyVpcEndpoint",
        vpc_endpoint.modify,
        "VpcEndpointId ResetPolicy PolicyDocument AddRouteTableIds RemoveRouteTableIds "
        + " ".join(vpc_endpoint.MODIFY_NEUTRAL),
        vpc_endpoint.check_modify,
    ),
    _acts("DeleteVpcEndpoints", vpc_endpoint.delete, "VpcEndpointIds", "VpcEndpointIds"),
    # Prefix lists
    _writes(
        "CreateManagedPrefixList",
        prefix_list.create,
        "PrefixListName Entries MaxEntries AddressFamily ClientToken TagSpecifications",
        creates("CreateManagedPrefixList", "prefix-list"),
    ),
    _reads("DescribeManagedPrefixLists", prefix_list.describe, f"PrefixListIds {_PAGES}"),
    _reads("DescribePrefixLists", prefix_list.describe_services, f"PrefixListIds {_PAGES}"),
    _reads(
        "GetManagedPrefixListEntries",
        prefix_list.get_entries,
        "PrefixListId TargetVersion MaxResults NextToken",
        on("ec2:GetManagedPrefixListEntries", "PrefixListId"),
    ),
    _reads(
        "GetManagedPrefixListAssociations",
        prefix_list.get_associations,
        "PrefixListId MaxResults NextToken",
        on("ec2:GetManagedPrefixListAssociations", "PrefixListId"),
    ),
    _acts(
        "ModifyManagedPrefixList",
        prefix_list.modify,
        "PrefixListId CurrentVersion PrefixListName AddEntries RemoveEntries MaxEntries",
        "PrefixListId",
    ),
    _acts(
        "RestoreManagedPrefixListVersion",
        prefix_list.restore,
        "PrefixListId PreviousVersion CurrentVersion",
        "PrefixListId",
    ),
    _acts("DeleteManagedPrefixList", prefix_list.delete, "PrefixListId", "PrefixListId"),
    # Key pairs
    _writes(
        "CreateKeyPair",
        keypair.create,
        "KeyName KeyType KeyFormat TagSpecifications",
        makes_key("CreateKeyPair"),
    ),
    _writes(
        "ImportKeyPair",
        keypair.import_,
        "KeyName PublicKeyMaterial TagSpecifications",
        makes_key("ImportKeyPair"),
    ),
    _reads("DescribeKeyPairs", keypair.describe, "Filters KeyNames KeyPairIds IncludePublicKey"),
    _writes("DeleteKeyPair", keypair.delete, "KeyName KeyPairId", on_key("ec2:DeleteKeyPair")),
    # Images and instance types
    _reads(
        "DescribeImages", image.describe, f"ImageIds Owners ExecutableUsers IncludeDeprecated IncludeDisabled {_PAGES}"
    ),
    _writes(
        "CreateImage",
        image_making.create,
        "InstanceId Name Description NoReboot TagSpecifications BlockDeviceMappings.DeviceName "
        "BlockDeviceMappings.NoDevice BlockDeviceMappings.Ebs.SnapshotId BlockDeviceMappings.Ebs.VolumeSize "
        "BlockDeviceMappings.Ebs.VolumeType BlockDeviceMappings.Ebs.Iops BlockDeviceMappings.Ebs.Throughput "
        "BlockDeviceMappings.Ebs.DeleteOnTermination " + " ".join(image_making.CREATE_NEUTRAL),
        image_making.check_create,
    ),
    _writes(
        "CopyImage",
        image_making.copy,
        "Name SourceImageId SourceRegion Description ClientToken CopyImageTags TagSpecifications "
        + " ".join(image_making.COPY_NEUTRAL),
        image_making.check_copy,
    ),
    _writes(
        "RegisterImage",
        image_registration.register,
        "Name Description Architecture TagSpecifications BlockDeviceMappings.DeviceName "
        "BlockDeviceMappings.Ebs.SnapshotId BlockDeviceMappings.Ebs.VolumeSize BlockDeviceMappings.Ebs.VolumeType "
        "BlockDeviceMappings.Ebs.Iops BlockDeviceMappings.Ebs.Throughput BlockDeviceMappings.Ebs.DeleteOnTermination "
        + " ".join(image_registration.NEUTRAL),
        image_registration.checks,
    ),
    _acts("DeregisterImage", image_lifecycle.deregister, "ImageId DeleteAssociatedSnapshots", "ImageId"),
    _acts("DisableImage", image_lifecycle.disable, "ImageId", "ImageId"),
    _acts("EnableImage", image_lifecycle.enable, "ImageId", "ImageId"),
    _acts("EnableImageDeprecation", image_lifecycle.deprecate, "ImageId DeprecateAt", "ImageId"),
    _acts("DisableImageDeprecation", image_lifecycle.undeprecate, "ImageId", "ImageId"),
    _acts("EnableImageDeregistrationProtection", image_lifecycle.protect, "ImageId WithCooldown", "ImageId"),
    _acts("DisableImageDeregistrationProtection", image_lifecycle.unprotect, "ImageId", "ImageId"),
    _reads(
        "DescribeImageAttribute",
        image_attribute.describe,
        "ImageId Attribute",
        on("ec2:DescribeImageAttribute", "ImageId"),
    ),
    _acts(
        "ModifyImageAttribute",
        image_attribute.modify,
        "ImageId Attribute Description Value OperationType UserIds UserGroups LaunchPermission.Add.Group "
        "LaunchPermission.Add.UserId LaunchPermission.Remove.Group LaunchPermission.Remove.UserId",
        "ImageId",
    ),
    _acts("ResetImageAttribute", image_attribute.reset, "ImageId Attribute", "ImageId"),
    _reads("DescribeInstanceTypes", instance_type.describe, f"InstanceTypes {_PAGES}"),
    _reads("DescribeInstanceTypeOfferings", instance_type.describe_offerings, f"LocationType {_PAGES}"),
    # Instances
    _writes("RunInstances", launch.run_instances, _LAUNCH, launch_check.checks),
    _reads("DescribeInstances", instance.describe, f"InstanceIds IncludeManagedResources {_PAGES}"),
    _reads(
        "DescribeInstanceStatus",
        instance.describe_status,
        f"InstanceIds IncludeAllInstances IncludeManagedResources {_PAGES}",
    ),
    _reads(
        "DescribeInstanceAttribute",
        instance_attribute.describe,
        "InstanceId Attribute",
        on("ec2:DescribeInstanceAttribute", "InstanceId"),
    ),
    _writes(
        "ModifyInstanceAttribute",
        instance_attribute.modify,
        "InstanceId Attribute Value DisableApiStop DisableApiTermination InstanceInitiatedShutdownBehavior "
        "InstanceType UserData Groups "
        "SourceDestCheck BlockDeviceMappings.DeviceName BlockDeviceMappings.Ebs.DeleteOnTermination "
        "BlockDeviceMappings.Ebs.VolumeId " + " ".join(instance_attribute.NEUTRAL),
        instance_attribute.check_modify,
    ),
    _reads("DescribeInstanceCreditSpecifications", credit.describe, f"InstanceIds {_PAGES}"),
    _acts("ResetInstanceAttribute", instance_attribute.reset, "InstanceId Attribute", "InstanceId"),
    _acts("TerminateInstances", instance.terminate, "InstanceIds Force SkipOsShutdown", "InstanceIds"),
    _acts("StopInstances", instance.stop, "InstanceIds Hibernate Force SkipOsShutdown", "InstanceIds"),
    _acts("MonitorInstances", monitoring.monitor, "InstanceIds", "InstanceIds"),
    _acts("UnmonitorInstances", monitoring.unmonitor, "InstanceIds", "InstanceIds"),
    _acts("RebootInstances", instance.reboot, "InstanceIds", "InstanceIds"),
    _acts(
        "ModifyInstanceMetadataOptions",
        instance_attribute.modify_metadata_options,
        "InstanceId HttpTokens HttpPutResponseHopLimit HttpEndpoint InstanceMetadataTags HttpProtocolIpv6",
        "InstanceId",
    ),
    _reads("GetInstanceMetadataDefaults", metadata_defaults.get, ""),
    _writes(
        "ModifyInstanceMetadataDefaults",
        metadata_defaults.modify,
        "HttpTokens HttpPutResponseHopLimit HttpEndpoint InstanceMetadataTags HttpTokensEnforced",
        metadata_defaults.check_modify,
    ),
    _acts("StartInstances", instance.start, "InstanceIds", "InstanceIds"),
    _writes(
        "AssociateIamInstanceProfile",
        profile_association.associate,
        "InstanceId IamInstanceProfile.Arn IamInstanceProfile.Name",
        profile_association.check_associate,
    ),
    _writes(
        "ReplaceIamInstanceProfileAssociation",
        profile_association.replace_profile,
        "AssociationId IamInstanceProfile.Arn IamInstanceProfile.Name",
        profile_association.check_replace,
    ),
    _writes(
        "DisassociateIamInstanceProfile",
        profile_association.disassociate,
        "AssociationId",
        profile_association.check_disassociate,
    ),
    _reads("DescribeIamInstanceProfileAssociations", profile_association.describe, f"AssociationIds {_PAGES}"),
    _reads("GetPasswordData", instance.password_data, "InstanceId", on("ec2:GetPasswordData", "InstanceId")),
    _reads(
        "GetConsoleOutput",
        instance.console_output,
        "InstanceId Latest",
        on("ec2:GetConsoleOutput", "InstanceId"),
    ),
    _reads(
        "DescribeNetworkInterfaces",
        interface.describe,
        f"NetworkInterfaceIds IncludeManagedResources {_PAGES}",
    ),
    _writes(
        "CreateNetworkInterface",
        interface_making.create,
        "SubnetId Description Groups PrivateIpAddress PrivateIpAddresses SecondaryPrivateIpAddressCount ClientToken "
        "TagSpecifications " + " ".join(interface_making.NEUTRAL),
        interface_making.check_create,
    ),
    _acts("DeleteNetworkInterface", interface_making.delete, "NetworkInterfaceId", "NetworkInterfaceId"),
    _acts(
        "AttachNetworkInterface",
        interface_attachment.attach,
        "NetworkInterfaceId InstanceId DeviceIndex " + " ".join(interface_attachment.NEUTRAL),
        "NetworkInterfaceId",
        "InstanceId",
    ),
    _writes(
        "DetachNetworkInterface",
        interface_attachment.detach,
        "AttachmentId Force",
        interface_attachment.check_detach,
    ),
    _acts(
        "AssignPrivateIpAddresses",
        interface_address.assign,
        "NetworkInterfaceId PrivateIpAddresses SecondaryPrivateIpAddressCount AllowReassignment",
        "NetworkInterfaceId",
    ),
    _acts(
        "UnassignPrivateIpAddresses",
        interface_address.unassign,
        "NetworkInterfaceId PrivateIpAddresses",
        "NetworkInterfaceId",
    ),
    _reads(
        "DescribeNetworkInterfaceAttribute",
        interface_attribute.describe,
        "NetworkInterfaceId Attribute",
        on("ec2:DescribeNetworkInterfaceAttribute", "NetworkInterfaceId"),
    ),
    _acts(
        "ModifyNetworkInterfaceAttribute",
        interface_attribute.modify,
        "NetworkInterfaceId Description Groups SourceDestCheck Attachment.AttachmentId Attachment.DeleteOnTermination",
        "NetworkInterfaceId",
        "Groups",
    ),
    _acts(
        "ResetNetworkInterfaceAttribute",
        interface_attribute.reset,
        "NetworkInterfaceId SourceDestCheck",
        "NetworkInterfaceId",
    ),
    # Volumes
    _writes(
        "CreateVolume",
        volume_making.create,
        "AvailabilityZone AvailabilityZoneId Size SnapshotId VolumeType Iops Throughput ClientToken TagSpecifications "
        + " ".join(volume_making.NEUTRAL),
        volume_making.checks,
    ),
    _acts("DeleteVolume", volume_making.delete, "VolumeId", "VolumeId"),
    _reads("DescribeVolumes", volume.describe, f"VolumeIds IncludeManagedResources {_PAGES}"),
    _reads("DescribeVolumeStatus", volume.describe_status, f"VolumeIds IncludeManagedResources {_PAGES}"),
    _acts(
        "AttachVolume",
        volume_attachment.attach,
        "Device InstanceId VolumeId " + " ".join(volume_attachment.NEUTRAL),
        "VolumeId",
        "InstanceId",
    ),
    _writes(
        "DetachVolume", volume_attachment.detach, "Device Force InstanceId VolumeId", volume_attachment.check_detach
    ),
    _acts(
        "ModifyVolume",
        volume_change.modify,
        "VolumeId Size VolumeType Iops Throughput " + " ".join(volume_change.NEUTRAL),
        "VolumeId",
    ),
    _reads(
        "DescribeVolumesModifications",
        volume.describe_modifications,
        f"VolumeIds IncludeManagedResources {_PAGES}",
    ),
    _reads(
        "DescribeVolumeAttribute",
        volume_change.describe_attribute,
        "VolumeId Attribute",
        on("ec2:DescribeVolumeAttribute", "VolumeId"),
    ),
    _acts("ModifyVolumeAttribute", volume_change.modify_attribute, "VolumeId AutoEnableIO", "VolumeId"),
    _acts("EnableVolumeIO", volume_change.enable_io, "VolumeId", "VolumeId"),
    # Snapshots
    _writes(
        "CreateSnapshot",
        snapshot_making.create,
        "VolumeId Description TagSpecifications " + " ".join(snapshot_making.NEUTRAL),
        snapshot_making.check_create,
    ),
    _writes(
        "CreateSnapshots",
        snapshot_making.create_many,
        "InstanceSpecification Description CopyTagsFromSource TagSpecifications " + " ".join(snapshot_making.NEUTRAL),
        snapshot_making.check_create_many,
    ),
    _writes(
        "CopySnapshot",
        snapshot_making.copy,
        "SourceRegion SourceSnapshotId DestinationRegion PresignedUrl Description TagSpecifications "
        + " ".join(snapshot_making.COPY_NEUTRAL),
        snapshot_making.check_copy,
    ),
    _reads("DescribeSnapshots", snapshot.describe, f"SnapshotIds OwnerIds RestorableByUserIds {_PAGES}"),
    _acts("DeleteSnapshot", snapshot_making.delete, "SnapshotId", "SnapshotId"),
    _reads(
        "DescribeSnapshotAttribute",
        snapshot_attribute.describe,
        "SnapshotId Attribute",
        on("ec2:DescribeSnapshotAttribute", "SnapshotId"),
    ),
    _acts(
        "ModifySnapshotAttribute",
        snapshot_attribute.modify,
        "SnapshotId Attribute OperationType UserIds GroupNames CreateVolumePermission.Add.Group "
        "CreateVolumePermission.Add.UserId CreateVolumePermission.Remove.Group CreateVolumePermission.Remove.UserId",
        "SnapshotId",
    ),
    _acts("ResetSnapshotAttribute", snapshot_attribute.reset, "SnapshotId Attribute", "SnapshotId"),
    # Placement groups
    _writes(
        "CreatePlacementGroup",
        placement_group.create,
        "GroupName Strategy PartitionCount TagSpecifications " + " ".join(placement_group.NEUTRAL),
        placement_group.check_create,
    ),
    _reads("DescribePlacementGroups", placement_group.describe, "GroupIds GroupNames Filters"),
    _writes("DeletePlacementGroup", placement_group.delete, "GroupName", placement_group.check_delete),
    _writes(
        "ModifyInstancePlacement",
        placement_group.modify_placement,
        "InstanceId GroupId GroupName PartitionNumber Tenancy HostId Affinity",
        placement_group.check_modify,
    ),
    # Launch templates
    _writes(
        "CreateLaunchTemplate",
        launch_template.create,
        f"LaunchTemplateName VersionDescription ClientToken TagSpecifications {_TEMPLATE_DATA}",
        creates("CreateLaunchTemplate", "launch-template"),
    ),
    _reads(
        "DescribeLaunchTemplates",
        launch_template.describe,
        f"LaunchTemplateIds LaunchTemplateNames IncludeManagedResources {_PAGES}",
    ),
    _writes(
        "ModifyLaunchTemplate",
        launch_template.modify,
        f"{_TEMPLATE} DefaultVersion ClientToken",
        on_template("ec2:ModifyLaunchTemplate"),
    ),
    _writes("DeleteLaunchTemplate", launch_template.delete, _TEMPLATE, on_template("ec2:DeleteLaunchTemplate")),
    _writes(
        "CreateLaunchTemplateVersion",
        launch_template_version.create,
        f"{_TEMPLATE} VersionDescription SourceVersion ClientToken ResolveAlias {_TEMPLATE_DATA}",
        on_template("ec2:CreateLaunchTemplateVersion"),
    ),
    _reads(
        "DescribeLaunchTemplateVersions",
        launch_template_version.describe,
        f"{_TEMPLATE} Versions MinVersion MaxVersion ResolveAlias IncludeManagedResources {_PAGES}",
    ),
    _writes(
        "DeleteLaunchTemplateVersions",
        launch_template_version.delete,
        f"{_TEMPLATE} Versions",
        on_template("ec2:DeleteLaunchTemplateVersions"),
    ),
    _reads(
        "GetLaunchTemplateData",
        launch_template_version.data_of_instance,
        "InstanceId",
        on("ec2:GetLaunchTemplateData", "InstanceId"),
    ),
    # Elastic IPs
    _writes(
        "AllocateAddress",
        address.allocate,
        "Address NetworkBorderGroup TagSpecifications " + " ".join(address.NEUTRAL),
        creates("AllocateAddress", "elastic-ip"),
    ),
    _writes(
        "AssociateAddress",
        address.associate,
        "AllocationId PublicIp InstanceId NetworkInterfaceId PrivateIpAddress AllowReassociation",
        address.on_address("ec2:AssociateAddress"),
    ),
    _writes(
        "DisassociateAddress",
        address.disassociate,
        "AssociationId PublicIp",
        address.on_address("ec2:DisassociateAddress"),
    ),
    _writes(
        "ReleaseAddress",
        address.release,
        "AllocationId PublicIp NetworkBorderGroup",
        address.on_address("ec2:ReleaseAddress"),
    ),
    _reads("DescribeAddresses", address.describe, "AllocationIds PublicIps Filters"),
    _reads("DescribeAddressesAttribute", address.describe_attribute, "AllocationIds Attribute MaxResults NextToken"),
    # NAT gateways
    _writes(
        "CreateNatGateway",
        nat_gateway.create,
        "SubnetId AllocationId PrivateIpAddress SecondaryAllocationIds SecondaryPrivateIpAddresses "
        "SecondaryPrivateIpAddressCount ClientToken TagSpecifications " + " ".join(nat_gateway.NEUTRAL),
        creates("CreateNatGateway", "natgateway", "SubnetId", "AllocationId", "SecondaryAllocationIds"),
    ),
    _reads("DescribeNatGateways", nat_gateway.describe, "NatGatewayIds Filter MaxResults NextToken"),
    _acts("DeleteNatGateway", nat_gateway.delete, "NatGatewayId", "NatGatewayId"),
    _acts(
        "AssociateNatGatewayAddress",
        nat_gateway_address.associate,
        "NatGatewayId AllocationIds PrivateIpAddresses",
        "NatGatewayId",
        "AllocationIds",
    ),
    _acts(
        "DisassociateNatGatewayAddress",
        nat_gateway_address.disassociate,
        "NatGatewayId AssociationIds MaxDrainDurationSeconds",
        "NatGatewayId",
    ),
    _acts(
        "AssignPrivateNatGatewayAddress",
        nat_gateway_address.assign,
        "NatGatewayId PrivateIpAddresses PrivateIpAddressCount",
        "NatGatewayId",
    ),
    _acts(
        "UnassignPrivateNatGatewayAddress",
        nat_gateway_address.unassign,
        "NatGatewayId PrivateIpAddresses MaxDrainDurationSeconds",
        "NatGatewayId",
    ),
    # Network ACLs
    _writes(
        "CreateNetworkAcl",
        network_acl.create,
        "VpcId ClientToken TagSpecifications",
        creates("CreateNetworkAcl", "network-acl", "VpcId"),
    ),
    _reads("DescribeNetworkAcls", network_acl.describe, f"NetworkAclIds {_PAGES}"),
    _acts("DeleteNetworkAcl", network_acl.delete, "NetworkAclId", "NetworkAclId"),
    _acts("CreateNetworkAclEntry", network_acl.create_entry, _ACL_ENTRY, "NetworkAclId"),
    _acts("ReplaceNetworkAclEntry", network_acl.replace_entry, _ACL_ENTRY, "NetworkAclId"),
    _acts("DeleteNetworkAclEntry", network_acl.delete_entry, "NetworkAclId RuleNumber Egress", "NetworkAclId"),
    _writes(
        "ReplaceNetworkAclAssociation",
        network_acl.replace_association,
        "AssociationId NetworkAclId",
        network_acl.on_acl_association("ec2:ReplaceNetworkAclAssociation"),
    ),
    # Tags
    _writes("CreateTags", tags.create, "Resources Tags", tagging("ec2:CreateTags")),
    _writes("DeleteTags", tags.delete, "Resources Tags", tagging("ec2:DeleteTags")),
    _reads("DescribeTags", tags.describe, _PAGES),
    # What is never there
    *(_reads(one.operation, one.describe, one.takes) for one in ABSENT),
)

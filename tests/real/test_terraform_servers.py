"""The calls of Terraform's AWS provider for what runs: an instance, a NAT gateway, an Auto Scaling group.

As `tests/cloud/clients/test_terraform.py`, which has all else. Sources: ec2/ec2_instance.go, vpc_nat_gateway.go and
autoscaling/group.go in https://github.com/hashicorp/terraform-provider-aws/tree/main/internal/service.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from support.real_cloud import RealCloud
from support.real_server import until

pytestmark = pytest.mark.real

NAME = "terraformed"
TAGS = [{"Key": "Name", "Value": NAME}]
SCRIPT = "#!/bin/sh\ntrue\n"


def filters(**named: str) -> list[dict[str, Any]]:
    return [{"Name": name.replace("__", ".").replace("_", "-"), "Values": [value]} for name, value in named.items()]


def patiently(call: Callable[..., Any], *codes: str, **params: Any) -> None:
    """As Terraform, which tries again where it is told one of these."""

    def done() -> bool:
        try:
            call(**params)
        except ClientError as error:
            answer: Any = error.response
            if answer["Error"]["Code"] not in codes:
                raise
            return False
        return True

    until(done, f"{call.__name__} not to be refused with {codes}")


class Walk:
    """Each step is a resource's create and read, or its update; `destroy` goes back."""

    def __init__(self, cloud: RealCloud) -> None:
        self.cloud, self.ec2, self.scaling = cloud, cloud.ec2, cloud.client("autoscaling")
        self.vpc = self.ec2.create_vpc(CidrBlock="10.66.0.0/16")["Vpc"]["VpcId"]
        made = self.ec2.create_subnet(VpcId=self.vpc, CidrBlock="10.66.1.0/24", AvailabilityZone="us-east-1a")
        self.subnet = made["Subnet"]["SubnetId"]
        self.gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=self.gateway, VpcId=self.vpc)
        (table,) = self.ec2.describe_route_tables(Filters=filters(vpc_id=self.vpc))["RouteTables"]
        self.ec2.create_route(
            RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=self.gateway
        )

    def instance(self) -> str:
        (image,) = self.ec2.describe_images(ImageIds=[self.cloud.image])["Images"]
        root = image["RootDeviceName"]
        (kind,) = self.ec2.describe_instance_types(InstanceTypes=["t3.micro"])["InstanceTypes"]
        assert kind["BurstablePerformanceSupported"]
        interface = {"DeviceIndex": 0, "SubnetId": self.subnet, "AssociatePublicIpAddress": True}
        (made,) = self.ec2.run_instances(
            BlockDeviceMappings=[
                {"DeviceName": root, "Ebs": {"DeleteOnTermination": True, "VolumeSize": 9, "VolumeType": "gp3"}}
            ],
            ClientToken=NAME,
            CreditSpecification={"CpuCredits": "unlimited"},
            DisableApiStop=False,
            DisableApiTermination=True,
            EbsOptimized=False,
            ImageId=self.cloud.image,
            InstanceType="t3.micro",
            MaxCount=1,
            MetadataOptions={"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 2},
            MinCount=1,
            Monitoring={"Enabled": False},
            NetworkInterfaces=[interface],
            TagSpecifications=[{"ResourceType": kind, "Tags": TAGS} for kind in ("instance", "volume")],
            UserData=SCRIPT,
        )["Instances"]
        instance: str = made["InstanceId"]
        until(lambda: self.state(instance) == "running", f"{instance} is running")
        return instance

    def state(self, instance: str) -> str:
        state: str = self.described(instance)["State"]["Name"]
        return state

    def described(self, instance: str) -> dict[str, Any]:
        ((found,),) = [
            each["Instances"] for each in self.ec2.describe_instances(InstanceIds=[instance])["Reservations"]
        ]
        answer: dict[str, Any] = found
        return answer

    def attribute(self, instance: str, name: str) -> Any:
        answer = self.ec2.describe_instance_attribute(InstanceId=instance, Attribute=name)
        return answer[name[0].upper() + name[1:]]["Value"]

    def read_instance(self, instance: str) -> None:
        found = self.described(instance)
        assert found["Placement"] | {"AvailabilityZone": "us-east-1a", "Tenancy": "default"} == found["Placement"]
        assert found["CpuOptions"] == {"CoreCount": 1, "ThreadsPerCore": 2}
        assert found["HibernationOptions"] == {"Configured": False} and found["EnclaveOptions"] == {"Enabled": False}
        assert found["MaintenanceOptions"]["AutoRecovery"] == "default" and found["EbsOptimized"] is False
        assert found["PrivateDnsNameOptions"]["HostnameType"] == "ip-name" and found["Tags"] == TAGS
        metadata = {"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 2}
        metadata |= {"HttpProtocolIpv6": "disabled", "InstanceMetadataTags": "disabled", "State": "applied"}
        assert found["MetadataOptions"] == metadata
        (interface,) = found["NetworkInterfaces"]
        assert interface["Attachment"] | {"DeviceIndex": 0, "NetworkCardIndex": 0} == interface["Attachment"]
        assert interface["SubnetId"] == self.subnet and interface["SourceDestCheck"] and interface["Association"]
        assert (
            self.ec2.describe_tags(
                Filters=[*filters(resource_id=instance), {"Name": "key", "Values": ["aws:ec2launchtemplate:id"]}]
            )["Tags"]
            == []
        )
        attributes = {
            "instanceInitiatedShutdownBehavior": "stop",
            "disableApiStop": False,
            "disableApiTermination": True,
            "userData": base64.b64encode(SCRIPT.encode()).decode(),
        }
        assert {name: self.attribute(instance, name) for name in attributes} == attributes
        (credits,) = self.ec2.describe_instance_credit_specifications(InstanceIds=[instance])[
            "InstanceCreditSpecifications"
        ]
        assert credits["CpuCredits"] == "unlimited"
        (device,) = found["BlockDeviceMappings"]
        (volume,) = self.ec2.describe_volumes(VolumeIds=[device["Ebs"]["VolumeId"]])["Volumes"]
        assert device["DeviceName"] == found["RootDeviceName"] and device["Ebs"]["DeleteOnTermination"]
        assert volume | {"Size": 9, "VolumeType": "gp3", "Iops": 3000, "Throughput": 125, "Encrypted": False} == volume
        assert volume["Tags"] == TAGS

    def update_instance(self, instance: str) -> None:
        """Its size needs a stop: ec2_instance.go, modifyInstanceAttributeWithStopStart."""
        self.ec2.modify_instance_metadata_options(
            InstanceId=instance, HttpEndpoint="enabled", HttpTokens="optional", InstanceMetadataTags="enabled"
        )
        self.ec2.stop_instances(InstanceIds=[instance])
        until(lambda: self.state(instance) == "stopped", f"{instance} is stopped")
        self.ec2.modify_instance_attribute(InstanceId=instance, InstanceType={"Value": "t3.small"})
        # Not every kernel lets us grow what is mounted: test_root_disk.py.
        root = self.described(instance)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
        self.ec2.modify_volume(VolumeId=root, Size=10)

        def modified() -> bool:
            (change,) = self.ec2.describe_volumes_modifications(VolumeIds=[root])["VolumesModifications"]
            return change["ModificationState"] in ("optimizing", "completed")

        until(modified, f"{root} is modified")
        self.ec2.start_instances(InstanceIds=[instance])
        until(lambda: self.state(instance) == "running", f"{instance} is running")
        found = self.described(instance)
        assert (found["InstanceType"], found["MetadataOptions"]["HttpTokens"]) == ("t3.small", "optional")
        self.ec2.create_tags(Resources=[instance, root], Tags=[{"Key": "more", "Value": "1"}])
        self.ec2.delete_tags(Resources=[root], Tags=[{"Key": "Name"}])
        (volume,) = self.ec2.describe_volumes(VolumeIds=[root])["Volumes"]
        assert (volume["Size"], volume["Tags"]) == (10, [{"Key": "more", "Value": "1"}])

    def delete_instance(self, instance: str) -> None:
        for name in ("DisableApiTermination", "DisableApiStop"):
            self.ec2.modify_instance_attribute(InstanceId=instance, **{name: {"Value": False}})
        self.ec2.terminate_instances(InstanceIds=[instance])
        until(lambda: self.state(instance) == "terminated", f"{instance} is terminated")

    def nat_gateway(self) -> tuple[str, str]:
        address = self.ec2.allocate_address(Domain="vpc")["AllocationId"]
        (found,) = self.ec2.describe_addresses(AllocationIds=[address])["Addresses"]
        assert found["Domain"] == "vpc" and "AssociationId" not in found
        named = self.ec2.describe_addresses_attribute(AllocationIds=[address], Attribute="domain-name")
        assert [each.get("PtrRecord") for each in named["Addresses"]] in ([], [None])
        made = self.ec2.create_nat_gateway(
            AllocationId=address,
            ClientToken=NAME,
            ConnectivityType="public",
            SubnetId=self.subnet,
            TagSpecifications=[{"ResourceType": "natgateway", "Tags": TAGS}],
        )["NatGateway"]["NatGatewayId"]
        until(lambda: self.nat(made)["State"] == "available", f"{made} is available")
        nat = self.nat(made)
        assert nat | {"ConnectivityType": "public", "SubnetId": self.subnet, "VpcId": self.vpc, "Tags": TAGS} == nat
        (one,) = nat["NatGatewayAddresses"]
        assert one | {"IsPrimary": True, "AllocationId": address, "PublicIp": found["PublicIp"]} == one
        assert one["AssociationId"] and one["NetworkInterfaceId"] and one["PrivateIp"].startswith("10.66.1.")
        return made, address

    def nat(self, gateway: str) -> dict[str, Any]:
        (found,) = self.ec2.describe_nat_gateways(NatGatewayIds=[gateway])["NatGateways"]
        answer: dict[str, Any] = found
        return answer

    def delete_nat_gateway(self, gateway: str, address: str) -> None:
        self.ec2.delete_nat_gateway(NatGatewayId=gateway)
        until(lambda: self.nat(gateway)["State"] == "deleted", f"{gateway} is deleted")
        self.ec2.release_address(AllocationId=address)
        with pytest.raises(ClientError, match=r"InvalidAllocationID\.NotFound"):
            self.ec2.describe_addresses(AllocationIds=[address])

    def group(self) -> str:
        data = {"ImageId": self.cloud.image, "InstanceType": "t3.micro"}
        template = self.ec2.create_launch_template(LaunchTemplateName=NAME, LaunchTemplateData=data)["LaunchTemplate"]
        tag = {"ResourceId": NAME, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": True}
        self.scaling.create_auto_scaling_group(
            AutoScalingGroupName=NAME,
            DesiredCapacity=1,
            HealthCheckGracePeriod=300,
            HealthCheckType="EC2",
            LaunchTemplate={"LaunchTemplateId": template["LaunchTemplateId"], "Version": "$Latest"},
            MaxSize=2,
            MinSize=0,
            NewInstancesProtectedFromScaleIn=False,
            Tags=[{**tag, "Key": "team", "Value": "one"}],
            VPCZoneIdentifier=self.subnet,
        )
        until(lambda: self.in_service() == 1, f"{NAME} has its server", facts=self.groups)
        until(lambda: self.activities() == {"Successful"}, "the launch's activity", facts=self.activities)
        (found,) = self.groups()
        wanted = {
            "CapacityRebalance": False,
            "DefaultCooldown": 300,
            "DesiredCapacity": 1,
            "HealthCheckGracePeriod": 300,
            "HealthCheckType": "EC2",
            "LoadBalancerNames": [],
            "MaxSize": 2,
            "MinSize": 0,
            "NewInstancesProtectedFromScaleIn": False,
            "SuspendedProcesses": [],
            "TargetGroupARNs": [],
            "TrafficSources": [],
            "TerminationPolicies": ["Default"],
            "VPCZoneIdentifier": self.subnet,
        }
        shown = {name: found.get(name) for name in wanted if name != "CapacityRebalance"}
        assert shown == {name: value for name, value in wanted.items() if name != "CapacityRebalance"}
        assert not found.get("CapacityRebalance") and found["AvailabilityZones"] == ["us-east-1a"]
        assert found["LaunchTemplate"] | {"Version": "$Latest", "LaunchTemplateName": NAME} == found["LaunchTemplate"]
        assert found["ServiceLinkedRoleARN"].endswith("AWSServiceRoleForAutoScaling")
        assert found["Tags"] == [{**tag, "Key": "team", "Value": "one"}]
        assert found.keys().isdisjoint({"MixedInstancesPolicy", "WarmPoolConfiguration", "PlacementGroup", "Status"})

        self.scaling.create_or_update_tags(Tags=[{**tag, "Key": "more", "Value": "1"}])
        self.scaling.update_auto_scaling_group(
            AutoScalingGroupName=NAME, MaxSize=3, NewInstancesProtectedFromScaleIn=False
        )
        (found,) = self.groups()
        assert (found["MaxSize"], {tag["Key"] for tag in found["Tags"]}) == (3, {"more", "team"})
        identity: str = template["LaunchTemplateId"]
        return identity

    def groups(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[NAME])[
            "AutoScalingGroups"
        ]
        return found

    def activities(self) -> set[str]:
        found = self.scaling.describe_scaling_activities(AutoScalingGroupName=NAME)["Activities"]
        return {each["StatusCode"] for each in found}

    def in_service(self) -> int:
        return sum(one["LifecycleState"] == "InService" for one in self.groups()[0]["Instances"])

    def delete_group(self, template: str) -> None:
        """Empty first, then away: autoscaling/group.go, drainGroup."""
        self.scaling.update_auto_scaling_group(AutoScalingGroupName=NAME, DesiredCapacity=0, MinSize=0, MaxSize=0)
        until(lambda: self.groups()[0]["Instances"] == [], f"{NAME} is empty", facts=self.groups)
        delete = self.scaling.delete_auto_scaling_group
        patiently(delete, "ResourceInUse", "ScalingActivityInProgress", AutoScalingGroupName=NAME, ForceDelete=False)
        until(lambda: self.groups() == [], f"{NAME} is gone", facts=self.groups)
        self.ec2.delete_launch_template(LaunchTemplateId=template)

    def interfaces(self) -> list[dict[str, Any]]:
        """Terraform deletes those that AWS's services have left; there are none here."""
        found: list[dict[str, Any]] = self.ec2.describe_network_interfaces(Filters=filters(subnet_id=self.subnet))[
            "NetworkInterfaces"
        ]
        return found

    def destroy(self) -> None:
        ec2, busy = self.ec2, "DependencyViolation"
        patiently(ec2.detach_internet_gateway, busy, InternetGatewayId=self.gateway, VpcId=self.vpc)
        patiently(ec2.delete_internet_gateway, busy, InternetGatewayId=self.gateway)
        until(lambda: self.interfaces() == [], "the subnet's interfaces to go", facts=self.interfaces)
        patiently(ec2.delete_subnet, busy, SubnetId=self.subnet)
        patiently(ec2.delete_vpc, busy, VpcId=self.vpc)


def test_what_runs_is_made_read_changed_and_taken_away(cloud: RealCloud) -> None:
    walk = Walk(cloud)
    instance = walk.instance()
    walk.read_instance(instance)
    template = walk.group()
    gateway, address = walk.nat_gateway()
    walk.update_instance(instance)
    walk.delete_nat_gateway(gateway, address)
    walk.delete_group(template)
    walk.delete_instance(instance)
    walk.destroy()

"""What is never there is an empty list, and an id of it is not found."""

from __future__ import annotations

import pytest
from ec2_fixtures import Cloud, filters

from skylift.cloud.services.ec2.empty_listings import ABSENT, EmptyListing

CODES = {
    "CapacityReservations": "InvalidCapacityReservationId.NotFound",
    "CarrierGateways": "InvalidCarrierGatewayID.NotFound",
    "CustomerGateways": "InvalidCustomerGatewayID.NotFound",
    "EgressOnlyInternetGateways": "InvalidEgressOnlyInternetGatewayId.NotFound",
    "FlowLogs": "InvalidFlowLogId.NotFound",
    "InstanceConnectEndpoints": "InvalidInstanceConnectEndpointId.NotFound",
    "TransitGatewayAttachments": "InvalidTransitGatewayAttachmentID.NotFound",
    "TransitGatewayVpcAttachments": "InvalidTransitGatewayAttachmentID.NotFound",
    "TransitGateways": "InvalidTransitGatewayID.NotFound",
    "VpnConnections": "InvalidVpnConnectionID.NotFound",
    "VpnGateways": "InvalidVpnGatewayID.NotFound",
}


@pytest.mark.parametrize("one", ABSENT, ids=lambda one: one.member)
def test_an_empty_list(cloud: Cloud, one: EmptyListing) -> None:
    operation, asked = f"Describe{one.member}", {one.filters: filters(tag_key="x")}
    assert cloud.call(operation, **asked, **({"MaxResults": 5} if one.paged else {})) == {one.member: []}
    assert cloud.code(operation, **{f"{one.of}Ids": ["x-0123456789abcdef0"]}) == CODES[one.member]
    assert cloud.code(operation, DryRun=True) == "DryRunOperation"


def test_groups_that_a_vpc_can_use(cloud: Cloud) -> None:
    vpc, group = cloud.default("vpc")["VpcId"], cloud.default("group")
    (found,) = cloud.call("GetSecurityGroupsForVpc", VpcId=vpc)["SecurityGroupForVpcs"]
    assert (found["GroupId"], found["PrimaryVpcId"]) == (group["GroupId"], vpc)
    named = filters(group_name="other")
    assert cloud.call("GetSecurityGroupsForVpc", VpcId=vpc, Filters=named) == {"SecurityGroupForVpcs": []}
    references = cloud.call("DescribeSecurityGroupReferences", GroupId=[group["GroupId"]])
    assert references == {"SecurityGroupReferenceSet": []}
    assert cloud.call("DescribeStaleSecurityGroups", VpcId=vpc) == {"StaleSecurityGroupSet": []}
    assert cloud.code("DescribeStaleSecurityGroups", VpcId="vpc-0123456789abcdef0") == "InvalidVpcID.NotFound"


def test_a_server_without_windows_has_no_password(cloud: Cloud) -> None:
    instance = cloud.run()["InstanceId"]
    assert cloud.call("GetPasswordData", InstanceId=instance)["PasswordData"] == ""

"""Lists of resources that cannot be made in this cloud: always empty. Tools that tidy up a VPC or an account ask for
each.

An id that is asked for is not there, in the words that EC2 has for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.ec2_operation import reads
from skylift.cloud.services.api.operation import Answer, Params
from skylift.cloud.services.api.page import Limits, Page, page
from skylift.cloud.services.api.page_token import Paged
from skylift.cloud.store.database import Tx

LIMITS = Limits(least=1)


@dataclass(frozen=True)
class Absent:
    """One such list: the operation, the parameter that takes ids, the member of the answer, the code for an id that is
    not there. `filters` is how the model spells that parameter; `paged` is whether it has pages."""

    operation: str
    ids: str
    member: str
    not_found: str
    filters: str = "Filters"
    paged: bool = True
    more: str = ""

    @property
    def takes(self) -> str:
        return f"{self.ids} {self.filters} {self.more} {'MaxResults NextToken' if self.paged else ''}"

    def describe(self, _tx: Tx, _caller: Caller, params: Paged) -> Answer:
        given: Params = params
        for name in self.ids.split():
            for asked in cast("list[str] | None", given.get(name)) or []:
                raise ServiceError(self.not_found, f"'{asked}' does not exist")
        shown: Page[str] = page([], params, str, LIMITS)
        return {self.member: shown.items, **shown.next}


ABSENT = (
    Absent(
        "DescribeCapacityReservations",
        "CapacityReservationIds",
        "CapacityReservations",
        "InvalidCapacityReservationId.NotFound",
    ),
    Absent("DescribeCarrierGateways", "CarrierGatewayIds", "CarrierGateways", "InvalidCarrierGatewayID.NotFound"),
    Absent(
        "DescribeCustomerGateways",
        "CustomerGatewayIds",
        "CustomerGateways",
        "InvalidCustomerGatewayID.NotFound",
        paged=False,
    ),
    Absent(
        "DescribeEgressOnlyInternetGateways",
        "EgressOnlyInternetGatewayIds",
        "EgressOnlyInternetGateways",
        "InvalidEgressOnlyInternetGatewayId.NotFound",
    ),
    Absent("DescribeFlowLogs", "FlowLogIds", "FlowLogs", "InvalidFlowLogId.NotFound", filters="Filter"),
    Absent(
        "DescribeInstanceConnectEndpoints",
        "InstanceConnectEndpointIds",
        "InstanceConnectEndpoints",
        "InvalidInstanceConnectEndpointId.NotFound",
    ),
    Absent(
        "DescribeTransitGatewayAttachments",
        "TransitGatewayAttachmentIds",
        "TransitGatewayAttachments",
        "InvalidTransitGatewayAttachmentID.NotFound",
    ),
    Absent(
        "DescribeTransitGatewayVpcAttachments",
        "TransitGatewayAttachmentIds",
        "TransitGatewayVpcAttachments",
        "InvalidTransitGatewayAttachmentID.NotFound",
    ),
    Absent("DescribeTransitGateways", "TransitGatewayIds", "TransitGateways", "InvalidTransitGatewayID.NotFound"),
    Absent(
        "DescribeVpnConnections", "VpnConnectionIds", "VpnConnections", "InvalidVpnConnectionID.NotFound", paged=False
    ),
    Absent("DescribeVpnGateways", "VpnGatewayIds", "VpnGateways", "InvalidVpnGatewayID.NotFound", paged=False),
)


OPERATIONS = (*(reads(one.operation, one.describe, one.takes) for one in ABSENT),)

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
class EmptyListing:
    """One such list, by the member of the answer. `of` is what an id is of, and `id` how its error code spells that;
    `filters` is how the model spells that parameter; `paged` is whether the list has pages."""

    member: str
    of: str
    id: str = "ID"
    filters: str = "Filters"
    paged: bool = True

    @property
    def takes(self) -> str:
        return f"{self.of}Ids {self.filters} {'MaxResults NextToken' if self.paged else ''}"

    def describe(self, _tx: Tx, _caller: Caller, params: Paged) -> Answer:
        given: Params = params
        for asked in cast("list[str] | None", given.get(f"{self.of}Ids")) or []:
            raise ServiceError(f"Invalid{self.of}{self.id}.NotFound", f"'{asked}' does not exist")
        shown: Page[str] = page([], params, str, LIMITS)
        return {self.member: shown.items, **shown.next}


ABSENT = (
    EmptyListing("CapacityReservations", "CapacityReservation", "Id"),
    EmptyListing("CarrierGateways", "CarrierGateway"),
    EmptyListing("CustomerGateways", "CustomerGateway", paged=False),
    EmptyListing("EgressOnlyInternetGateways", "EgressOnlyInternetGateway", "Id"),
    EmptyListing("FlowLogs", "FlowLog", "Id", filters="Filter"),
    EmptyListing("InstanceConnectEndpoints", "InstanceConnectEndpoint", "Id"),
    EmptyListing("TransitGatewayAttachments", "TransitGatewayAttachment"),
    EmptyListing("TransitGatewayVpcAttachments", "TransitGatewayAttachment"),
    EmptyListing("TransitGateways", "TransitGateway"),
    EmptyListing("VpnConnections", "VpnConnection", paged=False),
    EmptyListing("VpnGateways", "VpnGateway", paged=False),
)


OPERATIONS = (*(reads(f"Describe{one.member}", one.describe, one.takes) for one in ABSENT),)

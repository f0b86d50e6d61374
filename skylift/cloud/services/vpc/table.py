"""The rows of this folder's operations: each stands below its handler."""

from __future__ import annotations

from skylift.cloud.services.api.operation import Operation
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

OPERATIONS: tuple[Operation, ...] = (
    *address.OPERATIONS,
    *dhcp_options.OPERATIONS,
    *gateway.OPERATIONS,
    *interface.OPERATIONS,
    *interface_address.OPERATIONS,
    *interface_attachment.OPERATIONS,
    *interface_attribute.OPERATIONS,
    *interface_making.OPERATIONS,
    *nat_gateway.OPERATIONS,
    *nat_gateway_address.OPERATIONS,
    *network_acl.OPERATIONS,
    *peering.OPERATIONS,
    *prefix_list.OPERATIONS,
    *route.OPERATIONS,
    *security_group.OPERATIONS,
    *security_group_edit.OPERATIONS,
    *security_group_use.OPERATIONS,
    *subnet.OPERATIONS,
    *vpc.OPERATIONS,
    *vpc_cidr.OPERATIONS,
    *vpc_endpoint.OPERATIONS,
)

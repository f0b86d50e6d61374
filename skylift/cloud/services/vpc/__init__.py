"""Networks: VPCs, subnets, routes, security groups, interfaces, addresses."""

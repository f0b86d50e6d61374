"""An Elastic IP, a NAT gateway and a NAT instance, asked for by their API and used by real servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from real_cloud import RealCloud
from real_server import Server, until

from skylift.cloud.compute.namespace import Namespace

pytestmark = pytest.mark.real

ANYWHERE = "0.0.0.0/0"


@dataclass(frozen=True)
class Site:
    cloud: RealCloud
    public: Server
    private: Server
    private_subnet: str
    table: str
    nat: str
    nat_ip: str
    group: str


@pytest.fixture(scope="module")
def site(cloud: RealCloud) -> Iterator[Site]:
    """A private subnet of the default VPC behind a NAT gateway, and a server in it behind one that is not."""
    ec2 = cloud.ec2
    with ExitStack() as end:
        subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [cloud.vpc]}])["Subnets"]
        private = ec2.create_subnet(VpcId=cloud.vpc, CidrBlock="172.31.200.0/24")["Subnet"]["SubnetId"]
        end.callback(ec2.delete_subnet, SubnetId=private)
        group = cloud.security_group("eip", cloud.vpc, (22, ANYWHERE))
        end.callback(ec2.delete_security_group, GroupId=group)
        address = ec2.allocate_address(Domain="vpc")
        end.callback(ec2.release_address, AllocationId=address["AllocationId"])
        made = ec2.create_nat_gateway(SubnetId=subnets[0]["SubnetId"], AllocationId=address["AllocationId"])
        nat = made["NatGateway"]["NatGatewayId"]
        end.callback(remove_nat, cloud, nat)
        until(lambda: state(cloud, nat) == "available", "the NAT gateway")
        table = ec2.create_route_table(VpcId=cloud.vpc)["RouteTable"]["RouteTableId"]
        end.callback(ec2.delete_route_table, RouteTableId=table)
        association = ec2.associate_route_table(RouteTableId=table, SubnetId=private)["AssociationId"]
        end.callback(ec2.disassociate_route_table, AssociationId=association)
        ec2.create_route(RouteTableId=table, DestinationCidrBlock=ANYWHERE, NatGatewayId=nat)
        outside = cloud.launch(SubnetId=subnets[0]["SubnetId"], SecurityGroupIds=[group])
        end.callback(outside.terminate)
        inside = cloud.launch(outside, SubnetId=private, SecurityGroupIds=[group])
        end.callback(inside.terminate)
        yield Site(cloud, outside, inside, private, table, nat, address["PublicIp"], group)


def state(cloud: RealCloud, nat: str) -> str:
    return str(cloud.ec2.describe_nat_gateways(NatGatewayIds=[nat])["NatGateways"][0]["State"])


def remove_nat(cloud: RealCloud, nat: str) -> None:
    cloud.ec2.delete_nat_gateway(NatGatewayId=nat)
    until(lambda: state(cloud, nat) == "deleted", "the NAT gateway to be gone")


def test_a_private_server_reaches_out_and_is_seen_at_the_gateways_address(site: Site) -> None:
    """sshd of the public server tells whom it sees, in the environment of the session."""
    assert "PublicIpAddress" not in site.private.describe()
    site.private.ssh("test -e key || ssh-keygen -q -t ed25519 -N '' -f key")
    public_key = site.private.says("cat key.pub")
    site.public.ssh("cat >> .ssh/authorized_keys", text=f"{public_key}\n")
    seen = site.private.says(
        f"ssh -i key -o StrictHostKeyChecking=no ec2-user@{site.public.public_ip} 'echo $SSH_CONNECTION'"
    )
    assert seen.split()[0] == site.nat_ip


def test_a_removed_route_stops_it_at_once(site: Site) -> None:
    ec2, route = site.cloud.ec2, {"RouteTableId": site.table, "DestinationCidrBlock": ANYWHERE}

    def gets_out() -> bool:
        command = f"timeout 1 bash -c '</dev/tcp/{site.public.public_ip}/22'"
        return site.private.ssh(command, check=False).returncode == 0

    assert gets_out()
    ec2.delete_route(**route)
    until(lambda: not gets_out(), "the way out to be closed")
    ec2.create_route(**route, NatGatewayId=site.nat)
    until(gets_out, "the way out to be open again")


def test_a_server_can_be_the_way_out_of_others(site: Site) -> None:
    """A NAT instance: it forwards for the private subnet, once nobody checks whether what it gets is for it.

    Its rules are laid down as its own nft would do; the image has none.
    """
    ec2, nat = site.cloud.ec2, site.public
    far = site.cloud.launch(SecurityGroupIds=[site.group])
    route = {"RouteTableId": site.table, "DestinationCidrBlock": ANYWHERE}
    inside = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "172.31.200.0/24"}]}
    ec2.authorize_security_group_ingress(GroupId=site.group, IpPermissions=[inside])
    nat.ssh("sudo sysctl -q -w net.ipv4.ip_forward=1")
    namespace = Namespace.of_process(nat.init)
    namespace.load(
        "table ip nat { chain out { type nat hook postrouting priority srcnat; oifname eth0 masquerade; }; }"
    )
    namespace.close()

    def gets_out() -> bool:
        command = f"timeout 1 bash -c '</dev/tcp/{far.public_ip}/22'"
        return site.private.ssh(command, check=False).returncode == 0

    def shown() -> dict[str, str]:
        table = ec2.describe_route_tables(RouteTableIds=[site.table])["RouteTables"][0]
        found: dict[str, str] = next(one for one in table["Routes"] if one["DestinationCidrBlock"] == ANYWHERE)
        return found

    try:
        ec2.replace_route(**route, InstanceId=nat.id)
        assert (shown()["InstanceId"], shown()["State"]) == (nat.id, "active")
        until(lambda: not gets_out(), "a checked interface to take nothing for others")
        ec2.modify_instance_attribute(InstanceId=nat.id, SourceDestCheck={"Value": False})
        until(gets_out, "the way out through a server")
        far.ssh("cat >> .ssh/authorized_keys", text=f"{site.private.says('cat key.pub')}\n")
        login = f"ssh -i key -o StrictHostKeyChecking=no ec2-user@{far.public_ip} 'echo $SSH_CONNECTION'"
        assert site.private.says(login).split()[0] == nat.public_ip
    finally:
        ec2.replace_route(**route, NatGatewayId=site.nat)
        ec2.modify_instance_attribute(InstanceId=nat.id, SourceDestCheck={"Value": True})
        ec2.revoke_security_group_ingress(GroupId=site.group, IpPermissions=[inside])
        far.terminate()


def test_an_elastic_ip_stays_through_stop_and_start(site: Site) -> None:
    ec2, server = site.cloud.ec2, site.public
    before = server.public_ip
    address = ec2.allocate_address(Domain="vpc")
    allocation = address["AllocationId"]
    association = ec2.associate_address(AllocationId=allocation, InstanceId=server.id)["AssociationId"]
    try:
        assert server.public_ip == address["PublicIp"] != before
        server.await_way_in("SSH by the Elastic IP")
        token = "curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token"
        path = "http://169.254.169.254/latest/meta-data/public-ipv4"
        assert server.says(f'curl -s -H "X-aws-ec2-metadata-token: $({token})" {path}') == address["PublicIp"]
        ec2.stop_instances(InstanceIds=[server.id])
        server.await_state("stopped")
        assert server.public_ip == address["PublicIp"]
        ec2.start_instances(InstanceIds=[server.id])
        server.await_state("running")
        assert server.public_ip == address["PublicIp"]
        server.await_ssh()
    finally:
        ec2.disassociate_address(AssociationId=association)
        ec2.release_address(AllocationId=allocation)
    assert server.public_ip != address["PublicIp"]
    server.await_way_in("SSH by the next address")

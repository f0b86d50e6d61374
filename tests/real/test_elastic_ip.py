"""An Elastic IP, a NAT gateway and a NAT instance, asked for by their API and used by real servers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server, until

from skylift.cloud.compute.network.namespace import Namespace

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

    until(gets_out, "the way out")
    ec2.delete_route(**route)
    until(lambda: not gets_out(), "the way out to be closed")
    ec2.create_route(**route, NatGatewayId=site.nat)
    until(gets_out, "the way out to be open again")


def test_a_private_subnet_is_not_reachable_from_the_host(site: Site) -> None:
    """Not by an address of its own, which its route table has no way back for, nor by its gateway's.

    That the host has no route to private addresses, test_vpc.py shows.
    """
    ec2 = site.cloud.ec2
    address = ec2.allocate_address()
    association = ec2.associate_address(AllocationId=address["AllocationId"], InstanceId=site.private.id)
    try:
        until(lambda: site.private.describe().get("PublicIpAddress") == address["PublicIp"], "the association")
        for target in (address["PublicIp"], site.nat_ip):
            assert not connects(target)
        until(lambda: connects(site.public.public_ip), "the public subnet to be reached")
    finally:
        ec2.disassociate_address(AssociationId=association["AssociationId"])
        ec2.release_address(AllocationId=address["AllocationId"])


def connects(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1):
            return True
    except OSError:
        return False


def test_a_network_acl_is_stateless_and_ordered(site: Site) -> None:
    """Between the subnets; the server's group lets everybody in all the time."""
    ec2 = site.cloud.ec2
    acl = ec2.create_network_acl(VpcId=site.cloud.vpc)["NetworkAcl"]["NetworkAclId"]
    of_subnet = [{"Name": "association.subnet-id", "Values": [site.private_subnet]}]
    (default,) = ec2.describe_network_acls(Filters=of_subnet)["NetworkAcls"]
    (before,) = [one for one in default["Associations"] if one["SubnetId"] == site.private_subnet]
    ssh, answers = {"From": 22, "To": 22}, {"From": 1024, "To": 65535}

    def rule(number: int, ports: dict[str, int], *, out: bool, allow: bool = True) -> dict[str, object]:
        traffic = {
            "Protocol": "6",
            "PortRange": ports,
            "CidrBlock": ANYWHERE,
            "RuleAction": "allow" if allow else "deny",
        }
        return {"NetworkAclId": acl, "RuleNumber": number, "Egress": out, **traffic}

    def gets_in() -> bool:
        command = f"timeout 1 bash -c '</dev/tcp/{site.private.private_ip}/22'"
        return site.public.ssh(command, check=False).returncode == 0

    ec2.create_network_acl_entry(**rule(100, ssh, out=False))
    ec2.create_network_acl_entry(**rule(100, answers, out=True))
    association = ec2.replace_network_acl_association(
        AssociationId=before["NetworkAclAssociationId"], NetworkAclId=acl
    )["NewAssociationId"]
    try:
        until(gets_in, "the ACL to let in")
        # Who is let in has to be let out again by a rule of its own.
        ec2.delete_network_acl_entry(NetworkAclId=acl, RuleNumber=100, Egress=True)
        until(lambda: not gets_in(), "answers to be kept in")
        ec2.create_network_acl_entry(**rule(100, answers, out=True))
        until(gets_in, "answers to be let out")
        # The lower number decides.
        ec2.create_network_acl_entry(**rule(110, ssh, out=False, allow=False))
        until(gets_in, "the rule before it to decide")
        ec2.create_network_acl_entry(**rule(90, ssh, out=False, allow=False))
        until(lambda: not gets_in(), "the rule before it to decide")
    finally:
        ec2.replace_network_acl_association(AssociationId=association, NetworkAclId=default["NetworkAclId"])
        ec2.delete_network_acl(NetworkAclId=acl)
    until(gets_in, "the default ACL to let in")


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

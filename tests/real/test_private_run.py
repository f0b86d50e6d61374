"""Jobs of servers without a public address, whose subnet leads to S3 and to nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from mapped import log_of
from support.real_cloud import RealCloud
from support.real_server import until

pytestmark = pytest.mark.real

NAME = "of-a-private-subnet"


@pytest.fixture(scope="module")
def folder(cloud: RealCloud) -> Path:
    found = cloud.work / "private-run"
    found.mkdir()
    (found / "job.py").write_text("import sys\nprint('ran', *sys.argv[1:])\n")
    return found


def test_skylifts_own_network_leads_to_s3_alone(cloud: RealCloud, folder: Path) -> None:
    """What needs more is refused before anything is started: its servers would wait, or follow each other for ever."""
    done = cloud.skylift("run", "--private", "job.py", cwd=folder)
    assert done.stdout == "ran\n"
    for needy, service in ((["run", "--spot"], "EC2"), (["map", "--range", "1..2", "--servers", "2"], "Auto Scaling")):
        refused = cloud.skylift(*needy, "--private", "--name", NAME, "job.py", cwd=folder, check=False)
        assert refused.returncode == 2, refused.stderr
        assert f"The network of --private servers has no way to {service}" in refused.stderr
    assert NAME not in cloud.skylift("ps", "--all").stdout


@pytest.fixture
def subnet(cloud: RealCloud) -> Iterator[str]:
    """It leads to S3 and to a peer, where nobody knows what there is: there is nothing of AWS's."""
    ec2 = cloud.ec2
    with ExitStack() as end:
        found = ec2.create_subnet(VpcId=cloud.vpc, CidrBlock="172.31.241.0/28")["Subnet"]["SubnetId"]
        end.callback(ec2.delete_subnet, SubnetId=found)
        table = ec2.create_route_table(VpcId=cloud.vpc)["RouteTable"]["RouteTableId"]
        end.callback(ec2.delete_route_table, RouteTableId=table)
        tied = ec2.associate_route_table(RouteTableId=table, SubnetId=found)["AssociationId"]
        end.callback(ec2.disassociate_route_table, AssociationId=tied)
        service = f"com.amazonaws.{cloud.endpoint.region}.s3"
        made = ec2.create_vpc_endpoint(VpcId=cloud.vpc, ServiceName=service, RouteTableIds=[table])["VpcEndpoint"]
        end.callback(ec2.delete_vpc_endpoints, VpcEndpointIds=[made["VpcEndpointId"]])
        other = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
        end.callback(ec2.delete_vpc, VpcId=other)
        peering = ec2.create_vpc_peering_connection(VpcId=cloud.vpc, PeerVpcId=other)["VpcPeeringConnection"]
        peer = peering["VpcPeeringConnectionId"]
        end.callback(ec2.delete_vpc_peering_connection, VpcPeeringConnectionId=peer)
        ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peer)
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="10.77.0.0/16", VpcPeeringConnectionId=peer)
        yield found


def test_a_map_without_a_way_to_auto_scaling_runs_on_its_one_server(
    cloud: RealCloud, folder: Path, subnet: str
) -> None:
    words = ["--private", "--subnet", subnet, "--servers", "2", "--range", "1..3", "--name", NAME, "-d", "job.py"]
    cloud.skylift("map", *words, cwd=folder)
    try:
        until(lambda: len(log_of(cloud, NAME).outcomes) == 3, "the outcomes of all inputs", 120.0)
        assert all(each.succeeded for each in log_of(cloud, NAME).outcomes.values())
        # Whether it looks for them before its inputs are done or at its end depends on how fast these are.
        said = re.compile("The other servers (cannot be looked after|could not be ended yet)")
        until(lambda: said.search(cloud.skylift("logs", NAME).stderr), "the word that it has no others", 60.0)
    finally:
        cloud.skylift("cancel", NAME)
        cloud.skylift("rm", NAME)

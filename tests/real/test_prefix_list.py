"""A security group that names a prefix list follows it while the server runs."""

from __future__ import annotations

import socket

import pytest
from support.real_cloud import RealCloud
from support.real_server import PATIENCE, until

pytestmark = pytest.mark.real

ENOUGH = 0.7
"""Seconds after which a connection that nobody answers counts as dropped."""


def reaches(address: str) -> bool:
    try:
        socket.create_connection((address, 22), ENOUGH).close()
    except OSError:
        return False
    return True


def test_servers_follow_the_list_that_their_group_names(cloud: RealCloud) -> None:
    ec2, host = cloud.ec2, [{"Cidr": f"{cloud.endpoint.loopback}/32"}]
    made = ec2.create_managed_prefix_list(PrefixListName="us", MaxEntries=3, AddressFamily="IPv4", Entries=host)
    listed = made["PrefixList"]["PrefixListId"]
    group = cloud.security_group("listed", cloud.vpc)
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "PrefixListIds": [{"PrefixListId": listed}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    server = cloud.launch(SecurityGroupIds=[group])
    held = socket.create_connection((server.public_ip, 22), PATIENCE)
    try:
        ec2.modify_managed_prefix_list(PrefixListId=listed, CurrentVersion=1, RemoveEntries=host)
        until(lambda: not reaches(server.public_ip), "the list without the host")
        # What was connected stays so.
        assert held.recv(4) == b"SSH-"
        ec2.restore_managed_prefix_list_version(PrefixListId=listed, PreviousVersion=1, CurrentVersion=2)
        until(lambda: reaches(server.public_ip), "the list as it was")
    finally:
        held.close()
    server.terminate()
    ec2.delete_security_group(GroupId=group)
    ec2.delete_managed_prefix_list(PrefixListId=listed)

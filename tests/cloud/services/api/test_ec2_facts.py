from __future__ import annotations

from dataclasses import replace

from ec2_fixtures import ACCOUNT, REGION, Cloud

from skylift.cloud.domain.facts import CloudFacts
from skylift.cloud.services.api.facts import FIRST_UID, RANGES_PER_NET, UIDS, observe, take_public_ip, take_uid_bases

FIRST_OF_7 = FIRST_UID + UIDS * 7 * RANGES_PER_NET


def test_public_addresses_go_round(cloud: Cloud) -> None:
    first = cloud.run()
    assert first["PublicIpAddress"] == "127.7.1.1"
    cloud.observe(first["InstanceId"], "terminated")
    assert cloud.run()["PublicIpAddress"] == "127.7.1.2"


def test_network_broadcast_and_reserved_addresses_are_not_given(cloud: Cloud) -> None:
    with cloud.database.write() as tx:
        given = [take_public_ip(tx) for _ in range(300)]
    assert given[253:256] == ["127.7.1.254", "127.7.2.1", "127.7.2.2"]
    assert len(set(given)) == 300


def test_after_the_last_address_comes_the_first_free_one(cloud: Cloud) -> None:
    kept = cloud.run()
    with cloud.database.write() as tx:
        (facts,) = tx.find(CloudFacts)
        tx.save(replace(facts, public_ips_given=255 * 254 - 1))
        assert [take_public_ip(tx), take_public_ip(tx)] == ["127.7.255.254", "127.7.1.2"]
    assert kept["PublicIpAddress"] == "127.7.1.1"


def test_uid_ranges_do_not_meet(cloud: Cloud) -> None:
    first, second = cloud.run()["InstanceId"], cloud.run()["InstanceId"]
    assert (cloud.row(first).uid_base, cloud.row(second).uid_base) == (FIRST_OF_7, FIRST_OF_7 + UIDS)
    cloud.observe(first, "terminated")
    assert cloud.row(cloud.run()["InstanceId"]).uid_base == FIRST_OF_7


def test_a_stopped_servers_uids_stay_its_own(cloud: Cloud) -> None:
    first = cloud.run()["InstanceId"]
    cloud.observe(first, "stopped")
    assert cloud.row(cloud.run()["InstanceId"]).uid_base == FIRST_OF_7 + UIDS


def test_reserved_uids_are_left_alone(cloud: Cloud) -> None:
    reserved = (f"{FIRST_OF_7 + 5}-{FIRST_OF_7 + 6}", f"{FIRST_OF_7 + 2 * UIDS - 1}-{FIRST_OF_7 + 2 * UIDS}")
    with cloud.database.write() as tx:
        observe(tx, CloudFacts(ACCOUNT, REGION, loopback_net=7, reserved_uids=reserved))
        assert next(take_uid_bases(tx)) == FIRST_OF_7 + 3 * UIDS


def test_what_was_given_is_remembered_over_restarts(cloud: Cloud) -> None:
    cloud.run()
    with cloud.database.write() as tx:
        observe(tx, CloudFacts(ACCOUNT, REGION, loopback_net=7, endpoint="127.0.0.1:9"))
        (facts,) = tx.find(CloudFacts)
    assert (facts.public_ips_given, facts.endpoint) == (1, "127.0.0.1:9")


def test_public_addresses_move_with_the_network_that_the_machine_gives_the_cloud(cloud: Cloud) -> None:
    """What an address is allowed, and whose it is, stays as it was."""
    server = cloud.run()
    group = server["SecurityGroups"][0]["GroupId"]
    elastic = cloud.call("AllocateAddress", Domain="vpc")
    for cidr in ("127.7.0.1/32", f"{elastic['PublicIp']}/32", "127.70.0.1/32"):
        permission = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": cidr}]}
        cloud.call("AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=[permission])
    with cloud.database.write() as tx:
        (facts,) = tx.find(CloudFacts)
        observe(tx, replace(facts, loopback_net=40))
    (found,) = cloud.call("DescribeInstances", InstanceIds=[server["InstanceId"]])["Reservations"][0]["Instances"]
    assert found["PublicIpAddress"] == "127.40.1.1"
    assert cloud.call("DescribeAddresses")["Addresses"][0]["PublicIp"] == "127.40.1.2"
    (described,) = cloud.call("DescribeSecurityGroups", GroupIds=[group])["SecurityGroups"]
    allowed = {one["CidrIp"] for rule in described["IpPermissions"] for one in rule["IpRanges"]}
    assert allowed == {"127.40.0.1/32", "127.40.1.2/32", "127.70.0.1/32"}
    with cloud.database.write() as tx:
        assert take_public_ip(tx) == "127.40.1.3"

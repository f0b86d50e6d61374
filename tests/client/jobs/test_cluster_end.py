"""A cluster is taken down by who has not made it: all of it, and nothing of anybody else's."""

from __future__ import annotations

import json
import time

import pytest

from skylift.client.errors import UsageError
from skylift.client.job.record import JobKeys
from skylift.client.job.settings import Settings
from skylift.client.job.tags import job_tags
from skylift.client.jobs.cluster import TakeDown, clusters, find_clusters, members_of
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.job_group import Kind, job_groups, make_job_group
from skylift.client.launch.network import ensure_network
from skylift.client.launch.server import live_servers
from skylift.client.remote.account import Account, open_account

NOW = time.time()


@pytest.fixture
def account(settings: Settings, prepared: None) -> Account:
    found = open_account(settings)
    ensure_bucket(found.api, found.bucket)
    return found


def group_of(account: Account, name: str, made: float, kind: Kind = "cluster") -> str:
    network = ensure_network(account.api, account.bucket)
    return make_job_group(account.api, name, network.vpc, made, kind)


def record(account: Account, job: str, created: float) -> None:
    told = json.dumps({"created": created, "deadline": created + 7200}).encode()
    account.api.put(account.bucket, JobKeys(job).record, told)


def server(account: Account, job: str, *groups: str) -> None:
    image = account.api.call("ec2", "describe_images", Owners=["amazon"])["Images"][0]["ImageId"]
    tags = [{"ResourceType": "instance", "Tags": job_tags(job)}]
    more = {"SecurityGroupIds": list(groups)} if groups else {}
    network = ensure_network(account.api, account.bucket)
    more |= {"SubnetId": network.subnets[0][1]} if groups else {}
    account.api.call(
        "ec2",
        "run_instances",
        ImageId=image,
        InstanceType="t3.small",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=tags,
        **more,
    )


def test_all_of_a_cluster_and_nothing_else(account: Account) -> None:
    group = group_of(account, "one", NOW)
    for job in ("one-w1", "one-w2"):
        record(account, job, NOW + 1)
    server(account, "one-w1", group)
    # It was being started: it has a server and no record.
    server(account, "one-w7", group)
    # Others, whose names are like those of its workers.
    record(account, "one", NOW - 100)
    record(account, "one-w3", NOW - 100)
    server(account, "one-w4")
    record(account, "one-w5x", NOW + 1)
    other = group_of(account, "two", NOW)

    seen = {each.name: (each.group, each.scheduler, each.workers) for each in clusters(account)}
    assert seen == {"one": (group, False, 2), "two": (other, False, 0)}
    members = members_of(account, "one", group)
    assert sorted(members) == ["one-w1", "one-w2"]
    notes: list[str] = []
    TakeDown(account, notes.append).whole("one", group, members)
    assert notes == []
    assert {each.job for each in live_servers(account.api)} == {"one-w4"}
    assert set(account.recorded()) == {"one", "one-w3", "one-w5x"}
    assert set(job_groups(account.api)) == {other}
    TakeDown(account, notes.append).whole("one", group, members)
    assert notes == []


def test_a_map_is_no_cluster(account: Account) -> None:
    """Its servers have a group, too. To end it as a cluster would remove its record and its results."""
    cluster = group_of(account, "one", NOW)
    several = group_of(account, "two", NOW, "map")
    assert [each.name for each in clusters(account)] == ["one"]
    with pytest.raises(UsageError, match="'two' is a map, and no cluster") as refused:
        find_clusters(account, ["one", "two"])
    assert refused.value.advice == "To end it: skylift cancel two"
    for name in ("three", "*", "x" * 80, "", "two\n"):
        with pytest.raises(UsageError, match="There is no cluster"):
            find_clusters(account, [name])
    assert [each.group for each in find_clusters(account, ["one", "one"])] == [cluster]
    assert set(job_groups(account.api)) == {cluster, several}, "the sweep and a job's end find both"


def test_a_group_that_is_gone_has_no_members(account: Account) -> None:
    record(account, "one", NOW)
    assert members_of(account, "one", "sg-00000000000000000") == []

"""Who skylift lets in by SSH: its user, from where that is now, and not from where it was long ago."""

from __future__ import annotations

import time

import pytest

from skylift.runner.errors import Refused
from skylift.runner.job.settings import Settings
from skylift.runner.job.tags import job_tags
from skylift.runner.launch.network import Network, ensure_network, find_network, open_ssh
from skylift.runner.launch.ssh_rules import _launched, ranges
from skylift.runner.remote.account import open_account
from skylift.runner.remote.api import Api

DAY = 86400.0
HERE = "203.0.113.7/32"


@pytest.fixture
def network(settings: Settings, api: Api, prepared: None) -> Network:
    return ensure_network(api, open_account(settings).bucket)


def let_in(
    api: Api, network: Network, source: str, ago: float | None, words: str = "skylift was called from here"
) -> None:
    """As skylift has done so long ago; None: without a time, as earlier versions."""
    when = "" if ago is None else time.strftime(": %Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago))
    rule = {"CidrIp": source, "Description": f"{words}{when}"}
    permission = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [rule]}
    api.call("ec2", "authorize_security_group_ingress", GroupId=network.groups[0], IpPermissions=[permission])


def described(api: Api, network: Network) -> dict[str, str]:
    """The rules of the group, by range."""
    (group,) = api.call("ec2", "describe_security_groups", GroupIds=list(network.groups))["SecurityGroups"]
    return {each["CidrIp"]: each["Description"] for rule in group["IpPermissions"] for each in rule["IpRanges"]}


def start_server(api: Api) -> None:
    image = api.call("ec2", "describe_images", Owners=["amazon"])["Images"][0]["ImageId"]
    tags = [{"ResourceType": "instance", "Tags": job_tags("alive")}]
    api.call("ec2", "run_instances", ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=tags)


def opened(api: Api) -> Network:
    found = find_network(api)
    assert found is not None
    return open_ssh(api, found, HERE)


def test_what_nobody_has_used_for_long_is_closed(api: Api, network: Network) -> None:
    let_in(api, network, "198.51.100.1/32", 8 * DAY)
    let_in(api, network, "198.51.100.2/32", 6 * DAY)
    let_in(api, network, "198.51.100.3/32", None)
    let_in(api, network, "198.51.100.4/32", None, "the office")
    let_in(api, network, "198.51.100.5/32", 80 * DAY, "the office, not skylift was called from here")
    opened(api)
    assert set(described(api, network)) == {HERE, "198.51.100.2/32", "198.51.100.4/32", "198.51.100.5/32"}


def test_what_a_live_job_may_need_stays(api: Api, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has started it, or watches it, came no earlier than its server."""
    start_server(api)
    let_in(api, network, "198.51.100.1/32", 8 * DAY)
    let_in(api, network, "198.51.100.2/32", 20 * DAY)
    let_in(api, network, "198.51.100.3/32", None)
    assert len(_launched(api)) == 1
    monkeypatch.setattr("skylift.runner.launch.ssh_rules._launched", lambda _: [time.time() - 10 * DAY])
    opened(api)
    assert set(described(api, network)) == {HERE, "198.51.100.1/32", "198.51.100.3/32"}


def test_a_rule_says_when_it_was_used_last(api: Api, network: Network) -> None:
    let_in(api, network, HERE, 3 * DAY)
    assert HERE not in ranges(
        api.call("ec2", "describe_security_groups", GroupIds=list(network.groups))["SecurityGroups"][0]
    )
    assert HERE in opened(api).callers
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert today in described(api, network)[HERE]
    found = find_network(api)
    assert found is not None
    assert HERE in found.callers, "the next run asks for nothing"


def test_the_address_after_the_sixtieth_is_let_in(api: Api, network: Network) -> None:
    """As from machines that have another address each time. None of them has a live job."""
    for number in range(60):
        let_in(api, network, f"198.51.100.{number}/32", DAY)
    opened(api)
    assert set(described(api, network)) == {HERE}


def test_a_group_that_is_full_of_what_is_needed_is_told(api: Api, network: Network) -> None:
    for number in range(60):
        let_in(api, network, f"198.51.100.{number}/32", 60)
    with pytest.raises(Refused) as caught:
        opened(api)
    assert caught.value.code == "RulesPerSecurityGroupLimitExceeded"
    assert len(described(api, network)) == 60

"""Who skylift lets in by SSH: its user, from where that is now, and not from where it was long ago."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from support.weather import LOST, Weather

from skylift.client.errors import Refused
from skylift.client.job.settings import Settings
from skylift.client.job.tags import job_tags
from skylift.client.launch.network import Network, ensure_network, find_network, open_ssh
from skylift.client.launch.ssh_rules import _launched, ranges
from skylift.client.remote.account import open_account
from skylift.client.remote.api import Api

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
    monkeypatch.setattr("skylift.client.launch.ssh_rules._launched", lambda _: [time.time() - 10 * DAY])
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


def test_of_a_group_that_is_full_of_what_jobs_may_need_the_oldest_goes(
    api: Api, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server may run for longer than sixty addresses last."""
    monkeypatch.setattr("skylift.client.launch.ssh_rules._launched", lambda _: [time.time() - 90 * DAY])
    for number in range(60):
        let_in(api, network, f"198.51.100.{number}/32", (60 - number) * DAY)
    opened(api)
    assert set(described(api, network)) == {HERE, *(f"198.51.100.{number}/32" for number in range(1, 60))}


def test_a_server_that_is_stopped_needs_no_way_in(api: Api, network: Network) -> None:
    """It keeps results, for months perhaps, and whoever starts it is let in anew."""
    start_server(api)
    assert len(_launched(api)) == 1
    (found,) = api.pages("ec2", "describe_instances", "Reservations")
    api.call("ec2", "stop_instances", InstanceIds=[found["Instances"][0]["InstanceId"]])
    assert _launched(api) == []


def test_a_rule_whose_closing_was_not_answered_is_closed(
    endpoint: str, settings: Settings, api: Api, network: Network
) -> None:
    """As one that another client closes at the same time. EC2 refuses to close what there is not."""
    let_in(api, network, "198.51.100.1/32", 8 * DAY)
    with Weather(endpoint) as weather:
        weather.add("RevokeSecurityGroupIngress", LOST, done=True)
        opened(Api(replace(settings, endpoint_url=weather.url)))
        assert weather.count("RevokeSecurityGroupIngress") == 2
    assert set(described(api, network)) == {HERE}


def test_who_is_closed_out_while_it_comes_back_is_let_in(
    api: Api, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another client has closed its old rule between two calls; EC2 does not describe what there is not."""
    let_in(api, network, HERE, 8 * DAY)
    call = Api.call

    def closed(self: Api, service: str, operation: str, **params: Any) -> Any:
        if operation == "update_security_group_rule_descriptions_ingress":
            call(self, service, "revoke_security_group_ingress", **params)
            raise Refused("InvalidPermission.NotFound", "The specified rule does not exist", operation)
        return call(self, service, operation, **params)

    monkeypatch.setattr(Api, "call", closed)
    opened(api)
    assert set(described(api, network)) == {HERE}


def test_a_group_that_is_full_of_what_is_needed_is_told(api: Api, network: Network) -> None:
    for number in range(60):
        let_in(api, network, f"198.51.100.{number}/32", 60)
    with pytest.raises(Refused) as caught:
        opened(api)
    assert caught.value.code == "RulesPerSecurityGroupLimitExceeded"
    assert len(described(api, network)) == 60

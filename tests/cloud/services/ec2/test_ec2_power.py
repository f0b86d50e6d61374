"""Reboot, stop by force and metadata options, as intent."""

from __future__ import annotations

import pytest
from ec2_fixtures import Cloud


@pytest.fixture
def running(cloud: Cloud) -> str:
    instance_id: str = cloud.run()["InstanceId"]
    cloud.observe(instance_id, "running")
    return instance_id


def test_a_reboot_stays_running(cloud: Cloud, running: str) -> None:
    cloud.call("RebootInstances", InstanceIds=[running])
    row = cloud.row(running)
    assert (row.state, row.desired, row.rebooting) == ("running", "running", True)


def test_what_ended_is_passed_over_and_what_does_not_run_refused(cloud: Cloud, running: str) -> None:
    other = cloud.run()["InstanceId"]
    cloud.observe(other, "stopped")
    assert cloud.code("RebootInstances", InstanceIds=[running, other]) == "IncorrectState"
    assert not cloud.row(running).rebooting
    cloud.observe(other, "terminated")
    cloud.call("RebootInstances", InstanceIds=[running, other])
    assert cloud.row(running).rebooting
    assert not cloud.row(other).rebooting


def test_a_dry_run_reboots_nothing(cloud: Cloud, running: str) -> None:
    assert cloud.code("RebootInstances", InstanceIds=[running], DryRun=True) == "DryRunOperation"
    assert not cloud.row(running).rebooting


@pytest.mark.parametrize("how", ["Force", "SkipOsShutdown"])
def test_force_counts_also_where_a_stop_is_under_way(cloud: Cloud, running: str, how: str) -> None:
    cloud.call("StopInstances", InstanceIds=[running])
    assert not cloud.row(running).forced
    cloud.call("StopInstances", InstanceIds=[running], **{how: True})
    assert (cloud.row(running).state, cloud.row(running).forced) == ("stopping", True)


@pytest.mark.parametrize("operation", ["StopInstances", "TerminateInstances"])
def test_ending_it_ends_its_reboot(cloud: Cloud, running: str, operation: str) -> None:
    cloud.call("RebootInstances", InstanceIds=[running])
    cloud.call(operation, InstanceIds=[running], Force=True)
    assert (cloud.row(running).rebooting, cloud.row(running).forced) == (False, True)


def test_metadata_options_change_one_by_one(cloud: Cloud, running: str) -> None:
    answer = cloud.call("ModifyInstanceMetadataOptions", InstanceId=running, HttpTokens="optional")
    assert answer["InstanceMetadataOptions"]["HttpTokens"] == "optional"
    cloud.call("ModifyInstanceMetadataOptions", InstanceId=running, HttpPutResponseHopLimit=1)
    cloud.call("ModifyInstanceMetadataOptions", InstanceId=running, InstanceMetadataTags="enabled")
    assert cloud.instance(running)["MetadataOptions"] == {
        "State": "applied",
        "HttpTokens": "optional",
        "HttpEndpoint": "enabled",
        "HttpPutResponseHopLimit": 1,
        "HttpProtocolIpv6": "disabled",
        "InstanceMetadataTags": "enabled",
    }


def test_metadata_options_out_of_bounds(cloud: Cloud, running: str) -> None:
    for hops in (0, 65):
        code = cloud.code("ModifyInstanceMetadataOptions", InstanceId=running, HttpPutResponseHopLimit=hops)
        assert code == "InvalidParameterValue"
    assert cloud.code("ModifyInstanceMetadataOptions", InstanceId=running, HttpTokens="no") == "InvalidParameterValue"
    ipv6 = {"InstanceId": running, "HttpProtocolIpv6": "enabled"}
    assert cloud.code("ModifyInstanceMetadataOptions", **ipv6) == "UnsupportedOperation"
    assert cloud.code("ModifyInstanceMetadataOptions", InstanceId=running) == "MissingParameter"
    cloud.observe(running, "terminated")
    tokens = {"InstanceId": running, "HttpTokens": "optional"}
    assert cloud.code("ModifyInstanceMetadataOptions", **tokens) == "IncorrectInstanceState"

"""Schedules of maps on several servers: what is made once for all runs, what they may do with it, and its end."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.weather import LOST, Weather
from support.whole_run import Seen

from skylift.client.errors import Refused, UsageError
from skylift.client.job.job import Job, MapPart, Program
from skylift.client.job.record import SCHEDULES, JobKeys, Overlap, workers_of_schedule
from skylift.client.job.settings import Settings
from skylift.client.launch.role import boundary_policy
from skylift.client.launch.worker_group import policy_of_workers
from skylift.client.map.inputs import InputWords
from skylift.client.map.planning import AUTO, MapLimits
from skylift.client.plan.read_options import read_options
from skylift.client.remote.account import Account, open_account
from skylift.client.remote.api import Api
from skylift.client.schedule.making import MakeSchedule, ScheduleOrder
from skylift.client.schedule.planning import plan_maps
from skylift.client.schedule.recurrence import Recurrence
from skylift.client.schedule.requests import runs_policy
from skylift.client.schedule.schedules import Schedules
from skylift.client.schedule.workers import runs_of, statements_of_runs
from skylift.client.steps import Clock
from skylift.cloud.services.api.authorize import Policies, decide
from skylift.cloud.services.api.policy_document import parse_policy

GROUP = "skylift-schedule-workers.nightly"


@pytest.fixture
def account(settings: Settings, prepared: None, api: Api, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    monkeypatch.chdir(folder)
    (folder / "sum.py").write_text("")
    return open_account(settings, api)


def planned(account: Account, servers: int = 4, overlap: Overlap = "skip", **options: Any) -> Job:
    what = Program("script", "sum.py")
    asked = read_options({"max_time": "1h", **options}, what)
    words, limits = InputWords((), numbers="1..9"), MapLimits(servers=servers)
    return plan_maps(asked, what, "nightly", words, limits, lambda: account.api, overlap)


def make(account: Account, seen: Seen, overlap: Overlap = "skip", servers: int = 4, **options: Any) -> None:
    order = ScheduleOrder(
        planned(account, servers, overlap, **options), Recurrence("rate(1 day)"), overlap, "map sum.py"
    )
    assert asyncio.run(MakeSchedule(order, account.settings, seen, Clock(seen)).run())


def named(api: Api) -> dict[str, list[str]]:
    """What is named after the schedule."""
    scaling = api.call("autoscaling", "describe_auto_scaling_groups")["AutoScalingGroups"]
    found = {
        "groups": [each["AutoScalingGroupName"] for each in scaling],
        "security": [each["GroupName"] for each in api.call("ec2", "describe_security_groups")["SecurityGroups"]],
        "templates": [
            each["LaunchTemplateName"] for each in api.call("ec2", "describe_launch_templates")["LaunchTemplates"]
        ],
        "roles": [each["RoleName"] for each in api.call("iam", "list_roles")["Roles"]],
        "profiles": [
            each["InstanceProfileName"] for each in api.call("iam", "list_instance_profiles")["InstanceProfiles"]
        ],
    }
    return {kind: sorted(each for each in names if ".nightly" in each) for kind, names in found.items()}


def data_of(api: Api, template: str) -> dict[str, Any]:
    versions = api.call("ec2", "describe_launch_template_versions", LaunchTemplateName=template)
    found: dict[str, Any] = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    return found


def test_all_of_it_is_made_with_the_schedule_and_goes_with_it(account: Account, seen: Seen) -> None:
    make(account, seen)
    api = account.api
    assert named(api) == {
        "groups": [GROUP],
        "security": [GROUP],
        "templates": [GROUP, "skylift-schedule.nightly"],
        "roles": ["skylift-cap.nightly", GROUP, "skylift-schedule.nightly", "skylift-scheduler.nightly"],
        "profiles": [GROUP, "skylift-schedule.nightly"],
    }
    (group,) = api.call("autoscaling", "describe_auto_scaling_groups")["AutoScalingGroups"]
    assert (group["MinSize"], group["MaxSize"], group["DesiredCapacity"]) == (0, 3, 0)
    assert {each["ProcessName"] for each in group["SuspendedProcesses"]} == {"ReplaceUnhealthy", "AZRebalance"}
    tags = {each["Key"]: (each["Value"], each["PropagateAtLaunch"]) for each in group["Tags"]}
    # A server that came before a run has said whose it is turns itself off.
    assert tags["skylift:job"] == ("nightly/", True)
    own, others = data_of(api, "skylift-schedule.nightly"), data_of(api, GROUP)
    (security,) = [
        each["GroupId"]
        for each in api.call("ec2", "describe_security_groups")["SecurityGroups"]
        if each["GroupName"] == GROUP
    ]
    for each in (own, others):
        assert security in each["NetworkInterfaces"][0]["Groups"]
        assert each["MetadataOptions"]["InstanceMetadataTags"] == "enabled"
        assert each["InstanceInitiatedShutdownBehavior"] == "terminate"
    script = base64.b64decode(others["UserData"]).decode()
    assert "'--worker'" in script
    assert "off=$(($(date +%s) + 4500))" in script, "an hour, and a quarter to boot and to send"
    assert "'--worker'" not in base64.b64decode(own["UserData"]).decode()
    marks = [each for each in others["TagSpecifications"] if each["ResourceType"] == "instance"]
    assert {"Key": "skylift:worker", "Value": "yes"} in marks[0]["Tags"]
    record = json.loads(api.get(account.bucket, JobKeys("nightly", SCHEDULES).record) or b"")
    assert (record["map"]["group"], "relaunch" in record["map"]) == (GROUP, False)
    environment = record["map"]["tools"]["environment"]
    assert (environment["shared"], environment["alone"]) == (False, True), "no run puts Dask where others take it from"
    assert Schedules(account.settings, account).remove("nightly") == "removed"
    assert not any(named(api).values())


@pytest.mark.parametrize(
    ("operation", "count"),
    [
        ("CreateSecurityGroup", 1),
        ("AuthorizeSecurityGroupIngress", 1),
        ("CreateRole", 3),
        ("PutRolePolicy", 3),
        ("CreateInstanceProfile", 2),
        ("AddRoleToInstanceProfile", 2),
        ("CreateAutoScalingGroup", 1),
        ("SuspendProcesses", 1),
    ],
)
def test_answers_that_are_lost_change_nothing(
    endpoint: str, settings: Settings, account: Account, seen: Seen, operation: str, count: int
) -> None:
    """Of each call of an operation that has no client token, the first one."""
    make(account, seen)
    expected = named(account.api)
    Schedules(account.settings, account).remove("nightly")
    with Weather(endpoint) as weather:
        weather.add(operation, LOST, done=True, times=None, every=2)
        make(open_account(replace(settings, endpoint_url=weather.url)), seen)
        assert weather.count(operation, LOST) >= count
    assert named(account.api) == expected
    assert Schedules(account.settings, account).remove("nightly") == "removed"
    assert not any(named(account.api).values())


def test_one_on_one_server_has_none_of_it(account: Account, seen: Seen) -> None:
    make(account, seen, "allow", servers=1)
    assert all(GROUP not in names for names in named(account.api).values())
    Schedules(account.settings, account).remove("nightly")
    assert not any(named(account.api).values())


@pytest.mark.parametrize("operation", ["create_security_group", "create_auto_scaling_group", "create_schedule"])
def test_what_fails_leaves_nothing_and_can_be_made_again(
    account: Account, seen: Seen, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Api.call

    def call(self: Api, service: str, name: str, **params: Any) -> Any:
        # The network has a security group, too.
        if name == operation and (service, params.get("GroupName")) != ("ec2", "skylift"):
            raise Refused("Broken", "no", name)
        return whole(self, service, name, **params)

    with monkeypatch.context() as patched:
        patched.setattr(Api, "call", call)
        with pytest.raises(Refused, match="Broken"):
            make(account, seen)
    assert not any(named(account.api).values())
    make(account, seen)


def test_what_does_not_go_with_several_servers(account: Account) -> None:
    with pytest.raises(UsageError, match="one goes at a time"):
        planned(account, 2, "allow")
    with pytest.raises(UsageError, match="inputs of later runs are not known now"):
        planned(account, AUTO)
    with pytest.raises(UsageError, match="--or-on-demand would need"):
        planned(account, 1, spot=True, or_on_demand=True)


def test_the_own_server_of_a_spot_map_is_on_demand_and_the_others_are_not(account: Account, seen: Seen) -> None:
    """EC2 may take the others back, one after the other; nobody would go on in place of the first."""
    make(account, seen, spot=True, or_on_demand=True, max_price=0.05)
    api = account.api
    assert "InstanceMarketOptions" not in data_of(api, "skylift-schedule.nightly")
    groups = {
        each["AutoScalingGroupName"]: each
        for each in api.call("autoscaling", "describe_auto_scaling_groups")["AutoScalingGroups"]
    }
    assert sorted(groups) == [GROUP, f"{GROUP}.on-demand"]
    spread = groups[GROUP]["MixedInstancesPolicy"]["InstancesDistribution"]
    assert (spread["OnDemandPercentageAboveBaseCapacity"], spread["SpotMaxPrice"]) == (0, "0.050000")
    scheduler = api.call("iam", "get_role_policy", RoleName="skylift-scheduler.nightly", PolicyName="run")
    assert "spot-instances-request" not in json.dumps(scheduler["PolicyDocument"])
    Schedules(account.settings, account).remove("nightly")
    assert not any(named(api).values())


# What the two roles may do, as the cloud decides it.

NUMBER, REGION = "123456789012", "eu-west-1"
BUCKET = f"skylift-{NUMBER}-{REGION}"
RUN, LATER, OTHER = "nightly-20261128-0200", "nightly-20261129-0200", "nightly-b-20261128-0200"
INSTANCE = f"arn:aws:ec2:{REGION}:{NUMBER}:instance/i-a"


def held(document: dict[str, Any]) -> Policies:
    return Policies((parse_policy(json.dumps(document)),), parse_policy(json.dumps(boundary_policy(NUMBER))))


def coordinator() -> Policies:
    more = statements_of_runs("nightly", BUCKET, NUMBER, REGION)
    return held(runs_policy("nightly", BUCKET, NUMBER, REGION, more=more))


def worker() -> Policies:
    return held(policy_of_workers(BUCKET, JobKeys("nightly", SCHEDULES).base, runs_of("nightly")))


def group(name: str) -> str:
    return f"arn:aws:autoscaling:{REGION}:{NUMBER}:autoScalingGroup:*:autoScalingGroupName/{name}"


def tags_of(schedule: str) -> dict[str, Any]:
    return {"aws:ResourceTag/skylift:schedule": schedule, "aws:ResourceTag/skylift:job": f"{schedule}/"}


@pytest.mark.parametrize(
    "action", ["SetDesiredCapacity", "TerminateInstanceInAutoScalingGroup", "DeleteAutoScalingGroup"]
)
def test_a_run_resizes_the_group_of_its_schedule_and_no_other(action: str) -> None:
    def allowed(name: str, schedule: str, source: str | None = INSTANCE) -> bool:
        more = {"ec2:SourceInstanceARN": source} if source else {}
        return decide(coordinator(), f"autoscaling:{action}", group(name), {**tags_of(schedule), **more}).allowed

    assert allowed(workers_of_schedule("nightly"), "nightly") == (action != "DeleteAutoScalingGroup")
    assert not allowed(workers_of_schedule("nightly"), "nightly", None), "credentials that are no server's"
    assert not allowed(workers_of_schedule("other"), "other")
    assert not allowed(workers_of_schedule("other"), "nightly"), "a tag may be anybody's"
    assert not allowed("skylift-workers.nightly", "nightly"), "a map of that name has a group, too"


def test_a_run_gives_the_group_no_tag_but_that_of_a_run() -> None:
    def allowed(tags: dict[str, str], name: str = GROUP) -> bool:
        context: dict[str, Any] = {f"aws:RequestTag/{key}": value for key, value in tags.items()}
        context.update({"aws:TagKeys": tuple(tags), "ec2:SourceInstanceARN": INSTANCE, **tags_of("nightly")})
        return decide(coordinator(), "autoscaling:CreateOrUpdateTags", group(name), context).allowed

    assert allowed({"skylift:job": "nightly/2026-11-28T02:00:00Z"})
    assert not allowed({"skylift:job": "other/2026-11-28T02:00:00Z"})
    assert not allowed({"skylift:job": "a-job"})
    assert not allowed({"skylift:job": "nightly/x"})
    assert not allowed({"skylift:job": "nightly/"})
    assert not allowed({"skylift:schedule": "nightly/x"})
    assert not allowed({"skylift:job": "nightly/x", "Name": "x"})
    assert not allowed({})
    assert not allowed({"skylift:job": "nightly/2026-11-28T02:00:00Z"}, workers_of_schedule("other"))
    assert not allowed({"skylift:job": "nightly/2026-11-28T02:00:00Z"}, "skylift-workers.nightly")


def test_a_run_starts_no_server_and_passes_no_role() -> None:
    context: dict[str, Any] = {"ec2:SourceInstanceARN": INSTANCE, **tags_of("nightly")}
    for action, resource in (
        ("ec2:RunInstances", f"arn:aws:ec2:{REGION}:{NUMBER}:instance/*"),
        ("iam:PassRole", f"arn:aws:iam::{NUMBER}:role/skylift/{GROUP}"),
        ("autoscaling:UpdateAutoScalingGroup", group(GROUP)),
        ("autoscaling:CreateAutoScalingGroup", group(GROUP)),
        ("autoscaling:ResumeProcesses", group(GROUP)),
    ):
        for each in (coordinator(), worker()):
            assert not decide(each, action, resource, context).allowed


def test_a_runs_programs_read_no_key_of_another_server() -> None:
    def allowed(action: str, job: str, key: str) -> bool:
        return decide(coordinator(), action, f"arn:aws:s3:::{BUCKET}/jobs/{job}/server/map/{key}", {}).allowed

    assert allowed("s3:PutObject", RUN, "keys/i-1")
    assert allowed("s3:GetObject", RUN, "runs/1/stdout")
    for each in (RUN, LATER, f"{RUN}05"):
        assert not allowed("s3:GetObject", each, "keys/i-1")


def test_another_server_of_a_run_reads_its_own_key_and_writes_what_inputs_leave() -> None:
    def allowed(action: str, key: str, source: str | None = INSTANCE) -> bool:
        context = {"ec2:SourceInstanceARN": source} if source else {}
        return decide(worker(), action, f"arn:aws:s3:::{BUCKET}/{key}", context).allowed

    key = f"jobs/{RUN}/server/map/keys/"
    for action in ("s3:GetObject", "s3:DeleteObject"):
        assert allowed(action, f"{key}{INSTANCE}")
        assert not allowed(action, f"{key}{INSTANCE}0")
        assert not allowed(action, f"{key}{INSTANCE}", None)
    assert allowed("s3:PutObject", f"jobs/{RUN}/server/map/runs/1/out")
    assert allowed("s3:GetObject", "schedules/nightly/record.json")
    assert allowed("s3:GetObject", "schedules/nightly/in/map/blobs/1")
    for each in ("attempts/1.json", "status.json", "map/found.json", "map/log/00000000", "map/progress.json"):
        assert not allowed("s3:PutObject", f"jobs/{RUN}/server/{each}")
    for each in ("schedules/nightly/record.json", "schedules/nightly/running.json", f"{key}{INSTANCE}"):
        assert not allowed("s3:PutObject", each)
    assert not allowed("s3:GetObject", "schedules/other/in/env.json")
    assert not allowed("s3:PutObject", f"jobs/{OTHER}/server/map/runs/1/out")


def test_the_record_says_that_its_runs_have_other_servers(account: Account, seen: Seen) -> None:
    make(account, seen)
    assert account.record(RUN).group
    assert isinstance(planned(account).map, MapPart)

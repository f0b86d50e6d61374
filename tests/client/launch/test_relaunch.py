"""Another server for a map whose own one is lost: when one comes, and when none does."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from support.whole_run import Seen

from skylift.client.errors import RecordDamaged, Refused
from skylift.client.job.job import MapPart, Program
from skylift.client.job.record import JobKeys
from skylift.client.job.server import Server
from skylift.client.job.settings import Access, Settings
from skylift.client.jobs.jobs import Jobs
from skylift.client.launch import role
from skylift.client.launch import server as launch
from skylift.client.launch.job_group import make_job_group
from skylift.client.launch.key import ensure_key
from skylift.client.launch.launch_terms import TAG_ACCESS, TAG_LAUNCH, LaunchTerms, parse_terms, terms_of
from skylift.client.launch.network import ensure_network
from skylift.client.launch.relaunch import IN_VAIN, MOST, Relaunch
from skylift.client.launch.stages import Checked, Provisioned
from skylift.client.plan.plan_job import Order, plan_job
from skylift.client.remote.account import Account, open_account
from skylift.client.remote.api import Api
from skylift.client.ship.upload import InputUpload, Shipment
from skylift.client.waiting import pauses


@dataclass
class Case:
    """A map that has a server, which has claimed it."""

    account: Account
    checked: Checked
    provisioned: Provisioned
    first: Server
    seen: Seen

    @property
    def name(self) -> str:
        return self.checked.job.name

    @property
    def prefix(self) -> JobKeys:
        return self.checked.prefix

    def watcher(self) -> Relaunch:
        return Relaunch(self.account, self.name, self.seen)

    def put(self, key: str, fields: object) -> None:
        self.account.api.put(self.account.bucket, key, json.dumps(fields).encode())

    def read(self, key: str) -> Any:
        return json.loads(self.account.api.get(self.account.bucket, key) or b"null")

    def report(self, instance: str, attempt: int = 1, **more: object) -> None:
        fields = {"job": self.name, "state": "running", "final": False, "instance": instance, "attempt": attempt}
        self.put(self.prefix.status, {**fields, **more})
        self.put(f"{self.prefix.attempts}{attempt}.json", {"instance": instance, "claimed": "", "ran": 1.0})

    def tag(self, **values: str) -> None:
        tags = [{"Key": key, "Value": value} for key, value in values.items()]
        self.account.api.call("iam", "tag_role", RoleName=role.role_name(self.name), Tags=tags)

    def lose(self, server: Server) -> Server:
        launch.terminate(self.account.api, server.instance)
        found = launch.describe(self.account.api, server.instance)
        assert found is not None
        return found


@pytest.fixture
def case(settings: Settings, prepared: None, folder: Path, seen: Seen) -> Case:
    account = open_account(settings)
    api, bucket, number = account.api, account.bucket, account.number
    image = api.call("ec2", "describe_images", Owners=["amazon"])["Images"][0]["ImageId"]
    (folder / "job.py").touch()
    job = plan_job(Order(Program("script", "job.py")), folder, os.environ)
    part: Any = MapPart(b"", lambda _api, _bucket: None, servers=2)
    deadline = int(time.time()) + 3600
    shipment = Shipment(replace(job, map=part), deadline, InputUpload((), (), ()), None, None, {})
    checked = Checked(account, shipment, image, None, "", (), base=image)
    role.create_role(api, job.name, number, more=terms_of(checked).tags())
    found = role.equip_role(api, job.name, bucket, number)
    key = ensure_key(api, settings.key_dir, number)
    provisioned = Provisioned(ensure_network(api, bucket), key, found, terms_of(checked).boot_script(account, job.name))
    api.put(bucket, checked.prefix.record, shipment.record())
    first = launch.run_instance(
        api, checked.job, "first", provisioned.network, key, found, image, provisioned.user_data
    )
    case = Case(account, checked, provisioned, first, seen)
    case.report(first.instance)
    return case


def test_another_server_is_like_the_first_one(case: Case) -> None:
    lost = case.lose(case.first)
    second = case.watcher().server_after(lost)
    assert second is not None
    assert second.instance != lost.instance
    assert [(each.job, each.type, each.image, each.role) for each in (second, case.first)] == [
        (case.name, case.checked.job.instance_type, case.checked.image, role.role_name(case.name))
    ] * 2
    assert case.read(f"{case.prefix.attempts}1.json") == {
        "instance": lost.instance, "claimed": "", "ran": 1.0, "over": {"lost": True},
    }  # fmt: skip
    assert set(case.read(case.prefix.dask)) == {"scheduler", "worker"}, "the coordinator's server had removed its keys"
    (note,) = case.seen.notes
    assert note.startswith(f"The server {lost.instance} is lost")
    assert note.endswith(f"{second.instance} goes on with the map.")


def test_many_who_watch_start_one_server(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """EC2 knows a request by its token. Who comes later finds the server that is there."""
    tokens, asked = [], Api.call

    def note(api: Api, service: str, operation: str, **params: Any) -> Any:
        if operation == "run_instances":
            tokens.append(params["ClientToken"])
        return asked(api, service, operation, **params)

    monkeypatch.setattr(Api, "call", note)
    lost, one, other = case.lose(case.first), case.watcher(), case.watcher()
    second = list[Server | None]()
    meanwhile(monkeypatch, lambda: second.append(one.server_after(lost)))
    found = other.server_after(lost)
    assert found is not None
    assert [each.instance for each in second if each is not None] == [found.instance]
    assert len(tokens) == 2
    assert len(set(tokens)) == 1
    third = case.watcher().server_after(None)
    assert third is not None
    assert third.instance == found.instance
    assert len(tokens) == 2


def meanwhile(monkeypatch: pytest.MonkeyPatch, what: Callable[[], object]) -> None:
    """Do this in the moment in which the next client starts a server."""
    run, todo = launch.run_in_first_zone, [what]

    def run_after(*arguments: Any) -> Server:
        if todo:
            todo.pop()()
        return run(*arguments)

    monkeypatch.setattr("skylift.client.launch.relaunch.run_in_first_zone", run_after)


def test_of_two_servers_in_different_zones_the_one_that_is_written_down_first_stays(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One client finds the first zone full, and the other one does not."""
    lost, asked = case.lose(case.first), Api.call
    (full, _), *_ = case.provisioned.network.subnets

    def refuse(api: Api, service: str, operation: str, **params: Any) -> Any:
        if operation == "run_instances" and params["ClientToken"].endswith("-0"):
            raise Refused("InsufficientInstanceCapacity", f"{full} is full", operation)
        return asked(api, service, operation, **params)

    started = list[Server | None]()

    def start_and_fill() -> None:
        started.append(case.watcher().server_after(lost))
        monkeypatch.setattr(Api, "call", refuse)

    meanwhile(monkeypatch, start_and_fill)
    found = case.watcher().server_after(lost)
    (first,) = started
    assert first is not None
    assert first.zone == full
    assert found is not None
    assert found.instance == first.instance
    assert [each.instance for each in launch.live_servers(case.account.api, case.name)] == [first.instance]


@pytest.mark.parametrize("mark", [b"", b"[]", b'{"instance": 7}', b'{"instance": "i-../x"}', None])
def test_a_server_that_no_client_can_have_written_down_is_not_taken(case: Case, mark: bytes | None) -> None:
    """Nor does another one stay, of which nobody would know."""
    lost = case.lose(case.first)
    if mark is None:
        other = launch.run_instance(
            case.account.api, replace(case.checked.job, name="other"), "other", case.provisioned.network,
            case.provisioned.key, case.provisioned.role, case.checked.image, "",
        )  # fmt: skip
        mark = json.dumps({"instance": other.instance}).encode()
    token = hashlib.sha256(f"{case.name}/{lost.instance}".encode()).hexdigest()[:40]
    case.account.api.put(case.account.bucket, case.prefix.next_server(token), mark)
    with pytest.raises(RecordDamaged):
        case.watcher().server_after(lost)
    assert launch.live_servers(case.account.api, case.name) == []


@pytest.mark.parametrize("listed", [True, False])
def test_who_comes_after_further_servers_were_lost_goes_on(
    case: Case, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    """Two had ended before they reported anything. EC2 describes them for an hour, and then no more."""
    lost, watcher = case.lose(case.first), case.watcher()
    servers = [lost]
    for _ in range(2):
        server = watcher.server_after(servers[-1])
        assert server is not None
        servers.append(case.lose(server))
    ended = {each.instance for each in servers}
    if not listed:
        monkeypatch.setattr("skylift.client.launch.relaunch._LISTED", 0.01)
        monkeypatch.setattr(
            "skylift.client.launch.relaunch.describe",
            lambda api, instance: None if instance in ended else launch.describe(api, instance),
        )
    found = case.watcher().server_after(None)
    assert found is not None
    assert found.instance not in ended
    again = case.watcher().server_after(None)
    assert again is not None
    assert again.instance == found.instance


def test_marks_that_name_each_other_end(case: Case) -> None:
    lost = case.lose(case.first)
    token = hashlib.sha256(f"{case.name}/{lost.instance}".encode()).hexdigest()[:40]
    case.put(case.prefix.next_server(token), {"instance": lost.instance})
    assert case.watcher().server_after(None) is None
    assert case.seen.notes[-1].endswith(f"{MOST} servers were lost, one after the other.")
    assert launch.live_servers(case.account.api, case.name) == []


def test_a_server_that_shuts_down_is_waited_for(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its programs may still run."""
    lost = replace(case.lose(case.first), state="shutting-down")
    monkeypatch.setattr("skylift.client.launch.relaunch.describe", lambda *_: lost)
    assert case.watcher().server_after(lost) == lost
    assert launch.live_servers(case.account.api, case.name) == []


def test_a_network_that_ec2_does_not_list_yet_is_waited_for(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    lost, call, late = case.lose(case.first), Api.call, 3

    def answer(api: Api, service: str, operation: str, **params: Any) -> Any:
        nonlocal late
        if operation == "describe_vpcs" and late:
            late -= 1
            return {"Vpcs": []}
        return call(api, service, operation, **params)

    monkeypatch.setattr(Api, "call", answer)
    second = case.watcher().server_after(lost)
    assert second is not None, case.seen.notes
    assert late == 0


def test_a_subnet_of_the_users_that_is_gone_is_told(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client that watches goes on with what S3 has."""
    monkeypatch.setattr("skylift.client.remote.api.pauses", lambda _: pauses(0.3))
    tags = replace(terms_of(case.checked), access=Access(subnet="subnet-0123abcd")).tags()
    case.tag(**{each["Key"]: each["Value"] for each in tags})
    assert case.watcher().server_after(case.lose(case.first)) is None
    assert case.seen.notes == [f"The server of {case.name} is lost. There is no subnet subnet-0123abcd in us-east-1."]


def test_a_network_that_is_gone_is_told(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skylift.client.launch.relaunch._LISTED", 0.3)
    monkeypatch.setattr("skylift.client.launch.relaunch.find_network", lambda *_: None)
    assert case.watcher().server_after(case.lose(case.first)) is None
    assert case.seen.notes == [f"The server of {case.name} is lost. skylift's network is gone."]


def test_a_server_that_ec2_does_not_describe_yet_is_waited_for(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    new = replace(case.lose(case.first), state="pending")
    monkeypatch.setattr("skylift.client.launch.relaunch.describe", lambda *_: None)
    assert case.watcher().server_after(new) == new
    assert launch.live_servers(case.account.api, case.name) == []


def test_a_server_that_ec2_has_forgotten_is_not_waited_for(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Last seen as pending, before this machine slept for hours."""
    monkeypatch.setattr("skylift.client.launch.relaunch.describe", lambda *_: None)
    new = replace(case.lose(case.first), state="pending")
    second = case.watcher().server_after(replace(new, launched="2026-01-31T12:00:00Z"))
    assert second is not None
    assert second.instance != new.instance
    case.lose(second)
    over(case)
    assert case.watcher().server_after(new) is None


def ended(case: Case) -> None:
    case.report(case.first.instance, final=True, state="succeeded", exit_code=0)


def cancelled(case: Case) -> None:
    case.put(case.prefix.cancel, "")


def resumed(case: Case) -> None:
    case.account.api.put(case.account.bucket, JobKeys("later").record, case.checked.shipment.record())
    case.put(case.prefix.resumed, {"job": "later"})


def over(case: Case) -> None:
    record = case.read(case.prefix.record)
    case.put(case.prefix.record, {**record, "deadline": time.time() + 60})


def older(case: Case) -> None:
    role.remove_role(case.account.api, case.name)
    role.create_role(case.account.api, case.name, case.account.number)


def too_often(case: Case) -> None:
    case.report(case.first.instance, attempt=MOST)


def never_begun(case: Case) -> None:
    case.account.api.call("s3", "delete_object", Bucket=case.account.bucket, Key=case.prefix.status)


@pytest.mark.parametrize("why", [ended, cancelled, resumed, over, older, too_often, never_begun])
def test_no_server_comes_any_more(case: Case, why: Callable[[Case], None]) -> None:
    lost = case.lose(case.first)
    why(case)
    assert case.watcher().server_after(lost) is None
    assert launch.live_servers(case.account.api, case.name) == []


def test_servers_that_never_take_the_map_are_not_started_for_ever(case: Case) -> None:
    watcher, lost = case.watcher(), case.lose(case.first)
    for _ in range(IN_VAIN):
        server = watcher.server_after(lost)
        assert server is not None
        lost = case.lose(server)
    assert watcher.server_after(lost) is None
    assert case.seen.notes[-1] == (
        f"{IN_VAIN} servers of {case.name} were lost, one after the other. No other is started."
    )


def test_who_cancels_or_resumes_at_the_same_time_wins(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may not have seen the server."""
    lost, run = case.lose(case.first), launch.run_in_first_zone

    def run_meanwhile(*arguments: Any) -> Server:
        server = run(*arguments)
        cancelled(case)
        return server

    monkeypatch.setattr("skylift.client.launch.relaunch.run_in_first_zone", run_meanwhile)
    assert case.watcher().server_after(lost) is None
    assert launch.live_servers(case.account.api, case.name) == []


def test_a_map_that_has_lost_its_server_is_cancelled(case: Case) -> None:
    lost = case.lose(case.first)
    assert Jobs(case.account.settings, case.account).cancel(case.name) == "cancelled"
    status = case.account.status(case.name)
    assert status is not None
    assert (status.state, status.final) == ("cancelled", True)
    assert case.watcher().server_after(lost) is None


def test_a_mark_that_no_client_has_written_is_refused(case: Case) -> None:
    lost = case.lose(case.first)
    case.put(case.prefix.resumed, {"job": 7})
    with pytest.raises(RecordDamaged):
        case.watcher().server_after(lost)


MANY = tuple(f"sg-{number:017}" for number in range(16))
LAUNCH = "t3.small ami-1 ami-2 ec2-user 1790000000 " + "0f" * 32


@pytest.mark.parametrize(
    "values",
    [
        {TAG_LAUNCH: "x"},
        {TAG_LAUNCH: LAUNCH + " x"},
        {TAG_LAUNCH: LAUNCH.replace("ec2-user", "-oProxyCommand")},
        {TAG_LAUNCH: LAUNCH.replace("1790000000", "-1")},
        {TAG_ACCESS: "../x"},
        {TAG_ACCESS: "own sg-0123abcd"},
        {TAG_ACCESS: "subnet-0123abcd private sg-0123abcd"},
        {f"{TAG_ACCESS}-2": "sg-0123abcd"},
    ],
)
def test_tags_that_no_client_has_written_are_refused(case: Case, values: dict[str, str]) -> None:
    lost = case.lose(case.first)
    case.tag(**values)
    with pytest.raises(RecordDamaged, match=f"The role {role.role_name(case.name)}"):
        case.watcher().server_after(lost)
    assert launch.live_servers(case.account.api, case.name) == []


@pytest.mark.parametrize(
    "access",
    [
        Access(),
        Access(private=True),
        Access(subnet="subnet-0123abcd"),
        Access(private=True, subnet="subnet-0123abcd", groups=("sg-0123abcd", "sg-4567abcd")),
        *(Access(private=True, subnet=f"subnet-{0:017}", groups=MANY[:count]) for count in (9, 10, 11, 15, 16)),
    ],
)
def test_tags_have_how_the_launching_client_wanted_it(access: Access) -> None:
    terms = LaunchTerms("t3.small", "ami-1", "ami-2", "ec2-user", 1790000000, "0f" * 32, access)
    tags = terms.tags()
    assert parse_terms({each["Key"]: each["Value"] for each in tags}) == terms
    assert max(len(each["Value"]) for each in tags) <= 256


def test_terms_that_do_not_fit_are_none() -> None:
    terms = LaunchTerms("t3.small", "ami-1", "ami-2", "u" * 33, 1790000000, "0f" * 32)
    assert terms.tags() == []
    assert replace(terms, user="u", access=Access(subnet="subnet-0123abcd", groups=MANY * 4)).tags() == []


def test_a_map_in_many_security_groups_goes_on_in_all_of_them(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a user to whom AWS has allowed more of them than five. One is the map's own."""
    api, network, asked, requests = case.account.api, case.provisioned.network, Api.call, []

    def note(api: Api, service: str, operation: str, **params: Any) -> Any:
        if operation == "run_instances":
            requests.append(params)
        return asked(api, service, operation, **params)

    own = make_job_group(api, case.name, network.vpc, time.time(), "map")
    groups = [
        str(api.call("ec2", "create_security_group", GroupName=f"g{n}", Description="-", VpcId=network.vpc)["GroupId"])
        for n in range(15)
    ]
    access = Access(subnet=network.subnets[0][1], groups=tuple(groups))
    role.remove_role(api, case.name)
    role.create_role(api, case.name, case.account.number, more=replace(terms_of(case.checked), access=access).tags())
    role.equip_role(api, case.name, case.account.bucket, case.account.number)
    monkeypatch.setattr(Api, "call", note)
    assert case.watcher().server_after(case.lose(case.first)) is not None
    assert [each["NetworkInterfaces"][0]["Groups"] for each in requests] == [[*groups, own]]


def test_nothing_of_the_bucket_says_what_is_started(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may write there may not start servers. Only tags of the role and the account decide."""
    requests, asked = [], Api.call

    def note(api: Api, service: str, operation: str, **params: Any) -> Any:
        if operation == "run_instances":
            requests.append(params)
        return asked(api, service, operation, **params)

    lost = case.lose(case.first)
    record = case.read(case.prefix.record)
    case.put(case.prefix.record, {**record, "instance_type": "m5.24xlarge", "image": "ami-0", "deadline": 4e9})
    hostile = {
        "MinCount": 3, "MaxCount": 3, "InstanceType": "m5.24xlarge", "IamInstanceProfile": {"Name": "Admin"},
        "UserData": "#!/bin/sh\nevil", "NetworkInterfaces": [{"DeviceIndex": 0}], "ImageId": "ami-0",
    }  # fmt: skip
    told = {"request": hostile, "subnets": [["us-east-1a", "subnet-0123abcd"]], "base": "ami-0"}
    case.put(f"{case.prefix.base}/in/relaunch.json", told)
    monkeypatch.setattr(Api, "call", note)
    second = case.watcher().server_after(lost)
    assert second is not None
    (request,) = requests
    assert (second.job, second.role) == (case.name, role.role_name(case.name))
    network = request.pop("NetworkInterfaces")
    assert [(each["Groups"], each["SubnetId"]) for each in network] == [
        (list(case.provisioned.network.groups), case.provisioned.network.subnets[0][1])
    ]
    first = launch.launch_request(
        case.checked.job, request["ClientToken"], case.provisioned.network, "", case.provisioned.key.name,
        case.provisioned.role, case.checked.image, case.provisioned.user_data,
    )  # fmt: skip
    assert request == {key: value for key, value in first.items() if key != "NetworkInterfaces"}


def test_a_server_that_another_version_has_started_is_taken(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """EC2 knows the token, of a request that is not quite the same."""
    lost, asked, pages, sought = case.lose(case.first), Api.call, Api.pages, []
    (answer,) = asked(case.account.api, "ec2", "describe_instances", InstanceIds=[lost.instance])["Reservations"]

    def refuse(api: Api, service: str, operation: str, **params: Any) -> Any:
        if operation == "run_instances":
            raise Refused(launch.TAKEN, "no", operation)
        return asked(api, service, operation, **params)

    def find(api: Api, service: str, operation: str, key: str, **params: Any) -> Any:
        (wanted, *_) = params.get("Filters") or [{"Name": ""}]
        if wanted["Name"] != "client-token":
            return pages(api, service, operation, key, **params)
        sought.extend(wanted["Values"])
        return [answer] if len(sought) > len(wanted["Values"]) else []

    monkeypatch.setattr(Api, "call", refuse)
    monkeypatch.setattr(Api, "pages", find)
    found = case.watcher().server_after(lost)
    assert found is not None
    assert found.instance == lost.instance
    assert {each.partition("-")[2] for each in sought} >= {"0", "base-0"}


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"instance": "i-other"}', b'{"instance": 7, "over": {}}'])
def test_an_attempt_that_is_another_ones_or_none_is_left_alone(case: Case, content: bytes) -> None:
    """A program may write anything there. The server finds out for itself."""
    lost, key = case.lose(case.first), f"{case.prefix.attempts}1.json"
    case.account.api.put(case.account.bucket, key, content)
    assert case.watcher().server_after(lost) is not None
    assert case.account.api.get(case.account.bucket, key) == content

"""What AWS answers that a cloud on one's own machine never does: denials, quotas, and not having heard of it yet."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, ConnectionClosedError, UnauthorizedSSOTokenError
from botocore.httpsession import URLLib3Session
from support.agent_bench import Machine
from support.weather import Weather
from support.whole_run import Seen, host, order, run

from skylift.client.errors import NameTaken, NotPermitted, Refused, RunError
from skylift.client.job.job import Program
from skylift.client.job.server import parse_server
from skylift.client.job.settings import Access, Settings
from skylift.client.launch import role
from skylift.client.launch import server as launch
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.job_group import job_groups, make_job_group
from skylift.client.launch.network import ensure_network, find_network
from skylift.client.plan.plan_job import Order, plan_job
from skylift.client.remote.api import Api, translated
from skylift.client.ship.blob_store import Blob, BlobStore

BUCKET = "skylift-123456789012-us-east-1"
ACCOUNT = "123456789012"


def answered(code: str, message: str, operation: str, service: str) -> Refused:
    error = ClientError({"Error": {"Code": code, "Message": message}}, operation)
    with pytest.raises(Refused) as caught, translated("x", service):
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("message", "operation", "service", "advice"),
    [
        (
            "You are not authorized to perform this operation. User: arn:aws:iam::1:user/u is not authorized to"
            " perform: ec2:CreateTags on resource: arn:aws:ec2:eu-west-1:1:instance/* because no identity-based policy"
            " allows the ec2:CreateTags action. Encoded authorization failure message: A1b2-C3",
            "RunInstances",
            "ec2",
            "the permission ec2:CreateTags on arn:aws:ec2:eu-west-1:1:instance/*. docs/iam.md",
        ),
        (
            "You are not authorized to perform this operation. Encoded authorization failure message: A1b2-C3",
            "RunInstances",
            "ec2",
            "the permission ec2:RunInstances. docs/iam.md",
        ),
        ("Forbidden", "HeadBucket", "s3", "the permission s3:ListBucket. docs/iam.md"),
        (
            "User: arn:aws:iam::1:user/u is not authorized to perform: iam:CreateRole on resource:"
            " arn:aws:iam::1:role/x with an explicit deny in a service control policy",
            "CreateRole",
            "iam",
            "A policy denies you iam:CreateRole on arn:aws:iam::1:role/x",
        ),
    ],
)
def test_denial_names_what_is_missing(message: str, operation: str, service: str, advice: str) -> None:
    code = "403" if service == "s3" else "UnauthorizedOperation"
    error = answered(code, message, operation, service)
    assert isinstance(error, NotPermitted)
    assert advice in error.advice
    assert "A1b2-C3" not in error.message


def test_quota_says_what_to_do() -> None:
    error = answered("VcpuLimitExceeded", "You have requested more vCPU capacity", "RunInstances", "ec2")
    assert "Service Quotas" in error.advice
    assert "subnet" in answered("VpcLimitExceeded", "The maximum number of VPCs", "CreateVpc", "ec2").advice


class Forgetful:
    """An AWS whose parts have not heard of each new thing when it is first asked for."""

    def __init__(self, api: Api, monkeypatch: pytest.MonkeyPatch, **codes: str) -> None:
        self.asked: list[str] = []
        call = api.call

        def forgetful(service: str, operation: str, **params: Any) -> Any:
            self.asked.append(operation)
            if operation in codes and self.asked.count(operation) == 1:
                raise Refused(codes[operation], "does not exist", operation)
            return call(service, operation, **params)

        monkeypatch.setattr(api, "call", forgetful)


def test_network_of_which_aws_has_not_heard_yet(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_bucket(api, BUCKET)
    forgetful = Forgetful(
        api,
        monkeypatch,
        attach_internet_gateway="InvalidInternetGatewayID.NotFound",
        create_subnet="InvalidVpcID.NotFound",
        create_security_group="InvalidVpcID.NotFound",
        create_route="InvalidRouteTableID.NotFound",
        create_tags="InvalidVpcID.NotFound",
    )
    network = ensure_network(api, BUCKET)
    assert len(network.subnets) == forgetful.asked.count("create_subnet") - 1


def test_role_of_which_iam_has_not_heard_yet(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor of its boundary: the role cannot be made before that."""
    codes = dict.fromkeys(("create_role", "put_role_policy", "add_role_to_instance_profile"), "NoSuchEntity")
    forgetful = Forgetful(api, monkeypatch, **codes)
    role.create_role(api, "x", ACCOUNT)
    assert forgetful.asked.count("create_role") == 2
    last = len(forgetful.asked) - 1 - forgetful.asked[::-1].index("create_role")
    assert "create_policy" in forgetful.asked[:last]
    assert role.equip_role(api, "x", BUCKET, ACCOUNT).name == "skylift-x"


def test_changes_beside_each_other_that_iam_does_not_take_at_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = dict.fromkeys(("create_role", "create_instance_profile", "delete_role"), "ConcurrentModification")
    forgetful = Forgetful(api, monkeypatch, **codes)
    role.create_role(api, "x", ACCOUNT)
    role.equip_role(api, "x", BUCKET, ACCOUNT)
    role.remove_role(api, "x")
    assert [forgetful.asked.count(each) for each in codes] == [2, 2, 2]
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []


def test_other_refusals_are_not_waited_for(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    forgetful = Forgetful(api, monkeypatch, create_role="LimitExceeded")
    with pytest.raises(Refused, match="LimitExceeded"):
        role.create_role(api, "x", ACCOUNT)
    assert forgetful.asked.count("create_role") == 1


def test_server_that_is_not_described_yet(
    settings: Settings, api: Api, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe, asked = launch.describe, 0

    def late(of: Api, instance: str) -> launch.Server | None:
        nonlocal asked
        asked += 1
        return describe(of, instance) if asked > 2 else None

    monkeypatch.setattr("skylift.client.launch.boot.describe", late)
    monkeypatch.setattr("skylift.client.watch.ssh_access.describe", late)
    seen = Seen()
    with host(api, machine):
        outcome = run(order(tmp_path, "print('ran')"), settings, seen)
    machine.wait()
    assert (outcome.state, seen.streams["stdout"]) == ("succeeded", b"ran\n")


def test_permission_that_lacks_at_the_launch(
    settings: Settings, api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The advice comes through to the user, and what was made is taken back."""
    call = Api.call

    def denied(self: Api, service: str, operation: str, **params: Any) -> Any:
        if operation != "run_instances":
            return call(self, service, operation, **params)
        with translated(operation, service):
            raise ClientError({"Error": {"Code": "UnauthorizedOperation", "Message": "You are not"}}, "RunInstances")

    monkeypatch.setattr(Api, "call", denied)
    (tmp_path / "job.py").touch()
    job = plan_job(Order(Program("script", "job.py")), tmp_path, os.environ)
    with pytest.raises(Exception, match="No server could be started") as caught:
        run(job, settings, Seen())
    assert "ec2:RunInstances" in caught.value.advice  # type: ignore[attr-defined]
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []


def test_a_first_write_whose_answer_is_lost_is_the_first(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore asks again, and is told that the object is there: it is our own."""
    ensure_bucket(api, BUCKET)
    send, lost = URLLib3Session.send, []

    def send_and_lose(session: URLLib3Session, request: Any) -> Any:
        answer = send(session, request)
        if not lost:
            lost.append(answer)
            raise ConnectionClosedError(endpoint_url=request.url)
        return answer

    monkeypatch.setattr(URLLib3Session, "send", send_and_lose)
    assert api.put(BUCKET, "claim", b"ours", first=True)
    assert [each.status_code for each in lost] == [200]
    assert not api.put(BUCKET, "claim", b"theirs", first=True)
    assert api.get(BUCKET, "claim") == b"ours"


class Gone(io.BytesIO):
    """The body of such an answer, as urllib3 has it."""

    def stream(self) -> Iterator[bytes]:
        yield b"<Error><Code>NoSuchUpload</Code><Message>It does not exist.</Message></Error>"


class Losing:
    """Loses the first answer to what puts an upload's parts together. As on S3 some time later, there is no such
    upload any more when that is asked again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lost: list[int] = []
        send = URLLib3Session.send

        def send_and_lose(session: URLLib3Session, request: Any) -> Any:
            completes = request.method == "POST" and "uploadId=" in request.url
            if self.lost and completes:
                return AWSResponse(request.url, 404, {}, Gone())
            answer = send(session, request)
            if not self.lost and completes:
                self.lost.append(answer.status_code)
                raise ConnectionClosedError(endpoint_url=request.url)
            return answer

        monkeypatch.setattr(URLLib3Session, "send", send_and_lose)


def test_an_upload_whose_last_answer_is_lost_is_there(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore asks again, and is told that there is no such upload."""
    ensure_bucket(api, BUCKET)
    losing, body = Losing(monkeypatch), bytes(9 << 20)
    api.upload(io.BytesIO(body), len(body), BUCKET, "tools/x", lambda _: None)
    assert losing.lost == [200]
    assert api.get(BUCKET, "tools/x") == body


def test_an_input_whose_last_answer_is_lost_is_there(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_bucket(api, BUCKET)
    losing, body, told = Losing(monkeypatch), bytes(17 << 20), list[int]()
    digest = hashlib.sha256(body).hexdigest()
    blob = Blob("input", digest, len(body), lambda: io.BytesIO(body))
    BlobStore(api, BUCKET).send(blob, told.append)
    assert (losing.lost, sum(told)) == ([200], len(body))
    assert BlobStore(api, BUCKET).missing([blob]) == []


def test_a_session_that_ends_in_the_middle_is_no_mistake_of_the_users() -> None:
    """Exit code 2 says that nothing was made."""
    with pytest.raises(RunError) as caught, translated("describe_instances", "ec2"):
        raise UnauthorizedSSOTokenError
    assert (caught.value.exit_code, caught.value.advice) == (125, "Run `aws sso login`.")


def test_a_subnet_whose_new_group_ec2_does_not_list_yet(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    subnet = api.call("ec2", "describe_subnets")["Subnets"][0]["SubnetId"]
    call, looks = api.call, 0

    def stale(service: str, operation: str, **params: Any) -> Any:
        nonlocal looks
        if operation == "describe_security_groups":
            looks += 1
            if looks <= 3:
                return {"SecurityGroups": []}
        return call(service, operation, **params)

    monkeypatch.setattr(api, "call", stale)
    network = find_network(api, Access(subnet=subnet))
    assert network is not None
    assert len(network.groups) == 1
    assert looks == 4


@pytest.mark.parametrize("done", ["create_subnet", "attach_internet_gateway", "create_route"])
def test_a_network_of_which_a_part_was_made_though_ec2_said_otherwise(
    endpoint: str, settings: Settings, done: str
) -> None:
    with Weather(endpoint) as weather:
        weather.add("".join(map(str.capitalize, done.split("_"))), "InternalError", done=True)
        api = Api(replace(settings, endpoint_url=weather.url))
        ensure_bucket(api, BUCKET)
        assert len(ensure_network(api, BUCKET).subnets) > 1


def test_a_group_that_was_made_though_ec2_said_otherwise_is_ours(endpoint: str, settings: Settings) -> None:
    with Weather(endpoint) as weather:
        weather.add("CreateSecurityGroup", "InternalError", done=True)
        weather.add("AuthorizeSecurityGroupIngress", "InternalError", done=True)
        api = Api(replace(settings, endpoint_url=weather.url))
        vpc = api.call("ec2", "describe_vpcs")["Vpcs"][0]["VpcId"]
        made = make_job_group(api, "many", vpc, 1.0, "map")
        assert list(job_groups(api, "many")) == [made]
        with pytest.raises(NameTaken):
            make_job_group(api, "many", vpc, 1.0, "map")


def test_a_role_that_was_given_to_its_profile_though_iam_said_otherwise(endpoint: str, settings: Settings) -> None:
    with Weather(endpoint) as weather:
        weather.add("AddRoleToInstanceProfile", "ServiceFailure", done=True)
        api = Api(replace(settings, endpoint_url=weather.url))
        role.create_role(api, "x", ACCOUNT)
        assert role.equip_role(api, "x", BUCKET, ACCOUNT).name == "skylift-x"


def test_a_server_that_ec2_does_not_know_yet_is_ended_all_the_same(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The undo of a launch comes seconds after it."""
    image = api.call("ec2", "describe_images", Owners=["amazon"])["Images"][0]["ImageId"]
    found = api.call("ec2", "run_instances", ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]
    forgetful = Forgetful(api, monkeypatch, terminate_instances="InvalidInstanceID.NotFound")
    server = parse_server(found)
    launch.terminate(api, server.instance, new=launch.is_new(server))
    assert forgetful.asked.count("terminate_instances") == 2
    state = api.call("ec2", "describe_instances", InstanceIds=[server.instance])["Reservations"][0]["Instances"][0][
        "State"
    ]
    assert state["Name"] in ("shutting-down", "terminated")
    old = replace(server, launched="2020-01-01T00:00:00Z")
    assert not launch.is_new(old)

"""AWS throttles, or is out of order for a while: it is asked again, with a word to the user, until it answers."""

from __future__ import annotations

import asyncio
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.agent_bench import Machine, until
from support.waiting_job import WAITS, go
from support.weather import LOST, Weather
from support.whole_run import Seen, host, order, run

import skylift
from skylift.client.errors import NotNow, Refused, Unreachable
from skylift.client.flow import Run
from skylift.client.job.job import Program, Spot
from skylift.client.job.settings import Settings
from skylift.client.jobs.sweep import Sweep
from skylift.client.launch import role
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.fleet import JobFleet, delete_fleets
from skylift.client.launch.server import live_servers
from skylift.client.plan.plan_job import Order, plan_job
from skylift.client.remote import patience
from skylift.client.remote.account import open_account
from skylift.client.remote.api import Api
from skylift.client.steps import in_thread
from skylift.client.waiting import Threads

BUCKET = "skylift-123456789012-us-east-1"
ACCOUNT = "123456789012"


@pytest.fixture
def weather(endpoint: str) -> Iterator[Weather]:
    with Weather(endpoint) as found:
        yield found


@pytest.fixture
def outside(settings: Settings, weather: Weather) -> Settings:
    """The account, seen through the weather."""
    return replace(settings, endpoint_url=weather.url)


@pytest.mark.parametrize(
    ("service", "called", "operation", "params", "code"),
    [
        ("ec2", "describe_instances", "DescribeInstances", {}, "RequestLimitExceeded"),
        ("ec2", "describe_instances", "DescribeInstances", {}, "InternalError"),
        ("iam", "list_roles", "ListRoles", {}, "Throttling"),
        ("sts", "get_caller_identity", "GetCallerIdentity", {}, "ServiceUnavailable"),
        ("s3", "list_buckets", "ListBuckets", {}, "SlowDown"),
        ("autoscaling", "describe_auto_scaling_groups", "DescribeAutoScalingGroups", {}, "Throttling"),
        ("scheduler", "list_schedules", "ListSchedules", {}, "ThrottlingException"),
        ("ssm", "describe_parameters", "DescribeParameters", {}, "ThrottlingException"),
    ],
)
@pytest.mark.usefixtures("short_pauses")
def test_a_call_is_repeated_while_aws_is_busy(
    outside: Settings, weather: Weather, service: str, called: str, operation: str, params: dict[str, str], code: str
) -> None:
    weather.add(operation, code, times=5)
    Api(outside).call(service, called, **params)
    assert [each.code for each in weather.asked] == [code] * 5 + [""]
    assert {(each.service, each.operation) for each in weather.asked} == {(service, operation)}


@pytest.mark.usefixtures("short_pauses")
def test_answers_of_what_stands_before_aws(outside: Settings, weather: Weather) -> None:
    """A proxy's answer has no code, and no XML."""
    weather.add("DescribeVpcs", "", times=2, status=503, body=b"")
    weather.add("DescribeVpcs", "", times=2, status=502, body=b"<html><body>Bad Gateway</body></html>")
    assert Api(outside).call("ec2", "describe_vpcs")["Vpcs"]
    assert len(weather.asked) == 5


@pytest.mark.parametrize("code", ["InsufficientInstanceCapacity", "InvalidParameterValue", "VcpuLimitExceeded"])
def test_other_refusals_are_told_at_once(outside: Settings, weather: Weather, code: str) -> None:
    """EC2 answers that it has no room with the status 500, too."""
    weather.add("DescribeVpcs", code, times=None)
    with pytest.raises(Refused) as caught:
        Api(outside).call("ec2", "describe_vpcs")
    assert not isinstance(caught.value, Unreachable)
    assert len(weather.asked) == 1


@pytest.mark.usefixtures("short_pauses")
def test_each_page_of_a_list_is_repeated_by_itself(outside: Settings, weather: Weather) -> None:
    api = Api(outside)
    ensure_bucket(api, BUCKET)
    for number in range(3):
        api.put(BUCKET, f"x/{number}", b"")
    weather.add("ListObjectsV2", "SlowDown", times=4)
    listed = api.pages("s3", "list_objects_v2", "Contents", Bucket=BUCKET, PaginationConfig={"PageSize": 2})
    assert [each["Key"] for each in listed] == ["x/0", "x/1", "x/2"]
    assert weather.count("ListObjectsV2", "") == 2


class Pauses:
    """The clock of calls that wait: a pause takes no time. After `until` seconds, `then` is called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, until: float, then: Callable[[], object]) -> None:
        self.now, self._until, self.then, self._lock = 0.0, until, then, threading.Lock()
        clock = SimpleNamespace(monotonic=lambda: self.now, time=lambda: 1e9 + self.now)
        monkeypatch.setattr(patience, "time", SimpleNamespace(**{**vars(time), **vars(clock)}))
        monkeypatch.setattr(patience, "pause", self._pause)

    def _pause(self, seconds: float) -> bool:
        with self._lock:
            self.now += seconds
            if self.now > self._until:
                self.then()
        return True


@pytest.mark.parametrize("calls", [1, 2])
def test_it_is_told_once_after_ten_seconds(
    outside: Settings, weather: Weather, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one line for all calls that wait: what is asked, what AWS says, and since when."""
    pauses, api, told = Pauses(monkeypatch, 25, weather.clear), Api(outside), list[tuple[float, str]]()
    api.patience.tell = lambda text: told.append((pauses.now, text))
    # Each one's pauses are the other's, too: none of both may come to the end of its patience by that.
    api.patience.seconds = 600.0
    weather.add("*", "RequestLimitExceeded", times=None)
    asked = {"describe_vpcs": "Vpcs", "describe_subnets": "Subnets"}
    with Threads(2) as pool:
        answers = [pool.submit(api.call, "ec2", each) for each in list(asked)[:calls]]
        assert [next(iter(each.result())) for each in answers] == list(asked.values())[:calls]
    [(when, line)] = told
    # It says so before the pause that would take longer than that; with two, the other one's comes in between.
    assert 0 < when <= 10 * calls
    assert "RequestLimitExceeded" in line
    assert any(each in line for each in asked)
    assert f"since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(1e9))}" in line or calls > 1
    assert "\n" not in line


def test_what_takes_less_than_ten_seconds_is_not_told(
    outside: Settings, weather: Weather, monkeypatch: pytest.MonkeyPatch
) -> None:
    Pauses(monkeypatch, 3, weather.clear)
    api, told = Api(outside), list[str]()
    api.patience.tell = told.append
    weather.add("*", "RequestLimitExceeded", times=None)
    assert api.call("ec2", "describe_vpcs")["Vpcs"]
    assert (told, len(weather.asked) > 3) == ([], True)


def test_a_job_waits_until_its_deadline(outside: Settings, weather: Weather, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a minute at least, for what is to be taken down then."""
    pauses, api = Pauses(monkeypatch, 1e6, weather.clear), Api(outside)
    weather.add("*", "RequestLimitExceeded", times=None)
    for deadline, least, most in ((1e9 + 900, 880, 900), (1e9, 935, 960)):
        api.patience.deadline = deadline
        with pytest.raises(NotNow):
            api.call("ec2", "describe_vpcs")
        assert least < pauses.now <= most


def test_it_is_given_up_at_last(outside: Settings, weather: Weather) -> None:
    api = Api(outside)
    api.patience.seconds = 1
    weather.add("DescribeVpcs", "RequestLimitExceeded", times=None)
    with pytest.raises(NotNow) as caught:
        api.call("ec2", "describe_vpcs")
    assert isinstance(caught.value, Unreachable)
    assert caught.value.code == "RequestLimitExceeded"
    assert "AWS has said so" in caught.value.message


@pytest.mark.usefixtures("short_pauses")
def test_a_lost_answer_is_asked_for_again(outside: Settings, weather: Weather) -> None:
    weather.add("DescribeVpcs", LOST, times=2)
    assert Api(outside).call("ec2", "describe_vpcs")["Vpcs"]
    weather.add("DescribeVpcs", LOST, times=None)
    with pytest.raises(Unreachable) as caught:
        Api(outside).call("ec2", "describe_vpcs")
    assert not isinstance(caught.value, NotNow)


def test_a_wait_that_ends_without_an_answer_lets_the_next_one_speak(
    outside: Settings, weather: Weather, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses, api, told = Pauses(monkeypatch, 25, weather.clear), Api(outside), list[str]()
    api.patience.tell = told.append
    monkeypatch.setattr(api.patience, "seconds", 60)

    def lose() -> None:
        weather.clear()
        weather.add("*", LOST, times=None)

    pauses.then = lose
    for _ in range(2):
        pauses.now = 0.0
        weather.clear()
        weather.add("*", "RequestLimitExceeded", times=None)
        with pytest.raises(Unreachable):
            api.call("ec2", "describe_vpcs")
    assert len(told) == 2


@pytest.mark.usefixtures("short_pauses")
def test_only_requests_without_an_answer_one_after_the_other_are_counted(outside: Settings, weather: Weather) -> None:
    for _ in range(6):
        weather.add("DescribeVpcs", LOST)
        weather.add("DescribeVpcs", "RequestLimitExceeded")
    assert Api(outside).call("ec2", "describe_vpcs")["Vpcs"]
    assert len(weather.asked) == 13


@pytest.mark.parametrize("nested", [False, True])
async def test_who_is_cancelled_waits_no_longer(outside: Settings, weather: Weather, *, nested: bool) -> None:
    """Also in threads of the thread that a cancelled caller waits for."""
    api = Api(outside)
    weather.add("DescribeVpcs", "RequestLimitExceeded", times=None)

    def ask() -> None:
        if not nested:
            api.call("ec2", "describe_vpcs")
            return
        with Threads(2) as pool:
            list(pool.map(lambda _: api.call("ec2", "describe_vpcs"), range(2)))

    asking = asyncio.ensure_future(in_thread(ask))
    of_each = 2 if nested else 1
    await asyncio.to_thread(until, lambda: weather.count("DescribeVpcs") > 3 * of_each, "the waits to be long")
    began = time.monotonic()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert time.monotonic() - began < 0.5


def test_who_leaves_a_pool_by_an_error_waits_no_longer(outside: Settings, weather: Weather) -> None:
    """As by Ctrl-C, where a command waits for threads without an event loop."""
    api = Api(outside)
    weather.add("DescribeVpcs", "RequestLimitExceeded", times=None)
    with pytest.raises(KeyboardInterrupt), Threads(2) as pool:
        pool.submit(api.call, "ec2", "describe_vpcs")
        until(lambda: weather.count("DescribeVpcs") > 3, "the waits to be long")
        began = time.monotonic()
        raise KeyboardInterrupt
    assert time.monotonic() - began < 0.5


@pytest.mark.usefixtures("short_pauses")
def test_a_run_goes_on_in_bad_weather(
    settings: Settings, outside: Settings, weather: Weather, api: Api, machine: Machine, tmp_path: Path, prepared: None
) -> None:
    """Before its launch, after it, while its results come home, and at its end."""
    weather.add("DescribeImages", "RequestLimitExceeded", times=5)
    weather.add("PutObject", "SlowDown", times=5)
    weather.add("CreateRole", "Throttling", times=5)
    weather.add("RunInstances", "RequestLimitExceeded", times=5)
    weather.add("DescribeInstances", "Unavailable", times=6, after="RunInstances")
    weather.add("GetObject", "SlowDown", times=6, after="RunInstances")
    weather.add("TerminateInstances", "InternalError", times=5)
    weather.add("DeleteRole", "Throttling", times=5)
    seen = Seen()
    with host(api, machine):
        outcome = run(order(tmp_path, "open('r', 'w').write('42')\nprint('ran')", outputs=("r",)), outside, seen)
    machine.wait()
    assert (outcome.state, outcome.exit_code) == ("succeeded", 0)
    assert seen.streams["stdout"] == b"ran\n"
    assert (tmp_path / "r").read_text() == "42"
    assert weather.count("RunInstances", "RequestLimitExceeded") == 5
    assert weather.count("GetObject", "SlowDown") == 6
    assert live_servers(api) == []
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []


def test_ctrl_c_ends_the_wait_of_a_launch(
    outside: Settings, weather: Weather, api: Api, tmp_path: Path, prepared: None
) -> None:
    """And what was made is taken down."""
    weather.add("RunInstances", "RequestLimitExceeded", times=None)
    seen = Seen()
    work = Run(order(tmp_path, "print('ran')"), outside, seen)

    async def main() -> None:
        running = asyncio.ensure_future(work.run())
        await asyncio.to_thread(until, lambda: weather.count("RunInstances") > 4, "the waits to be long")
        began = time.monotonic()
        work.interrupt()
        outcome = await running
        assert time.monotonic() - began < 5
        assert outcome.state == "cancelled"

    asyncio.run(main())
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []


@pytest.mark.usefixtures("short_pauses")
def test_a_wait_of_a_python_program(
    settings: Settings,
    outside: Settings,
    weather: Weather,
    api: Api,
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("skylift.python.work.settings_for", lambda on, access=None, **_: outside)
    Path("job.py").write_text(WAITS)
    with host(api, machine):
        job = skylift.submit("job.py", out=["result.txt"], name="nightly")
    found: list[int | None] = []
    waiting = threading.Thread(target=lambda: found.append(job.wait().exit_code))
    weather.add("*", "SlowDown", times=None)
    waiting.start()
    # More tries than botocore makes by itself.
    until(lambda: len([each for each in weather.asked if each.code]) > 4, "calls in bad weather")
    weather.clear()
    go(machine)
    waiting.join(60)
    assert found == [7]
    weather.add("GetObject", "SlowDown", times=5)
    assert [path.name for path in job.results(tmp_path / "there")] == ["result.txt"]
    weather.add("GetObject", "SlowDown", times=5)
    assert list(job.logs()) == ["ready", "done"]
    machine.wait()


@pytest.mark.usefixtures("short_pauses")
def test_a_large_upload_goes_on(outside: Settings, weather: Weather) -> None:
    api = Api(outside)
    ensure_bucket(api, BUCKET)
    for operation in ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"):
        weather.add(operation, "SlowDown", times=5)
    body = os.urandom(17 << 20)
    api.upload(io.BytesIO(body), len(body), BUCKET, "tools/x", lambda _: None)
    weather.add("GetObject", "SlowDown", times=5)
    assert api.get(BUCKET, "tools/x", len(body)) == body


@pytest.mark.usefixtures("short_pauses")
def test_a_fleet_is_not_deleted_because_of_a_throttled_look(
    outside: Settings, weather: Weather, api: Api, tmp_path: Path, prepared: None
) -> None:
    weather.add("DescribeInstances", "RequestLimitExceeded", times=6, after="CreateFleet")
    weather.add("CreateFleet", "RequestLimitExceeded", times=5)
    (tmp_path / "job.py").touch()
    job = plan_job(Order(Program("script", "job.py"), spot=Spot(types=("t3.small",))), tmp_path, os.environ)
    seen = Seen()
    work = Run(job, outside, seen)

    def looked() -> list[bool]:
        """Whether the call that came after the last bad answer was answered."""
        codes = [each.code for each in weather.asked if each.operation == "DescribeInstances"]
        return [not codes[-1]] if codes.count("RequestLimitExceeded") == 6 else []

    async def main() -> None:
        running = asyncio.ensure_future(work.run())
        await asyncio.to_thread(until, lambda: looked() == [True], "a look that is answered")
        assert weather.count("DeleteFleets") == 0
        work.interrupt()
        await running

    asyncio.run(main())
    assert weather.count("CreateFleet", "") == 1
    assert not any("No server is available" in each for each in seen.notes)


@pytest.mark.usefixtures("short_pauses")
def test_a_sweep_in_bad_weather(outside: Settings, weather: Weather, api: Api, prepared: None) -> None:
    role.create_role(api, "left-over", ACCOUNT)
    weather.add("ListRoles", "Throttling", times=5)
    weather.add("DescribeInstances", "RequestLimitExceeded", times=5)
    weather.add("ListObjectsV2", "SlowDown", times=5)
    weather.add("DeleteRole", "Throttling", times=5)
    account = open_account(outside)
    found = Sweep(account, time.time() + 86400).find()
    assert [(each.kind, each.job) for each in found] == [("role", "left-over")]
    for each in found:
        each.remove()
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []


@pytest.mark.usefixtures("short_pauses")
def test_a_role_that_was_made_though_iam_said_otherwise_is_ours(outside: Settings, weather: Weather, api: Api) -> None:
    weather.add("CreateRole", "ServiceFailure", done=True)
    weather.add("CreateInstanceProfile", "ServiceFailure", done=True)
    ours = Api(outside)
    role.create_role(ours, "x", ACCOUNT)
    assert role.equip_role(ours, "x", BUCKET, ACCOUNT).name == "skylift-x"
    with pytest.raises(skylift.UsageError, match="There is a job called x already"):
        role.create_role(ours, "x", ACCOUNT)
    assert role.owner_of(api, "skylift-x") == "x"


@pytest.mark.usefixtures("short_pauses", "prepared")
@pytest.mark.parametrize("code", ["SlowDown", "InternalError"])
def test_an_object_that_s3_did_not_delete_for_now_is_deleted(outside: Settings, weather: Weather, code: str) -> None:
    """Of many, each has its own error, in an answer with the status 200."""
    api = Api(outside)
    api.put(BUCKET, "x/0", b"")
    error = f"<Error><Key>x/0</Key><Code>{code}</Code><Message>Later.</Message></Error>"
    weather.add("DeleteObjects", code, times=3, status=200, body=f"<DeleteResult>{error}</DeleteResult>".encode())
    assert api.delete_below(BUCKET, "x/") == 1
    assert not api.has(BUCKET, "x/0")


@pytest.mark.usefixtures("short_pauses")
def test_a_fleet_that_ec2_did_not_delete_for_now_is_deleted(outside: Settings, weather: Weather) -> None:
    """Of several, each has its own error, also beside one of a fleet that is gone."""

    def answer(code: str) -> bytes:
        failed = "".join(
            f"<item><fleetId>{fleet}</fleetId><error><code>{each}</code><message>Later.</message></error></item>"
            for fleet, each in (("fleet-1", "fleetIdDoesNotExist"), ("fleet-2", code))
        )
        return f"<R><unsuccessfulFleetDeletionSet>{failed}</unsuccessfulFleetDeletionSet></R>".encode()

    weather.add("DeleteFleets", "unexpectedError", times=3, status=200, body=answer("unexpectedError"))
    weather.add("DeleteFleets", "fleetNotInDeletableState", status=200, body=answer("fleetNotInDeletableState"))
    delete_fleets(Api(outside), [JobFleet("fleet-1", "count"), JobFleet("fleet-2", "count")], servers_too=False)
    assert weather.count("DeleteFleets") == 4


@pytest.mark.usefixtures("short_pauses")
def test_an_error_that_comes_with_the_status_200_is_repeated(outside: Settings, weather: Weather) -> None:
    """S3 answers so when something has failed after it had begun to answer."""
    api = Api(outside)
    ensure_bucket(api, BUCKET)
    api.put(BUCKET, "a", b"1")
    weather.add("PutObject", "InternalError", status=200, times=3)
    api.copy(BUCKET, "a", "b", 1)
    assert (api.get(BUCKET, "b", 1), len(weather.asked)) == (b"1", 8)

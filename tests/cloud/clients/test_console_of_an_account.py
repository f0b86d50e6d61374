"""`skylift console --on aws`, where AWS is the endpoint with its services and no servers behind it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from account_console import console_on_aws
from playwright.sync_api import Browser, Route, expect
from serverless_cloud import ACCOUNT, REGION, Cloud, serverless_cloud
from support.browser import Tab
from support.shown_console import HOSTILE, Console

from skylift.client.job.record import JobKeys, bucket_name
from skylift.client.job.tags import job_tags
from skylift.client.map.keys import MapKeys
from skylift.client.map.outcome import InputOutcome, InputState, LogEntry, MapEnd, RunResult, RunStream, encode_entry
from skylift.client.map.spec import encode_spec
from skylift.contract.map_spec import MapInput, MapSpec

# It boots nothing; its browser is installed with what servers need.
pytestmark = [pytest.mark.real, pytest.mark.usefixtures("all_well")]

MANY = 1000


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with serverless_cloud(tmp_path_factory.mktemp("account")) as made:
        yield made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def console(account: Cloud, home: Path) -> Iterator[Console]:
    with console_on_aws(account, home) as made:
        yield made


@pytest.fixture(scope="module")
def many(account: Cloud) -> list[str]:
    """They are pending forever: nobody boots them."""
    ec2: Any = account.client("ec2")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    found: list[str] = []
    for number in range(0, MANY, 100):
        made = ec2.run_instances(
            ImageId=image,
            InstanceType="t3.micro",
            MinCount=100,
            MaxCount=100,
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "batch", "Value": f"of-{number}"}]}],
        )
        found += [each["InstanceId"] for each in made["Instances"]]
    return found


def test_a_thousand_instances_are_scrolled_filtered_and_opened(tab: Tab, console: Console, many: list[str]) -> None:
    """The page has as many elements as are seen, whatever there is."""
    page = tab.page
    tab.go(f"http://{console.host}/instances")
    expect(page.locator(".count")).to_have_text(f"{MANY} instances, 0 running")
    assert page.evaluate("document.querySelectorAll('*').length") < 3000
    rows = page.locator(".ag-center-cols-container .ag-row")
    last = page.locator(f".ag-row[row-index='{MANY - 1}']")
    page.locator(".ag-body-viewport").evaluate("(body) => (body.scrollTop = body.scrollHeight)")
    expect(last.first).to_be_visible()
    assert page.evaluate("document.querySelectorAll('*').length") < 3000
    page.get_by_label("Filter", exact=True).fill(many[512])
    expect(rows).to_have_count(1)
    # With the keyboard alone: a cell without a link opens what its row is about.
    rows.locator("[col-id=state]").click()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/instances/{many[512]}$"))
    expect(page.locator(".state").first).to_have_text("pending")
    # AWS has a command of its own for a shell.
    tab.go(f"http://{console.host}/connect/{many[512]}")
    command = f"aws ec2-instance-connect ssh --instance-id {many[512]} --os-user ec2-user"
    expect(page.locator(".commandline code")).to_have_text(command)


def test_each_screen_shows_an_account(tab: Tab, console: Console) -> None:
    """Also where there is nothing of its kind, and nothing that only a cloud on this machine has."""
    page = tab.page
    tab.go(f"http://{console.host}/")
    navigation = page.get_by_role("navigation")
    expect(navigation).to_be_visible()
    screens = [str(each.get_attribute("href")) for each in navigation.get_by_role("link").all()]
    assert len(screens) > 10
    for screen in screens:
        navigation.locator(f"a[href='{screen}']").click()
        expect(navigation.locator(f"a[href='{screen}']")).to_have_attribute("aria-current", "page")
        expect(page.locator("h1")).to_be_visible()
        expect(page.locator(".waiting:visible")).to_have_count(0)
        assert page.locator(".trouble:visible").all_inner_texts() == [], screen


NAME = "sums"
RUN = "0123456789abcdef"
SERVER = "i-0123456789abcdef0"


class Record:
    """What the servers of a map write, as they write it."""

    def __init__(self, account: Cloud) -> None:
        self._s3, self._bucket, self._keys = account.client("s3"), bucket_name(ACCOUNT, REGION), MapKeys(NAME)
        self._entries = 0
        self._s3.create_bucket(Bucket=self._bucket)
        spec = MapSpec(
            argv=("python", "sum.py"),
            python=True,
            args=(),
            inputs=tuple(
                MapInput(number, f"data/{name}", name) for number, name in enumerate(("a", "b", HOSTILE, "d"))
            ),
            outputs=("*.json",),
        )
        now = time.time()
        record = {"created": now, "deadline": now + 3600, "argv": ["python", "sum.py"], "map": {"tools": None}}
        self.put(self._keys.spec, encode_spec(spec))
        self.put(JobKeys(NAME).record, json.dumps({"version": 1, "job": NAME, "python": True, **record}).encode())

    def put(self, key: str, body: bytes) -> None:
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=body)

    def write(self, *outcomes: InputOutcome, **more: Any) -> None:
        entry = LogEntry(1, time.time(), None if self._entries else SERVER, outcomes, **more)
        self.put(self._keys.log_entry(self._entries), encode_entry(entry))
        self._entries += 1

    def live(self, index: int, stdout: str) -> None:
        streams = {
            "stdout": {"start": 0, "content": base64.b64encode(stdout.encode()).decode()},
            "stderr": {"start": 0, "content": ""},
        }
        self.put(
            self._keys.live(index),
            json.dumps({"run": RUN, "attempt": index + 1, "written": time.time(), **streams}).encode(),
        )

    def result(self, index: int, name: str, content: bytes) -> RunResult:
        self.put(f"{self._keys.run(index, RUN)}results/{name}", content)
        return RunResult(name, len(content), hashlib.sha256(content).hexdigest())


def stream(text: str) -> RunStream:
    return RunStream(len(text.encode()), text.encode(), len(text.encode()))


def skylift(account: Cloud, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**account.environment(home), "SKYLIFT_HOME": str(home / "skylift"), "AWS_REGION": REGION}
    command = [sys.executable, "-m", "skylift.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=home)


def test_the_inputs_of_a_map_are_seen_as_they_end(tab: Tab, console: Console, account: Cloud, home: Path) -> None:
    page, record = tab.page, Record(account)
    bad = InputOutcome(2, InputState.FAILED, 1, server=SERVER, seconds=1.5, stderr=stream(f"ValueError: {HOSTILE}\n"))
    record.write(bad, begun=((0, 1), (1, 2)))
    tab.go(f"http://{console.host}/jobs/{NAME}")
    expect(page.locator(".count")).to_have_text("1 of 4 done, 1 failed, 2 running, 1 waiting.")
    expect(page.locator(".complaints")).to_contain_text(f"1 × ValueError: {HOSTILE}")
    states = page.locator(".ag-center-cols-container [col-id=state]")
    assert states.all_inner_texts() == ["running", "running", "failed", "waiting"]

    # One that runs is followed until it has ended.
    tab.go(f"http://{console.host}/inputs/{NAME}/0")
    screen = page.locator(".xterm-rows")
    record.live(0, "one <b>of</b>\n")
    expect(screen).to_contain_text("one <b>of</b>")
    record.live(0, "one <b>of</b>\nmany\n")
    expect(screen).to_contain_text("many")
    told = skylift(account, home, "logs", NAME, "--on", "aws", "--input", "0")
    assert (told.stdout, "It still runs" in told.stderr) == ("one <b>of</b>\nmany\n", True)
    done = InputOutcome(
        0,
        InputState.SUCCEEDED,
        0,
        run=RUN,
        server=SERVER,
        started=time.time(),
        seconds=61,
        stdout=stream("größer <b>than</b>\n"),
        results=(record.result(0, "sum.json", b"42"),),
    )
    lost = InputOutcome(1, InputState.LOST, 125, losses=3, reason="It lost 3 servers.")
    record.write(done, lost, ended=MapEnd("Too many inputs have failed.", halted=True))
    expect(page.locator("pre")).to_have_text("größer <b>than</b>\n")
    expect(screen).to_have_count(0)
    page.get_by_role("link", name="All inputs").click()
    expect(states).to_have_text(["succeeded", "lost", "failed", "no outcome"])
    expect(page.locator(".count")).to_have_text(
        "3 of 4 done, 2 failed, 1 without an outcome. Too many inputs have failed."
    )

    # One of them: what it has written, and its result.
    page.get_by_label("Filter", exact=True).fill("succeeded")
    page.locator(".ag-row").get_by_role("link", name="0", exact=True).click()
    expect(page.get_by_role("heading", name=f"Input 0 of {NAME}")).to_be_visible()
    expect(page.locator("pre")).to_have_text("größer <b>than</b>\n")
    expect(page.locator(".commandline")).to_contain_text(f"skylift logs {NAME} --input 0")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert Path(download.value.path()).read_bytes() == b"42"
    tab.go(f"http://{console.host}/inputs/{NAME}/2")
    expect(page.locator("pre")).to_contain_text(HOSTILE)
    for odd in ("7", "-1", "²", "x"):
        tab.go(f"http://{console.host}/inputs/{NAME}/{odd}")
        expect(page.get_by_role("alert")).to_contain_text("The map has no input")


def test_a_job_whose_record_is_gone_can_be_cancelled(tab: Tab, console: Console, account: Cloud) -> None:
    """Its server is there, and costs."""
    page, ec2 = tab.page, account.client("ec2")
    ec2.run_instances(
        ImageId=ec2.describe_images()["Images"][0]["ImageId"],
        InstanceType="t3.micro",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": job_tags("forgotten")}],
    )
    tab.go(f"http://{console.host}/jobs/forgotten")
    expect(page.get_by_role("button", name="Cancel job")).to_be_enabled()
    expect(page.locator(".trouble:visible")).to_have_count(0)
    page.get_by_role("tab", name="Steps").click()
    expect(page.get_by_label("Steps, the first one first")).to_be_visible()


def test_how_an_instance_comes_up_is_shown_once(tab: Tab, console: Console, account: Cloud) -> None:
    page, ec2 = tab.page, account.client("ec2")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    (server,) = ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1)["Instances"]
    own = f"http://{console.host}/instances/{server['InstanceId']}"
    tab.go(f"{own}?launched=now")
    steps = page.get_by_label("Progress").locator("li")
    expect(steps.nth(1)).to_have_class(re.compile("step-doing"))
    # While it comes up, the page is found as it was.
    page.reload()
    expect(steps.nth(1)).to_have_class(re.compile("step-doing"))
    ec2.terminate_instances(InstanceIds=[server["InstanceId"]])
    expect(steps.nth(1)).to_have_class(re.compile("step-failed"))
    expect(page).to_have_url(own)
    page.reload()
    expect(page.locator(".state").first).to_have_text(re.compile("terminated|shutting-down"))
    expect(steps).to_have_count(0)


def test_a_page_that_lacks_a_part_is_loaded_again(browser: Browser, console: Console) -> None:
    """Chromium drops requests when the machine's network changes."""
    tab = Tab(browser)
    tab.page.goto(console.link())
    expect(tab.page.get_by_role("navigation")).to_be_visible()
    tab.page.route("**/xterm.js", lambda route: route.abort(), times=1)
    tab.page.get_by_role("link", name="Jobs", exact=True).click()
    tab.page.get_by_role("link", name="forgotten", exact=True).click()
    expect(tab.page.locator(".xterm-rows")).to_be_visible()
    assert any("Failed to load" in each for each in tab.wrong)
    tab.context.close()


def test_whoever_has_left_a_page_that_lacks_a_part_is_not_taken_back(browser: Browser, console: Console) -> None:
    tab = Tab(browser)
    page = tab.page
    page.goto(console.link())
    expect(page.get_by_role("navigation")).to_be_visible()

    def late(route: Route) -> None:
        page.wait_for_timeout(2000)
        route.continue_()

    page.route("**/security-groups", late)
    page.evaluate("import('/console/lost.js').catch((error) => console.error(error))")
    tab.go(f"http://{console.host}/security-groups")
    expect(page.get_by_role("heading", name="Security groups")).to_be_visible()
    assert any("Failed to load" in each for each in tab.wrong)
    tab.context.close()


def test_what_is_being_typed_outlives_a_part_that_could_not_be_loaded(browser: Browser, console: Console) -> None:
    """The page after it is loaded whole."""
    tab = Tab(browser)
    page = tab.page
    page.goto(console.link())
    tab.go(f"http://{console.host}/new-job")
    page.get_by_label("Job name").fill("half-written")
    # As NiceGUI fetches what an element needs that has just come.
    page.evaluate("import('/console/lost.js').catch((error) => console.error(error))")
    expect(page.get_by_text("A part of this page could not be loaded.")).to_be_visible()
    expect(page.get_by_label("Job name")).to_have_value("half-written")
    page.evaluate("window.before = true")
    page.get_by_role("link", name="Jobs", exact=True).click()
    page.wait_for_function("window.before === undefined")
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    tab.context.close()


def test_a_field_that_goes_a_moment_after_its_address_keeps_no_page_from_being_loaded_again(
    browser: Browser, console: Console
) -> None:
    tab = Tab(browser)
    page = tab.page
    page.goto(console.link())
    tab.go(f"http://{console.host}/new-job")
    page.get_by_label("Job name").fill("half-written")
    page.evaluate("import('/console/lost.js').catch((error) => console.error(error))")
    expect(page.get_by_text("A part of this page could not be loaded.")).to_be_visible()
    page.evaluate("window.before = true")
    page.evaluate("() => { setTimeout(() => history.pushState({ page: '/jobs' }, '', '/jobs')) }")
    page.wait_for_function("window.before === undefined")
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    tab.context.close()


def test_what_was_typed_on_the_page_before_keeps_no_page_from_being_loaded_again(
    browser: Browser, console: Console
) -> None:
    tab = Tab(browser)
    page = tab.page
    page.goto(console.link())
    tab.go(f"http://{console.host}/new-job")
    page.get_by_label("Job name").fill("left")
    page.route("**/aggrid.js", lambda route: route.abort(), times=1)
    page.get_by_role("link", name="Security groups", exact=True).click()
    expect(page.locator(".ag-row", has_text="default").first).to_be_visible()
    assert any("Failed to load" in each for each in tab.wrong)
    tab.context.close()


def test_a_cluster_is_listed_and_taken_down(tab: Tab, console: Console, account: Cloud) -> None:
    """All that is left of this one is its security group."""
    page, ec2 = tab.page, account.client("ec2")
    (vpc,) = ec2.describe_vpcs()["Vpcs"]
    group = ec2.create_security_group(GroupName="skylift-train", Description="of a cluster", VpcId=vpc["VpcId"])[
        "GroupId"
    ]
    tags = {"skylift:job": "train", "skylift:kind": "cluster"}
    ec2.create_tags(Resources=[group], Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
    tab.go(f"http://{console.host}/clusters")
    row = page.locator(".ag-row[row-id='train']")
    expect(row).to_contain_text(group)
    expect(page.get_by_role("button", name="Take down")).to_be_disabled()
    row.locator("input[type=checkbox]").click()
    page.get_by_role("button", name="Take down").click()
    question = page.get_by_role("dialog")
    expect(question.locator("code")).to_have_text("skylift cluster down train")
    question.get_by_role("button", name="Take down").click()
    expect(page.get_by_text("There is no cluster.")).to_be_visible()
    assert group not in {each["GroupId"] for each in ec2.describe_security_groups()["SecurityGroups"]}


def test_the_map_of_a_vpc_has_each_server_that_comes_until_it_goes(tab: Tab, console: Console, account: Cloud) -> None:
    page, ec2 = tab.page, account.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.78.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.78.1.0/24")["Subnet"]["SubnetId"]
    tab.go(f"http://{console.host}/vpcs/{vpc}")
    expect(page.locator(".map-node", has_text=subnet)).to_have_count(1)
    image = ec2.describe_images()["Images"][0]["ImageId"]
    wanted = {"ImageId": image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1, "SubnetId": subnet}
    (server,) = ec2.run_instances(**wanted)["Instances"]
    expect(page.get_by_role("link", name=re.compile(f"^{server['InstanceId']}: pending"))).to_be_visible()
    ec2.terminate_instances(InstanceIds=[server["InstanceId"]])
    expect(page.locator(".map-inner")).to_have_count(0)


def test_a_subnet_gets_another_route_table_and_a_vpc_its_gateway(tab: Tab, console: Console, account: Cloud) -> None:
    page, ec2, question = tab.page, account.client("ec2"), tab.page.get_by_role("dialog")
    vpc = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.77.1.0/24")["Subnet"]["SubnetId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    tab.go(f"http://{console.host}/vpcs/{vpc}")
    page.get_by_role("tab", name="Subnets").click()
    row = page.locator("tr", has_text=subnet)
    for chosen, command in ((table, "associate-route-table"), ("main", "disassociate-route-table")):
        row.get_by_role("button", name="Route table of").click()
        options = question.get_by_label("Route table", exact=True)
        own = options.input_value()
        value = options.locator("option", has_text=chosen).first.get_attribute("value")
        options.select_option(value)
        expect(question.locator("code")).to_contain_text(f"aws ec2 {command}")
        options.select_option(own)
        expect(question).to_contain_text("It has this one.")
        options.select_option(value)
        expect(question.locator("code")).to_contain_text(f"aws ec2 {command}")
        question.get_by_role("button", name="Change").click()
        expect(row.locator("td").nth(6)).to_have_text(str(value))
    page.get_by_role("tab", name="Gateways").click()
    page.get_by_role("button", name="Create internet gateway").click()
    question.get_by_label("Name", exact=True).fill(HOSTILE)
    question.get_by_role("button", name="Create", exact=True).click()
    expect(page.locator("table.small")).to_contain_text(HOSTILE)
    expect(page.get_by_role("button", name="Create internet gateway")).to_be_disabled()
    filters = [{"Name": "attachment.vpc-id", "Values": [vpc]}]
    (gateway,) = ec2.describe_internet_gateways(Filters=filters)["InternetGateways"]
    page.get_by_role("button", name=f"Delete {gateway['InternetGatewayId']}").click()
    question.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("Nothing leads out of this VPC.")).to_be_visible()
    # Without a server or an interface in it, the whole VPC goes, also a group that the default group names.
    groups = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["SecurityGroups"]
    named = ec2.create_security_group(GroupName="named", Description="by the default group", VpcId=vpc)["GroupId"]
    permission = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "UserIdGroupPairs": [{"GroupId": named}]}
    ec2.authorize_security_group_ingress(GroupId=groups[0]["GroupId"], IpPermissions=[permission])
    made = ec2.create_network_interface(SubnetId=subnet, Description=HOSTILE)["NetworkInterface"]
    page.get_by_role("button", name="Delete VPC").click()
    expect(question).to_contain_text(f"{made['NetworkInterfaceId']} ({HOSTILE})")
    question.get_by_role("button", name="Delete", exact=True).click()
    expect(question.get_by_role("alert")).to_contain_text("Network interfaces are in this VPC")
    question.get_by_role("button", name="Cancel").click()
    ec2.delete_network_interface(NetworkInterfaceId=made["NetworkInterfaceId"])
    page.get_by_role("button", name="Delete VPC").click()
    expect(question).not_to_contain_text("Network interfaces")
    expect(question).to_contain_text(f"subnet {subnet}")
    expect(question).to_contain_text(f"route table {table}")
    question.get_by_role("button", name="Delete", exact=True).click()
    expect(page).to_have_url(re.compile("/vpcs$"))
    assert vpc not in {each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"]}

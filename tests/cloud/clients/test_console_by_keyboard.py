"""The console without a mouse: Tab, arrows, Enter, Space and Escape."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from account_console import console_on_aws
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect
from serverless_cloud import ACCOUNT, REGION, Cloud, serverless_cloud
from support.browser import Tab
from support.shown_console import HOSTILE, Console

from skylift.client.job.record import JobKeys, bucket_name
from skylift.cloud.domain.instance import Console as Said

# It boots nothing; its browser is installed with what servers need.
pytestmark = [pytest.mark.real, pytest.mark.usefixtures("all_well")]

READS = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}
GROUP = "50% + <b>more</b>"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
WALK = """() => {
    const control = "a[href], button, input, select, textarea, summary, [tabindex]:not([tabindex='-1'])";
    const seen = new Set(), unseen = [];
    const name = (each) => each.outerHTML.replace(/\\s+/g, " ").slice(0, 160);
    // A cell is marked by its border, the search's hits by their ground.
    const isMarked = (each) => {
        const own = [each, each.closest(".terminal"), each.closest(".ag-cell, .ag-header-cell")].filter(Boolean);
        return own.some((one) => [null, "::after"].some((part) => {
            const style = getComputedStyle(one, part);
            return (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0)
                || (one.matches(".ag-cell, .ag-header-cell") && parseFloat(style.borderLeftWidth) > 0);
        }));
    };
    const watch = ({ target }) => {
        seen.add(target);
        if (!isMarked(target)) unseen.push(name(target));
    };
    addEventListener("focusin", watch, true);
    window.walked = (within) => {
        removeEventListener("focusin", watch, true);
        const shown = [...within.querySelectorAll(control)].filter((each) =>
            !each.disabled && !each.closest(".ag-root-wrapper, .xterm, [inert]") && each.tabIndex >= 0
            && each.checkVisibility({ checkVisibilityCSS: true }));
        const grid = [...within.querySelectorAll(".grid")].find((each) => each.checkVisibility());
        const missed = shown.filter((each) => !seen.has(each)).map(name);
        if (grid && ![...seen].some((each) => grid.contains(each))) missed.push(name(grid));
        return { missed, unseen };
    };
}"""
HELD = "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
FIRST = "document.activeElement?.matches('[data-skip]')"
COUNT = "window.clicks = 0; addEventListener('click', () => window.clicks++, true)"
MOST = 250
"""Tabs, after which a page is taken for a trap."""


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with serverless_cloud(tmp_path_factory.mktemp("account")) as made:
        yield made


@pytest.fixture(scope="module")
def console(account: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with console_on_aws(account, tmp_path_factory.mktemp("home")) as made:
        yield made


ODD = {
    "Name": HOSTILE,
    ":eval": "window.hacked = 1",
    "quotes": """a"b'c`d${window.hacked = 1}{{7 * 7}}""",
    "lines": "one\ntwo\r\nthree",
    "marks": "\u202egnp.exe\u2066 \u05d0\u05d1",
    "long": "x" * 256,
}
"""Tags as whoever fears nothing gives them."""


@pytest.fixture(scope="module")
def things(account: Cloud) -> dict[str, str]:
    """One of each kind that has a page of its own, with names that nobody should have. Its path, by its kind."""
    ec2, iam, s3 = account.client("ec2"), account.client("iam"), account.client("s3")
    tags = [{"Key": key, "Value": value} for key, value in ODD.items()]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    wanted = {"ImageId": image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    data = base64.b64encode("".join(ODD.values()).encode() * 20).decode()
    (server,) = ec2.run_instances(**wanted, UserData=data)["Instances"]
    (spot,) = ec2.run_instances(**wanted, InstanceMarketOptions={"MarketType": "spot"})["Instances"]
    ec2.create_key_pair(KeyName=HOSTILE)
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    (vpc,) = ec2.describe_vpcs()["Vpcs"]
    (subnet, *_) = ec2.describe_subnets()["Subnets"]
    group = ec2.create_security_group(GroupName="odd (1)", Description="a & b", VpcId=vpc["VpcId"])["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    marked = [server["InstanceId"], spot["InstanceId"], address, vpc["VpcId"], subnet["SubnetId"], group]
    ec2.create_tags(Resources=marked, Tags=tags)
    iam.create_role(RoleName="reads", AssumeRolePolicyDocument=json.dumps(TRUST), Description=ODD["quotes"])
    iam.put_role_policy(RoleName="reads", PolicyName="reads", PolicyDocument=json.dumps(READS))
    iam.create_user(UserName="ada")
    iam.create_access_key(UserName="ada")
    s3.create_bucket(Bucket="by-keyboard")
    for key in (*ODD.values(), "in/a.csv", "<script>window.hacked = 1</script>/of a script.html", "../up", "x/" * 500):
        s3.put_object(Bucket="by-keyboard", Key=key, Body=b"<script>window.hacked = 1</script>,:eval\n")
    template = {"ImageId": image, "InstanceType": "t3.micro"}
    ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData=template)
    account.client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName=GROUP,
        LaunchTemplate={"LaunchTemplateName": "web"},
        MinSize=0,
        MaxSize=2,
        VPCZoneIdentifier=subnet["SubnetId"],
    )
    write_job(s3, "walked")
    return {
        "instance": f"/instances/{server['InstanceId']}",
        "vpc": f"/vpcs/{vpc['VpcId']}",
        "subnet": subnet["SubnetId"],
        "group": f"/security-groups/{group}",
        "role": "/roles/reads",
        "user": "/users/ada",
        "bucket": "/s3/by-keyboard",
        "scaling": f"/scaling/{quote(GROUP, safe='')}",
        "price": "/prices/t3.micro",
        "job": "/jobs/walked",
        "new job": "/new-job",
        "new vpc": "/create-vpc",
    }


def write_job(s3: Any, name: str) -> None:
    """The record of one that has left nothing else."""
    bucket, now = bucket_name(ACCOUNT, REGION), time.time()
    s3.create_bucket(Bucket=bucket)
    record = {"version": 1, "job": name, "python": True, "created": now, "deadline": now + 3600, "argv": [HOSTILE]}
    s3.put_object(Bucket=bucket, Key=JobKeys(name).record, Body=json.dumps(record).encode())


def test_an_instance_is_found_selected_and_terminated(tab: Tab, console: Console, things: dict[str, str]) -> None:
    page, keys = tab.page, tab.page.keyboard
    instance = things["instance"].rpartition("/")[2]
    tab.go(f"http://{console.host}/instances")
    row = page.locator(f".ag-row[row-id='{instance}']")
    expect(row).to_be_visible()
    tab_to(page, page.get_by_label("Filter", exact=True))
    keys.type(instance)
    expect(page.locator(".ag-center-cols-container .ag-row")).to_have_count(1)
    # Into the table, down to the row, and out again to what can be done with it.
    keys.press("Tab")
    keys.press("ArrowDown")
    keys.press("Space")
    expect(row).to_have_attribute("aria-selected", "true")
    tab_to(page, page.get_by_role("button", name="Terminate"), "Shift+Tab")
    keys.press("Enter")
    question = page.get_by_role("dialog")
    expect(question).to_contain_text(instance)
    keys.press("Escape")
    expect(question).to_have_count(0)
    expect(page.get_by_role("button", name="Terminate")).to_be_focused()
    # A key that is held presses once: it asks, and does not answer.
    page.evaluate(COUNT)
    keys.down("Enter")
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    keys.down("Enter")
    keys.up("Enter")
    assert page.evaluate("window.clicks") == 1
    tab_to(page, question.get_by_role("button", name="Terminate", exact=True))
    keys.press("Enter")
    expect(row.locator(".state")).to_have_text(re.compile("terminated|shutting-down"))
    # Nor does it make what a field is for several times.
    tab.go(f"http://{console.host}/addresses")
    page.get_by_role("button", name="Allocate").first.click()
    question.get_by_label("Name").fill("held")
    page.evaluate(COUNT)
    for _ in range(5):
        keys.down("Enter")
    keys.up("Enter")
    assert page.evaluate("window.clicks") == 1
    expect(question).to_have_count(0)
    expect(page.locator(".ag-row", has_text="held")).to_have_count(1)


def test_whoever_goes_to_a_page_is_at_its_beginning(tab: Tab, console: Console, things: dict[str, str]) -> None:
    page, keys = tab.page, tab.page.keyboard
    tab.go(f"http://{console.host}/jobs")
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    tab_to(page, page.get_by_role("navigation").get_by_role("link", name="Roles"))
    keys.press("Enter")
    expect(page.get_by_role("heading", name="Roles")).to_be_focused()
    expect(page.locator(".ag-row", has_text="reads")).to_be_visible()
    keys.press("Tab")
    expect(page.get_by_role("button", name="Create role").first).to_be_focused()
    # And from the beginning of everything, one key is enough to pass over the navigation.
    page.reload()
    expect(page.get_by_role("heading", name="Roles")).to_be_visible()
    keys.press("Tab")
    keys.press("Enter")
    expect(page.get_by_role("heading", name="Roles")).to_be_focused()


def test_the_search_knows_lists_that_nobody_has_looked_at_and_what_is_in_none(
    tab: Tab, console: Console, things: dict[str, str], account: Cloud
) -> None:
    page, keys = tab.page, tab.page.keyboard
    (key,) = account.client("iam").list_access_keys(UserName="ada")["AccessKeyMetadata"]
    tab.go(f"http://{console.host}/prices")
    expect(page.get_by_role("heading", name="Types and prices")).to_be_visible()
    for text, path in {
        "walked": things["job"],
        "by-keyb": things["bucket"],
        "Cost": "/cost",
        things["subnet"]: f"{things['vpc']}?tab=subnets",
        key["AccessKeyId"]: things["user"],
    }.items():
        keys.press("Control+k")
        # Nobody waits for the answer before Enter.
        keys.type(text)
        keys.press("Enter")
        expect(page).to_have_url(re.compile(f"{re.escape(path)}$"))
    keys.press("Control+k")
    keys.type("nobody has this")
    expect(page.get_by_text("Nothing is called that")).to_be_visible()
    keys.press("Escape")


def test_a_folder_of_many_is_shown_by_parts_and_an_empty_bucket_goes(
    tab: Tab, console: Console, account: Cloud
) -> None:
    page, s3 = tab.page, account.client("s3")
    s3.create_bucket(Bucket="of-many")
    names = [f"{number:04d}" for number in range(205)]
    for name in names:
        s3.put_object(Bucket="of-many", Key=name, Body=b"")
    tab.go(f"http://{console.host}/s3/of-many")
    rows = page.locator("table.small tbody tr")
    expect(rows).to_have_count(200)
    page.get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(205)
    expect(rows.last).to_contain_text("0204")
    expect(page.get_by_role("button", name="Show more")).to_have_count(0)
    s3.delete_objects(Bucket="of-many", Delete={"Objects": [{"Key": name} for name in names]})
    page.get_by_role("button", name="Delete bucket").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page).to_have_url(re.compile("/s3$"))
    assert "of-many" not in {each["Name"] for each in s3.list_buckets()["Buckets"]}


def test_a_log_is_left_by_the_keys_that_lead_into_it(tab: Tab, console: Console, things: dict[str, str]) -> None:
    page = tab.page
    tab.go(f"http://{console.host}{things['job']}")
    expect(page.locator(".xterm-rows")).to_be_visible()
    page.get_by_role("textbox", name="Log of walked").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Copy: skylift logs -f walked")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("textbox", name="Log of walked")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="Full screen")).to_be_focused()


def test_nothing_that_somebody_has_named_or_written_runs_on_any_screen(
    tab: Tab, console: Console, things: dict[str, str], account: Cloud
) -> None:
    """Tags, keys, names and user data of `things`; what a server has said on its console; and a job's log."""
    page, instance = tab.page, things["instance"].rpartition("/")[2]
    said = "\r\n".join((*ODD.values(), "<script>window.hacked = 1</script>", "\x1b]0;<svg onload=window.hacked=1>\x07"))
    with account.database.write() as tx:
        tx.add(Said(instance, said, datetime.now(UTC)))
    write_job(account.client("s3"), "hostile")
    for stream in ("stdout", "stderr"):
        key = f"{JobKeys('hostile').stream(stream)}{0:020}"
        account.client("s3").put_object(Bucket=bucket_name(ACCOUNT, REGION), Key=key, Body=said.encode())
    tab.go(f"http://{console.host}/")
    screens = [str(each.get_attribute("href")) for each in page.get_by_role("navigation").get_by_role("link").all()]
    for path in [*screens, *(each for each in things.values() if each.startswith("/")), "/jobs/hostile"]:
        open_page(tab, console, path)
        for each in page.get_by_role("tab").all():
            each.click()
            expect(each).to_have_attribute("aria-selected", "true")
            settle(page)
            assert page.evaluate("window.hacked") is None, (path, each.text_content())
        assert page.evaluate("window.hacked") is None, path
    open_page(tab, console, things["instance"])
    page.get_by_role("tab", name="Console output").click()
    expect(page.locator("pre.output")).to_contain_text(HOSTILE)
    open_page(tab, console, "/jobs/hostile")
    expect(page.locator(".xterm-rows")).to_contain_text("onerror=window.hacked")


@pytest.mark.nightly
def test_every_screen_is_walked_by_keys_alone(tab: Tab, console: Console, things: dict[str, str]) -> None:
    """Tab reaches whatever can be used, shows where it is, and comes to an end. Each dialog holds it, closes with
    Escape, and gives it back."""
    page = tab.page
    tab.go(f"http://{console.host}/")
    navigation = page.get_by_role("navigation")
    expect(navigation).to_be_visible()
    screens = [str(each.get_attribute("href")) for each in navigation.get_by_role("link").all()]
    paths = [*screens, *(each for each in things.values() if each.startswith("/"))]
    for path in paths:
        open_page(tab, console, path)
        tabs = [str(each.text_content()) for each in page.get_by_role("tab").all()]
        for number, name in enumerate(tabs or [""]):
            if number:
                tab_to(page, page.get_by_role("tab", selected=True))
                page.keyboard.press("ArrowRight")
                page.keyboard.press("Enter")
                expect(page.get_by_role("tab", name=name, exact=True)).to_have_attribute("aria-selected", "true")
            settle(page)
            walk(page, f"{path} {name}")
        check_dialogs(tab, console, path)


def open_page(tab: Tab, console: Console, path: str) -> None:
    tab.go(f"http://{console.host}{path}")
    expect(tab.page.locator("h1")).to_be_visible()
    settle(tab.page)


def settle(page: Page) -> None:
    expect(page.locator(".waiting:visible")).to_have_count(0)
    panel = page.get_by_role("tabpanel")
    if panel.count():
        expect(panel.locator("> .panel")).to_have_count(1)


def walk(page: Page, where: str) -> None:
    page.evaluate("document.activeElement?.blur()")
    page.evaluate(WALK)
    for _ in range(MOST):
        page.keyboard.press("Tab")
        if page.evaluate(FIRST):
            break
    else:
        raise AssertionError(f"{where}: Tab does not come round")
    for _ in range(MOST):
        page.keyboard.press("Tab")
        if page.evaluate(FIRST):
            break
    else:
        raise AssertionError(f"{where}: Tab does not come round")
    found = page.evaluate("window.walked(document)")
    assert not found["missed"], f"{where}: not reached: {found['missed']}"
    assert not found["unseen"], f"{where}: focus is not seen: {found['unseen']}"


def check_dialogs(tab: Tab, console: Console, path: str) -> None:
    """Of each button of the page's head that opens one."""
    page = tab.page
    dialog, buttons = page.get_by_role("dialog"), page.locator(".head .buttons button")
    for number in range(buttons.count()):
        button = buttons.nth(number)
        if button.is_disabled():
            continue
        name = button.text_content()
        tab_to(page, button)
        page.keyboard.press("Enter")
        if not opens(page, path):
            open_page(tab, console, path)
            continue
        found = Axe().run(page).response["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert serious == [], f"{path}, {name}: {serious}"
        for _ in range(40):
            page.keyboard.press("Tab")
            assert page.evaluate(HELD), f"{path}, {name}: the dialog is left"
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        expect(button).to_be_focused()


def opens(page: Page, path: str) -> bool:
    """Whether a dialog comes, or another page."""
    page.wait_for_function(
        "(path) => document.querySelector('dialog[open]') || location.pathname !== path", arg=path or "/"
    )
    return page.get_by_role("dialog").count() > 0


def tab_to(page: Page, wanted: Locator, key: str = "Tab") -> None:
    """By that key alone."""
    handle = wanted.element_handle()
    for _ in range(MOST):
        if page.evaluate("(wanted) => document.activeElement === wanted", handle):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{key} does not lead to {wanted}")

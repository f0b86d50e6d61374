"""The chapter on EC2, walked through the console's screens in its own order, by one person in one browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Tab
from playwright.sync_api import Browser, Page, expect
from real_cloud import RealCloud
from shown_console import Console, check_nothing_wrong, console_of

pytestmark = [pytest.mark.real, pytest.mark.heavy]

MAY_WRITE = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:PutObject", "s3:ListBucket"], "Resource": "arn:aws:s3:::of-the-chapter*"}
    ],
}
PROCESSOR = """import csv, sys
rows = list(csv.DictReader(open(sys.argv[1])))
with open("totals.csv", "w") as file:
    file.write(f"rows,amount\\n{len(rows)},{sum(int(row['amount']) for row in rows)}\\n")
print("processed", len(rows), "rows")
"""


@pytest.fixture
def own_tab(own_cloud: RealCloud, browser: Browser) -> Iterator[tuple[Tab, Console]]:
    """A cloud in which nothing has been done yet: whoever begins the chapter has no other."""
    console = console_of(own_cloud)
    try:
        made = Tab(browser)
        made.page.goto(console.link())
        yield made, console
    finally:
        console.end()


class Screen:
    """A terminal in the page: what is typed there, and what it shows."""

    def __init__(self, page: Page) -> None:
        self._page, self._rows = page, page.locator(".xterm-rows")

    def shows(self, text: str) -> None:
        expect(self._rows).to_contain_text(text)

    def run(self, command: str, shown: str) -> None:
        """`shown` is what it writes, and is no part of the command itself."""
        assert shown not in command
        self._page.keyboard.type(f"{command}\n")
        self.shows(shown)


def test_the_chapter_is_walked_through_the_screens(own_cloud: RealCloud, own_tab: tuple[Tab, Console]) -> None:
    tab, console = own_tab
    page, ec2 = tab.page, own_cloud.ec2
    navigation, question = page.get_by_role("navigation"), page.get_by_role("dialog")

    def open_screen(name: str) -> None:
        navigation.get_by_role("link", name=name, exact=True).click()
        expect(navigation.get_by_role("link", name=name, exact=True)).to_have_attribute("aria-current", "page")

    # A key pair.
    open_screen("Key pairs")
    page.get_by_role("button", name="Create key pair").first.click()
    question.get_by_label("Name").fill("chapter")
    with page.expect_download() as download:
        question.get_by_role("button", name="Create").click()
    assert download.value.suggested_filename == "chapter.pem"
    assert "PRIVATE KEY" in Path(download.value.path()).read_text()
    expect(page.locator(".ag-row", has_text="chapter")).to_have_count(1)

    # VPC and more, with a NAT gateway.
    open_screen("VPCs")
    page.get_by_role("button", name="VPC and more").first.click()
    page.get_by_label("Name", exact=True).fill("chapter")
    page.get_by_label("NAT gateway", exact=True).select_option("one")
    expect(page.locator("[data-node=nat-a]")).to_be_visible()
    tab.picture("create-vpc")
    page.get_by_role("button", name="Create VPC").click()
    page.get_by_role("link", name="Open the VPC").click()
    expect(page.locator(".map-node", has_text="NAT gateway, available")).to_have_count(1)

    # A launch into its public subnet, with a group that lets SSH in.
    open_screen("Launch")
    page.get_by_label("Name", exact=True).fill("chapter-server")
    page.get_by_label("Key pair", exact=True).select_option("chapter")
    subnets = page.get_by_label("Subnet", exact=True)
    public = subnets.locator("option", has_text="chapter-public-a").get_attribute("value")
    subnets.select_option(public)
    page.get_by_role("button", name="New security group").click()
    question.get_by_label("Name", exact=True).fill("chapter-ssh")
    question.get_by_role("button", name="My address").click()
    expect(question.locator("code")).to_contain_text("aws ec2 authorize-security-group-ingress")
    expect(question.locator("code")).to_contain_text("/32")
    tab.picture("new-group")
    question.get_by_role("button", name="Create", exact=True).click()
    chosen = page.get_by_label("Security group", exact=True).locator("option:checked")
    expect(chosen).to_contain_text("chapter-ssh (sg-")
    page.get_by_label("Public IPv4 address").select_option("yes")
    command = page.locator(".summary code")
    expect(command).to_contain_text("--key-name chapter")
    expect(command).to_contain_text(str(public))
    tab.picture("launch")
    page.get_by_role("button", name="Launch", exact=True).click()
    expect(page).to_have_url(re.compile("/instances/i-"))
    instance = page.url.rpartition("/")[2]
    expect(page.locator(".state").first).to_have_text("running")

    # A shell: Python, hello, the CSV.
    page.get_by_role("button", name="Connect", exact=True).click()
    screen = Screen(page)
    screen.shows("ec2-user@")
    screen.run("python --version", "Python 3.")
    screen.run("""python -c 'print("hello from", 6 * 7)'""", "hello from 42")
    screen.run("printf 'name,amount\\npen,3\\nbook,12\\n' > orders.csv; wc -l orders.csv", "3 orders.csv")
    for number, line in enumerate(PROCESSOR.splitlines()):
        page.keyboard.type(f"echo {shell_word(line)} {'>>' if number else '>'} file_processor.py\n")
    screen.run("python file_processor.py orders.csv", "processed 2 rows")
    tab.picture("connect")
    screen.run("aws s3 cp totals.csv s3://of-the-chapter/results/ >said 2>&1; tail -n 1 said", "upload failed")

    # A bucket, and a role that may write to it.
    open_screen("S3")
    page.get_by_role("button", name="Create bucket").first.click()
    question.get_by_label("Name", exact=True).fill("of-the-chapter")
    question.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_text("Nothing is in this folder.")).to_be_visible()
    open_screen("Roles")
    page.get_by_role("button", name="Create role").first.click()
    question.get_by_label("Name", exact=True).fill("chapter-writes")
    question.get_by_role("button", name="Create", exact=True).click()
    page.get_by_role("button", name="Write a policy").click()
    page.get_by_label("Name", exact=True).fill("writes")
    page.get_by_label("Document (JSON)").fill(json.dumps(MAY_WRITE))
    page.get_by_role("button", name="Save").click()
    expect(page.locator("table.small")).to_contain_text("writes")
    page.get_by_role("tab", name="Instances").click()
    page.get_by_label("Instance", exact=True).select_option(instance)
    page.get_by_role("button", name="Attach to it").click()
    question.get_by_role("button", name="Attach", exact=True).click()
    expect(page.locator("table.small")).to_contain_text(instance)

    # The same command has the role's permissions now. Its shell is as it was left.
    page.get_by_role("link", name=instance).click()
    page.get_by_role("button", name="Connect", exact=True).click()
    screen.shows("processed 2 rows")
    again = "until aws s3 cp --only-show-errors totals.csv s3://of-the-chapter/results/ 2>errors; do sleep 0.5; done"
    screen.run(f"{again}; echo up''loaded", "uploaded")
    open_screen("S3")
    page.get_by_role("link", name="of-the-chapter", exact=True).click()
    page.get_by_role("link", name="results/").click()
    page.locator("tr", has_text="totals.csv").get_by_role("button", name="Preview").click()
    expect(question.locator("td").last).to_have_text("15")
    tab.picture("s3")
    page.keyboard.press("Escape")

    # The list, the map with its server, and the end.
    open_screen("VPCs")
    page.locator(".ag-row", has_text="chapter-vpc").get_by_role("link").click()
    box = page.get_by_role("link", name=re.compile("^chapter-server: running"))
    box.hover()
    expect(page.locator(".map-node.lit", has_text="chapter-igw")).to_have_count(1)
    tab.picture("vpc")
    box.click()
    expect(page).to_have_url(re.compile(f"/instances/{instance}$"))
    open_screen("Instances")
    row = page.locator(f".ag-row[row-id='{instance}']")
    expect(row.locator(".state")).to_have_text("running")
    tab.picture("instances")
    row.get_by_role("link", name=instance).click()
    page.get_by_role("button", name="Terminate").click()
    expect(question).to_contain_text("is deleted with it")
    tab.picture("terminate")
    question.get_by_role("button", name="Terminate", exact=True).click()
    expect(page.locator(".state").first).to_have_text("terminated")
    (left,) = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"]
    assert left["State"]["Name"] == "terminated"

    # What it was in goes as a whole, and is named before.
    open_screen("VPCs")
    page.locator(".ag-row", has_text="chapter-vpc").get_by_role("link").click()
    page.get_by_role("button", name="Delete VPC").click()
    for name in ("NAT gateway chapter-nat-a", "subnet chapter-private-b", "security group chapter-ssh"):
        expect(question).to_contain_text(name)
    expect(question).to_contain_text("stays yours, and costs")
    tab.picture("delete-vpc")
    question.get_by_role("button", name="Delete", exact=True).click()
    expect(page).to_have_url(re.compile("/vpcs$"))
    assert [each["IsDefault"] for each in ec2.describe_vpcs()["Vpcs"]] == [True]
    check_nothing_wrong(tab, console)


def shell_word(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"

"""The chapter on EC2, walked through the console's screens in its own order, by one person in one browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from support.browser import Tab
from support.real_cloud import RealCloud
from support.shown_console import Console, check_nothing_wrong, console_of

pytestmark = [pytest.mark.real, pytest.mark.nightly]

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

    def prompts(self, number: int) -> None:
        """There are so many: what is typed ahead of its prompt is shown twice."""
        expect(self._rows).to_contain_text(re.compile(rf"(?:ec2-user@[\s\S]*?){{{number}}}"))

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
        question.get_by_role("button", name="Create", exact=True).click()
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
    instance = page.url.rpartition("/")[2].partition("?")[0]
    expect(page.get_by_label("Progress").locator(".step-done")).to_have_count(3)
    tab.picture("coming-up")

    # A shell: Python, hello, the CSV.
    page.get_by_role("button", name="Connect", exact=True).click()
    screen = Screen(page)
    screen.shows("ec2-user@")
    screen.run("python --version", "Python 3.")
    screen.run("""python -c 'print("hello from", 6 * 7)'""", "hello from 42")
    screen.run("printf 'name,amount\\npen,3\\nbook,12\\n' > orders.csv; wc -l orders.csv", "3 orders.csv")
    for number, line in enumerate(PROCESSOR.splitlines()):
        page.keyboard.type(f"echo {shell_word(line)} {'>>' if number else '>'} file_processor.py\n")
        screen.prompts(5 + number)
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
    question.get_by_role("button", name="Delete", exact=True).click()
    expect(page).to_have_url(re.compile("/vpcs$"))
    assert [each["IsDefault"] for each in ec2.describe_vpcs()["Vpcs"]] == [True]
    check_nothing_wrong(tab, console)


def shell_word(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


READS = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}'
REPORT = """import csv, os, sys

rows = list(csv.DictReader(["name,amount", "pen,3", "book,12"]))
os.makedirs("out", exist_ok=True)
with open("out/total.csv", "w") as file:
    file.write(f"amount\\n{sum(int(row['amount']) for row in rows)}\\n")
print(f"{len(rows)} rows of {' '.join(sys.argv[1:]) or 'all months'}")
print("one row has no date", file=sys.stderr)
"""
SUMS = """import csv, sys, time

rows = list(csv.DictReader(open(sys.argv[1])))
print(sum(int(row["amount"]) for row in rows), flush=True)
if "may" in sys.argv[1]:
    for line in range(10_000):
        print(f"row {line}: looked at", flush=True)
        time.sleep(1)
"""


def test_what_the_chapter_does_not_have_is_walked_through(
    own_cloud: RealCloud, own_tab: tuple[Tab, Console], tmp_path: Path
) -> None:
    """Programs, prices, spot, scaling and roles: with the walk above, all that docs/console.md has pictures of."""
    tab, console = own_tab
    page, cloud = tab.page, own_cloud
    navigation, question = page.get_by_role("navigation"), page.get_by_role("dialog")

    def open_screen(name: str) -> None:
        navigation.get_by_role("link", name=name, exact=True).click()
        expect(navigation.get_by_role("link", name=name, exact=True)).to_have_attribute("aria-current", "page")

    # A job of a script, its log, its steps, and once more with changes.
    (tmp_path / "report.py").write_text(REPORT)
    open_screen("Jobs")
    page.get_by_role("button", name="New job").click()
    page.get_by_label("Choose a script").set_input_files(tmp_path / "report.py")
    page.get_by_label("Arguments").fill("May")
    page.get_by_label("Results").fill("out")
    page.get_by_label("Job name").fill("report")
    expect(page.locator(".summary code")).to_contain_text("--name report --out out report.py May")
    tab.picture("new-job")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".xterm-rows")).to_contain_text("2 rows of May")
    expect(page.locator(".state").first).to_have_text("succeeded")
    tab.picture("job")
    page.get_by_role("tab", name="Steps").click()
    expect(page.locator(".timeline li").last).to_contain_text("Program ended: succeeded")
    tab.picture("steps")
    page.get_by_role("link", name="Run again").click()
    page.get_by_label("Arguments").fill("June")
    page.get_by_label("Job name").fill("report-june")
    expect(page.locator(".summary code")).to_contain_text("--name report-june")
    tab.picture("run-again")

    # A map, of which one input fails and one takes long.
    for name, rows in {"april": "pen,3", "may": "book,12", "june": "pen,none", "july": "ink,4"}.items():
        (tmp_path / f"{name}.csv").write_text(f"name,amount\n{rows}\n")
    (tmp_path / "sum.py").write_text(SUMS)
    files = [f"{each}.csv" for each in ("april", "may", "june", "july")]
    cloud.skylift("map", "-d", "--name", "sums", "sum.py", *files, cwd=tmp_path)
    tab.go(f"http://{console.host}/jobs/sums")
    expect(page.locator(".count")).to_contain_text("3 of 4 done, 1 failed, 1 running")
    expect(page.locator(".complaints")).to_contain_text("ValueError")
    tab.picture("map")
    page.get_by_role("link", name="1", exact=True).click()
    expect(page.locator(".xterm-rows")).to_contain_text("row 2: looked at")
    tab.picture("map-input")
    cloud.skylift("cancel", "sums")

    # A role, and what it may do.
    open_screen("Roles")
    page.get_by_role("button", name="Create role").first.click()
    question.get_by_label("Name", exact=True).fill("reports")
    question.get_by_role("button", name="Create", exact=True).click()
    page.get_by_role("button", name="Write a policy").click()
    page.get_by_label("Name", exact=True).fill("reads")
    page.get_by_label("Document (JSON)").fill(READS)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("table.small")).to_contain_text("reads")
    page.get_by_role("tab", name="Simulator").click()
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("tr", has_text="s3:PutObject")).to_contain_text("no policy allows it")
    expect(page.locator("#troubles .trouble")).to_have_count(0)
    expect(page.locator(".notice")).to_have_count(0)
    tab.picture("role")

    # A group of servers, one more by hand.
    subnets = cloud.ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [cloud.vpc]}])["Subnets"]
    data = {"ImageId": cloud.image, "InstanceType": "t3.micro"}
    cloud.ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData=data)
    cloud.client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName="web",
        LaunchTemplate={"LaunchTemplateName": "web"},
        MinSize=0,
        MaxSize=3,
        VPCZoneIdentifier=subnets[0]["SubnetId"],
    )
    open_screen("Auto Scaling")
    page.get_by_role("link", name="web", exact=True).click()
    page.get_by_role("button", name="Change capacity").click()
    question.get_by_label("Desired", exact=True).fill("1")
    question.get_by_role("button", name="Change", exact=True).click()
    expect(page.locator(".timeline li").first).to_contain_text("Successful")
    tab.picture("scaling")

    # A spot server that is interrupted.
    spot = cloud.start(InstanceMarketOptions={"MarketType": "spot"})
    spot.await_state("running")
    open_screen("Spot")
    page.locator(".ag-row", has_text=spot.id).locator("input[type=checkbox]").click()
    page.get_by_role("button", name="Interrupt").click()
    question.get_by_label("Seconds of notice").fill("0")
    question.get_by_role("button", name="Interrupt", exact=True).click()
    happened = page.get_by_role("list", name="What happens")
    for words in ("the instance is terminated", "the request is closed"):
        expect(happened).to_contain_text(words)
    tab.picture("spot")

    # Types by need, a type's prices, and what has been spent.
    open_screen("Launch")
    page.get_by_role("button", name="Choose by need").click()
    question.get_by_label("GiB, at least").fill("2")
    expect(question.get_by_role("button", name="Choose t3.nano")).to_have_count(0)
    tab.picture("types")
    page.keyboard.press("Escape")
    tab.go(f"http://{console.host}/prices/t3.micro")
    page.get_by_label("Hours a month").fill("600")
    expect(page.locator("tr", has_text="reserved, 1 year")).to_contain_text("h a month")
    expect(page.locator(".advice")).to_contain_text("600 h a month")
    expect(page.get_by_role("img", name=re.compile("^A month by hours of use")).locator("svg")).to_be_visible()
    tab.picture("prices")
    open_screen("Cost")
    expect(page.get_by_role("link", name="report", exact=True)).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^USD a day"))).to_be_visible()
    tab.picture("cost")
    check_nothing_wrong(tab, console)

"""What the console makes for a user beside instances: jobs, files, groups and spot servers. The cloud is real."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect
from support.browser import Tab
from support.real_cloud import RealCloud
from support.real_server import until
from support.running_job import jobs, roles
from support.shown_console import HOSTILE, Console

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("all_well")]

JOB = """
import os, sys
os.makedirs("out")
open("out/answer.txt", "w").write("42")
print("größer <b>than</b>", *sys.argv[1:])
"""

DROP = """(place, [name, text]) => {
    const data = new DataTransfer();
    data.items.add(new File([text], name));
    place.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


def test_a_dropped_script_is_a_job_whose_result_is_downloaded(tab: Tab, cloud: RealCloud, tmp_path: Path) -> None:
    page = tab.page
    page.get_by_role("link", name="Jobs").click()
    page.get_by_role("button", name="New job").click()
    page.locator(".script-drop").evaluate(DROP, ["<i>.py", "#"])
    expect(page.locator(".summary")).to_contain_text("The file's name is like job.py")
    (tmp_path / "dropped.py").write_text(JOB)
    page.get_by_label("Choose a script").set_input_files(tmp_path / "dropped.py")
    page.get_by_label("Results").fill("out")
    page.get_by_label("Job name").fill("of-the-page")
    expect(page.locator(".summary code")).to_have_text("skylift run -d --name of-the-page --out out dropped.py")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("heading", name="of-the-page")).to_be_visible()
    page.get_by_role("link", name="Jobs").click()
    row = page.locator(".ag-row[row-id='of-the-page']")
    expect(row.locator(".state")).to_have_text("succeeded")
    row.get_by_role("link", name="of-the-page").click()
    expect(page.locator(".xterm-rows")).to_contain_text("größer <b>than</b>")
    page.get_by_role("tab", name="Steps").click()
    expect(page.locator(".timeline li").last).to_contain_text("Program ended: succeeded")
    page.get_by_role("tab", name="Results").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "answer.txt"
    assert Path(download.value.path()).read_text() == "42"
    page.get_by_role("link", name="Run again").click()
    command = page.locator(".summary code")
    expect(command).to_have_text("skylift run -d --out out --type t3.small --max-time 3600s dropped.py")
    page.get_by_label("Arguments").fill("once 'more'")
    page.get_by_label("Job name").fill("of-the-page-again")
    expect(command).to_contain_text("--name of-the-page-again --out out")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("heading", name="of-the-page-again", exact=True)).to_be_visible()
    expect(page.locator(".xterm-rows")).to_contain_text("than</b> once more")
    for name in ("of-the-page", "of-the-page-again"):
        until(lambda name=name: name not in {each["name"] for each in jobs(cloud)}, "the job's server to be gone")
        cloud.skylift("rm", name)
        assert f"skylift-{name}" not in roles(cloud)
    # Its log has ended; whoever leaves it is on the next page.
    page.get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()


def test_files_of_s3_are_dropped_in_looked_at_and_fetched(tab: Tab, console: Console, cloud: RealCloud) -> None:
    page, s3 = tab.page, cloud.client("s3")
    s3.create_bucket(Bucket="of-the-page")
    s3.put_object(Bucket="of-the-page", Key=f"in/{HOSTILE}.html", Body=b"<script>window.hacked = 1</script>")
    page.get_by_role("link", name="S3").click()
    # The page before it may have jobs of that name.
    expect(page.get_by_role("heading", name="S3 buckets")).to_be_visible()
    page.get_by_role("link", name="of-the-page", exact=True).click()
    page.get_by_role("link", name="in/").click()
    files = page.locator("table.small")
    expect(files).to_contain_text(HOSTILE)
    page.locator(".drop").evaluate(DROP, ["dropped.csv", "date,rain\n2012-01-01,<b>0.5</b>\n"])
    expect(files).to_contain_text("dropped.csv")
    assert s3.get_object(Bucket="of-the-page", Key="in/dropped.csv")["Body"].read().startswith(b"date,rain")
    # Nobody needs a mouse for it.
    page.get_by_label("Choose files to upload").set_input_files(
        [{"name": f"chosen-{number}.txt", "mimeType": "text/plain", "buffer": b"chosen"} for number in (1, 2)]
    )
    expect(files).to_contain_text("chosen-2.txt")
    assert s3.get_object(Bucket="of-the-page", Key="in/chosen-1.txt")["Body"].read() == b"chosen"
    row = files.locator("tr", has_text="dropped.csv")
    row.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("dialog").locator("td").last).to_have_text("<b>0.5</b>")
    page.keyboard.press("Escape")
    with page.expect_download() as download:
        files.locator("tr", has_text=".html").get_by_role("link", name="Download").click()
    assert b"hacked" in Path(download.value.path()).read_bytes()
    answer = page.context.request.get(f"http://{console.host}/object?bucket=of-the-page&key=in/{HOSTILE}.html")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(files).not_to_contain_text("dropped.csv")
    page.get_by_role("button", name="Delete bucket").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("(BucketNotEmpty)")
    page.keyboard.press("Escape")


GROUP = "50% + <b>more</b>"


def test_a_group_is_grown_by_hand_and_its_activity_seen(tab: Tab, cloud: RealCloud) -> None:
    page, question, scaling = tab.page, tab.page.get_by_role("dialog"), cloud.client("autoscaling")
    data = {"ImageId": cloud.image, "InstanceType": "t3.micro"}
    (subnet, *_) = cloud.ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [cloud.vpc]}])["Subnets"]
    cloud.ec2.create_launch_template(LaunchTemplateName="of-the-page", LaunchTemplateData=data)
    scaling.create_auto_scaling_group(
        AutoScalingGroupName=GROUP,
        LaunchTemplate={"LaunchTemplateName": "of-the-page"},
        MinSize=0,
        MaxSize=2,
        VPCZoneIdentifier=subnet["SubnetId"],
    )
    page.get_by_role("link", name="Auto Scaling").click()
    page.get_by_role("link", name=GROUP).click()
    expect(page.get_by_role("heading", name=GROUP)).to_be_visible()
    page.reload()
    page.get_by_role("tab", name="Policies").click()
    page.get_by_role("button", name="Add policy").first.click()
    question.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("table.small")).to_contain_text("keeps ASGAverageCPUUtilization at 60")
    expect(page.locator(".alarm").first).to_contain_text("CPUUtilization > 60")
    page.get_by_role("tab", name="Activity").click()
    page.get_by_role("button", name="Change capacity").click()
    question.get_by_label("Desired", exact=True).fill("3")
    expect(question).to_contain_text("3 is not between 0 and 2.")
    question.get_by_label("Desired", exact=True).fill("1")
    expect(question.locator("code")).to_contain_text("aws autoscaling set-desired-capacity")
    question.get_by_role("button", name="Change", exact=True).click()
    expect(page.locator(".timeline li").first).to_contain_text("Launching a new EC2 instance")
    expect(page.locator(".timeline li").first).to_contain_text("Successful")
    page.get_by_role("link", name="Show it").first.click()
    expect(page).to_have_url(re.compile("/instances/i-"))
    page.go_back()
    page.get_by_role("button", name="Delete group").click()
    expect(question).to_contain_text("is terminated with it.")
    question.get_by_role("button", name="Delete", exact=True).click()
    expect(page).to_have_url(re.compile("/scaling$"))
    assert scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"] == []
    cloud.ec2.delete_launch_template(LaunchTemplateName="of-the-page")


def test_a_spot_server_is_interrupted_and_its_consequences_seen(tab: Tab, cloud: RealCloud) -> None:
    page, question = tab.page, tab.page.get_by_role("dialog")
    spot = cloud.start(InstanceMarketOptions={"MarketType": "spot"})
    page.get_by_role("link", name="Spot", exact=True).click()
    row = page.locator(".ag-row", has_text=spot.id)
    expect(row).to_contain_text("fulfilled")
    expect(row).to_contain_text("running")
    row.locator("input[type=checkbox]").click()
    page.get_by_role("button", name="Interrupt").click()
    question.get_by_label("Seconds of notice").fill("two")
    expect(question).to_contain_text("'two' is not a number of seconds.")
    question.get_by_label("Seconds of notice").fill("0")
    expect(question.locator("code")).to_have_text(f"skylift cloud interrupt {spot.id} --in 0s")
    question.get_by_role("button", name="Interrupt", exact=True).click()
    happened = page.get_by_role("list", name="What happens")
    expect(happened).to_contain_text("status instance-terminated-no-capacity")
    expect(happened).to_contain_text("the instance is terminated")
    assert spot.state == "terminated"

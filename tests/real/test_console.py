"""The console in a browser, with a real cloud behind it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import Tab, another
from playwright.sync_api import Browser, expect
from real_cloud import RealCloud
from real_server import Server, until
from running_job import jobs, roles
from shown_console import HOSTILE, Console, check_nothing_wrong

from skylift.console.entry import COOKIE

pytestmark = pytest.mark.real

TAGS = {"Name": HOSTILE, ":x": "window.hacked = 1", "team": "c4t5"}

JOB = """
import os, sys
os.makedirs("out")
open("out/answer.txt", "w").write("42")
print("größer <b>than</b>", *sys.argv[1:])
"""


@pytest.fixture(scope="module")
def server(cloud: RealCloud) -> Server:
    """Not waited for: the console shows how it comes up."""
    tags = [{"Key": key, "Value": value} for key, value in TAGS.items()]
    return cloud.start(TagSpecifications=[{"ResourceType": "instance", "Tags": tags}])


@pytest.fixture(autouse=True)
def all_well(tab: Tab, console: Console) -> Iterator[None]:
    """After each test."""
    yield
    check_nothing_wrong(tab, console)


def test_instances_are_listed_stopped_and_looked_at(tab: Tab, cloud: RealCloud, server: Server) -> None:
    page = tab.page
    row = page.locator(f".ag-row[row-id='{server.id}']")
    expect(row.locator(".state")).to_have_text("running")
    expect(row).to_contain_text(HOSTILE)
    page.get_by_label("Filter", exact=True).fill("c4t5")
    expect(page.locator(".ag-center-cols-container .ag-row")).to_have_count(1)
    row.locator("input[type=checkbox]").click()
    page.get_by_role("button", name="Stop", exact=True).click()
    question = page.get_by_role("dialog")
    expect(question).to_contain_text(server.id)
    expect(question.locator("code")).to_have_text(f"aws ec2 stop-instances --instance-ids {server.id}")
    question.get_by_role("button", name="Stop", exact=True).click()
    expect(row.locator(".state")).to_have_text("stopped")
    assert server.state == "stopped"
    page.keyboard.press("Control+k")
    page.keyboard.type(server.id[:12])
    expect(page.locator(".hit").first).to_contain_text(server.id)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/instances/{server.id}$"))
    for name, shown in {"Details": server.id, "Tags": TAGS[":x"], "Storage": "deleted with the instance"}.items():
        page.get_by_role("tab", name=name).click()
        expect(page.get_by_role("tabpanel")).to_contain_text(shown)
    # What a bookmark says is found again, with its tab; Back leads to the page before, and forward to the tab.
    storage = page.get_by_role("tab", name="Storage", selected=True)
    expect(page).to_have_url(re.compile(f"/instances/{server.id}\\?tab=storage$"))
    page.reload()
    expect(storage).to_have_count(1)
    expect(page.get_by_role("tabpanel")).to_contain_text("deleted with the instance")
    page.go_back()
    expect(row.locator(".state")).to_have_text("stopped")
    page.go_forward()
    expect(storage).to_have_count(1)
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Start", exact=True).click()
    expect(page.locator(".state").first).to_have_text("running")


def test_a_key_is_made_and_an_instance_launched_with_it(tab: Tab, cloud: RealCloud) -> None:
    page, group = tab.page, cloud.ssh_only
    page.get_by_role("link", name="Key pairs").click()
    page.get_by_role("button", name="Create key pair").first.click()
    question = page.get_by_role("dialog")
    question.get_by_label("Name").fill("of the page")
    with page.expect_download() as download:
        question.get_by_role("button", name="Create", exact=True).click()
    assert download.value.suggested_filename == "of_the_page.pem"
    assert "PRIVATE KEY" in Path(download.value.path()).read_text()
    page.get_by_role("link", name="Launch").click()
    page.get_by_label("Name", exact=True).fill("from the page")
    page.get_by_label("Type", exact=True).fill("t3.nothing")
    expect(page.get_by_text("There is no type 't3.nothing'.")).to_be_visible()
    page.get_by_role("button", name="Choose by need").click()
    question.get_by_label("GiB, at least").fill("2")
    expect(question.get_by_role("button", name="Choose t3.nano")).to_have_count(0)
    question.get_by_role("button", name="Choose t3.small").click()
    page.get_by_label("Key pair", exact=True).select_option("of the page")
    page.get_by_label("Security group", exact=True).select_option(group)
    expect(page.locator(".summary code")).to_contain_text("--instance-type t3.small --count 1 --key-name 'of the page'")
    expect(page.get_by_label("Type", exact=True)).to_have_value("t3.small")
    page.get_by_role("button", name="Launch", exact=True).click()
    expect(page).to_have_url(re.compile("/instances/i-"))
    expect(page.locator(".state").first).to_have_text("running")
    expect(page.get_by_label("Progress").locator(".step-done")).to_have_text(
        ["It is launched", "It runs", "SSH answers"]
    )
    expect(page).to_have_url(re.compile("/instances/i-[0-9a-f]+$"))
    page.get_by_role("link", name="Instances").click()
    page.get_by_label("Filter", exact=True).fill("from the page")
    expect(page.locator(".ag-center-cols-container .ag-row")).to_have_count(1)
    page.locator(".ag-row").get_by_role("link", name=re.compile("^i-")).click()
    page.get_by_role("button", name="Terminate").click()
    expect(question).to_contain_text("is deleted with it")
    question.get_by_role("button", name="Terminate", exact=True).click()
    expect(page.locator(".state").first).to_have_text("terminated")


def test_each_row_is_dark_in_the_dark(tab: Tab, console: Console) -> None:
    page = tab.page
    page.goto(f"http://{console.host}/instances")
    page.emulate_media(color_scheme="dark")
    odd = page.locator(".ag-center-cols-container .ag-row-odd").first
    expect(odd).not_to_have_css("background-color", "rgb(255, 255, 255)")
    page.emulate_media(color_scheme="light")


def test_errors_that_stay_are_told_once_and_fit_on_the_screen(tab: Tab, console: Console) -> None:
    page = tab.page
    page.goto(f"http://{console.host}/instances")
    page.evaluate("for (let at = 0; at < 60; at++) skyliftTellTrouble(`Nothing answers ${at % 30}.`, 'Try again.')")
    troubles = page.locator("#troubles .trouble")
    expect(troubles).to_have_count(30)
    expect(troubles.last).to_be_in_viewport()
    # The first one can be reached, too.
    troubles.first.get_by_role("button", name="Close").click()
    expect(troubles).to_have_count(29)
    page.locator("#troubles").evaluate("(troubles) => troubles.replaceChildren()")


def test_an_address_that_leads_nowhere_leads_on(tab: Tab, console: Console) -> None:
    # The browser tells of it when it likes, before the page or after it.
    with tab.page.expect_event("console", lambda said: said.type == "error") as missing:
        tab.page.goto(f"http://{console.host}/nowhere")
    expect(tab.page.get_by_role("heading", name="There is no such page")).to_be_visible()
    assert "404" in missing.value.text
    tab.wrong.remove(missing.value.text)


def test_a_vpc_is_a_map(tab: Tab, cloud: RealCloud) -> None:
    page = tab.page
    page.get_by_role("link", name="VPCs").click()
    page.get_by_role("link", name=cloud.vpc).click()
    expect(page).to_have_title(re.compile(f"{cloud.vpc} · skylift$"))
    way_out = page.locator(".map-node", has_text="internet gateway")
    way_out.hover()
    expect(page.locator(f"[data-node='{cloud.vpc}']")).to_have_class(re.compile("lit"))
    # The search leads to a subnet in its tab, which the address says; Back leads to the map.
    found = cloud.ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [cloud.vpc]}])["Subnets"]
    page.keyboard.press("Control+k")
    page.keyboard.type(found[0]["SubnetId"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("tab", name="Subnets", selected=True)).to_have_count(1)
    expect(page).to_have_url(re.compile(f"/vpcs/{cloud.vpc}\\?tab=subnets$"))
    page.go_back()
    expect(page.get_by_role("tab", name="Map", selected=True)).to_have_count(1)
    expect(way_out).to_be_visible()


NAT_ADDRESS = [{"Name": "tag:Name", "Values": ["walk-nat"]}]


@pytest.fixture
def made_vpc(cloud: RealCloud) -> Iterator[str]:
    """The name of a VPC that a test makes. It is taken away with what is in it."""
    yield "walk-vpc"
    ec2 = cloud.ec2
    for vpc in ec2.describe_vpcs(Filters=[{"Name": "tag:Name", "Values": ["walk-vpc"]}])["Vpcs"]:
        within = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
        for nat in ec2.describe_nat_gateways(Filter=within)["NatGateways"]:
            ec2.delete_nat_gateway(NatGatewayId=nat["NatGatewayId"])
            ec2.get_waiter("nat_gateway_deleted").wait(NatGatewayIds=[nat["NatGatewayId"]], WaiterConfig={"Delay": 1})
        endpoints = [each["VpcEndpointId"] for each in ec2.describe_vpc_endpoints(Filters=within)["VpcEndpoints"]]
        ec2.delete_vpc_endpoints(VpcEndpointIds=endpoints)
        for subnet in ec2.describe_subnets(Filters=within)["Subnets"]:
            ec2.delete_subnet(SubnetId=subnet["SubnetId"])
        for table in ec2.describe_route_tables(Filters=within)["RouteTables"]:
            if not table["Associations"]:
                ec2.delete_route_table(RouteTableId=table["RouteTableId"])
        attached = [{"Name": "attachment.vpc-id", "Values": [vpc["VpcId"]]}]
        for gateway in ec2.describe_internet_gateways(Filters=attached)["InternetGateways"]:
            ec2.detach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"], VpcId=vpc["VpcId"])
            ec2.delete_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"])
        ec2.delete_vpc(VpcId=vpc["VpcId"])
    # It outlives its NAT gateway.
    for address in ec2.describe_addresses(Filters=NAT_ADDRESS)["Addresses"]:
        ec2.release_address(AllocationId=address["AllocationId"])


def test_a_vpc_and_more_is_drawn_made_and_given_a_route(tab: Tab, cloud: RealCloud, made_vpc: str) -> None:
    page = tab.page
    page.get_by_role("link", name="VPCs", exact=True).click()
    page.get_by_role("button", name="VPC and more").first.click()
    page.get_by_label("Name", exact=True).fill("walk")
    expect(page.locator("[data-node=private-b]")).to_contain_text("walk-private-b")
    page.get_by_label("IPv4 range").fill("10.9.0.0/8")
    expect(page.get_by_text("The range is like 10.0.0.0/16.")).to_be_visible()
    page.get_by_label("IPv4 range").fill("10.9.0.0/16")
    page.get_by_label("NAT gateway", exact=True).select_option("one")
    expect(page.locator("[data-node=nat-a]")).to_be_visible()
    page.get_by_label("NAT gateway", exact=True).select_option("")
    expect(page.locator("[data-node=nat-a]")).to_have_count(0)
    page.get_by_role("button", name="Create VPC").click()
    page.get_by_role("link", name="Open the VPC").click()
    expect(page.locator(".map-node", has_text="walk-s3")).to_contain_text("endpoint")
    expect(page.get_by_role("heading", level=1)).to_contain_text("walk-vpc · vpc-")
    expect(page).to_have_title(re.compile("^walk-vpc · vpc-.* · skylift$"))
    page.get_by_role("tab", name="Route tables").click()
    table = page.locator(".part", has=page.get_by_role("heading", name="walk-private"))
    table.get_by_label("Destination").fill("192.0.2.0/24")
    expect(table.get_by_label("Target").locator("option:checked")).to_contain_text("walk-igw")
    table.get_by_role("button", name="Add route").click()
    expect(table).to_contain_text("192.0.2.0/24")
    table.get_by_role("button", name="Remove the route to 192.0.2.0/24").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove", exact=True).click()
    expect(table).not_to_contain_text("192.0.2.0/24")
    # The rows that are left have no buttons: the keyboard stands at the table's own.
    expect(table.get_by_role("button", name="Tags of walk-private")).to_be_focused()
    # A NAT gateway by itself, with an Elastic IP of its own: it is seen to come, routes lead to it, and it goes.
    question = page.get_by_role("dialog")
    page.get_by_role("tab", name="Gateways").click()
    page.get_by_role("button", name="Create NAT gateway").click()
    expect(question.get_by_label("Public subnet").locator("option:checked")).to_contain_text("walk-public-a")
    expect(question.get_by_label("Public subnet").locator("option").last).to_contain_text("no way to the internet")
    question.get_by_label("Name", exact=True).fill("walk-nat")
    expect(question.locator("code")).to_contain_text("address=$(aws ec2 allocate-address")
    question.get_by_role("button", name="Create", exact=True).click()
    row = page.get_by_role("row", name=re.compile("walk-nat"))
    expect(row.locator(".state")).to_have_text("available")
    nat = row.get_by_role("cell").first.inner_text()
    page.get_by_role("tab", name="Route tables").click()
    table.get_by_label("Destination").fill("0.0.0.0/0")
    table.get_by_label("Target").select_option(nat)
    table.get_by_role("button", name="Add route").click()
    expect(table.get_by_role("row", name=f"0.0.0.0/0 {nat}")).to_contain_text("active")
    page.get_by_role("tab", name="Gateways").click()
    row.get_by_role("button", name=f"Delete {nat}").click()
    expect(question).to_contain_text("The route 0.0.0.0/0 of walk-private leads nowhere then.")
    expect(question).to_contain_text("stays yours, and costs")
    question.get_by_role("button", name="Delete", exact=True).click()
    expect(row).to_have_count(0)
    page.get_by_role("tab", name="Route tables").click()
    expect(table.get_by_role("row", name=f"0.0.0.0/0 {nat}")).to_contain_text("blackhole")
    assert len(cloud.ec2.describe_addresses(Filters=NAT_ADDRESS)["Addresses"]) == 1
    page.get_by_role("tab", name="Network ACLs").click()
    # What is typed while the table is made anew stays, and so does the keyboard.
    page.get_by_role("button", name="Edit rule 100 in").click()
    edited, number = page.get_by_role("group", name="Edit rule 100 in"), page.get_by_label("Number", exact=True)
    edited.get_by_label("Decides").select_option("deny")
    number.fill("9")
    edited.get_by_role("button", name="Save").evaluate("(button) => button.click()")
    page.keyboard.type("0")
    expect(page.get_by_role("row", name=re.compile("^100 in"))).to_contain_text("deny")
    expect(number).to_have_value("90")
    expect(number).to_be_focused()
    page.get_by_label("Range", exact=True).fill("203.0.113.0/24")
    page.get_by_role("combobox", name="Decides").select_option("deny")
    page.get_by_role("button", name="Add rule").click()
    expect(page.get_by_role("row", name=re.compile("^90 in"))).to_contain_text("deny")
    (vpc,) = cloud.ec2.describe_vpcs(Filters=[{"Name": "tag:Name", "Values": [made_vpc]}])["Vpcs"]
    assert vpc["CidrBlock"] == "10.9.0.0/16"


@pytest.fixture
def keyboard_group(cloud: RealCloud) -> Iterator[str]:
    group = cloud.security_group("keyboard", cloud.vpc, (22, "192.0.2.0/24"), (80, "192.0.2.0/24"))
    yield group
    cloud.ec2.delete_security_group(GroupId=group)


def test_rules_and_tags_are_edited_where_they_stand_by_the_keyboard_alone(
    tab: Tab, console: Console, cloud: RealCloud, keyboard_group: str
) -> None:
    page, ec2, question = tab.page, cloud.ec2, tab.page.get_by_role("dialog")
    page.goto(f"http://{console.host}/security-groups/{keyboard_group}")
    rules = page.get_by_role("table", name="Rules")
    edit = rules.get_by_role("button", name="Edit in tcp 22 192.0.2.0/24")
    edit.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Protocol").first).to_be_focused()
    # Left as it was, by Escape: the keyboard stands where it stood.
    page.keyboard.press("Escape")
    expect(edit).to_be_focused()
    page.keyboard.press("Enter")
    ports = rules.get_by_label("Ports")
    ports.fill("no port")
    expect(rules.get_by_role("status")).to_contain_text("'no port' is not a port")
    ports.fill("2222")
    rules.get_by_label("Description", exact=True).fill(HOSTILE)
    page.keyboard.press("Enter")
    # In AWS's words: a description has no such characters.
    expect(rules.get_by_role("alert")).to_be_visible()
    rules.get_by_label("Description", exact=True).fill("of the office")
    expect(rules.locator("code")).to_contain_text("aws ec2 modify-security-group-rules")
    page.keyboard.press("Enter")
    expect(rules.get_by_role("button", name="Edit in tcp 2222 192.0.2.0/24")).to_be_focused()
    expect(rules.get_by_role("row", name="in tcp 2222 192.0.2.0/24")).to_contain_text("of the office")
    shown = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [keyboard_group]}])
    (changed,) = [each for each in shown["SecurityGroupRules"] if each.get("Description") == "of the office"]
    assert (changed["FromPort"], changed["CidrIpv4"]) == (2222, "192.0.2.0/24")
    # What is typed in one row stays while another is saved.
    for each in ("80", "2222"):
        rules.get_by_role("button", name=f"Edit in tcp {each} 192.0.2.0/24").click()
    half, whole = (page.get_by_role("group", name=f"Edit in tcp {each} 192.0.2.0/24") for each in ("80", "2222"))
    half.get_by_label("Protocol").select_option("udp")
    half.get_by_label("Ports").fill("8080")
    whole.get_by_label("Description", exact=True).fill("of two offices")
    whole.get_by_role("button", name="Save").click()
    expect(whole).to_have_count(0)
    expect(rules.get_by_role("row", name="in tcp 2222 192.0.2.0/24")).to_contain_text("of two offices")
    expect(half.get_by_label("Protocol")).to_have_value("udp")
    expect(half.get_by_label("Ports")).to_have_value("8080")
    expect(rules.locator("code")).to_contain_text("8080")
    half.get_by_role("button", name="Cancel").click()
    expect(rules.get_by_role("button", name="Edit in tcp 80 192.0.2.0/24")).to_be_focused()
    # A rule that has gone hands the keyboard to the one that has come to its place.
    rules.get_by_role("button", name="Remove in tcp 80 192.0.2.0/24").focus()
    page.keyboard.press("Enter")
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(rules).not_to_contain_text("tcp 80")
    expect(rules.get_by_role("button", name="Remove in tcp 2222 192.0.2.0/24")).to_be_focused()
    page.get_by_role("button", name="Tags", exact=True).focus()
    page.keyboard.press("Enter")
    expect(question.get_by_label("Key", exact=True)).to_be_focused()
    page.keyboard.type("<b>team</b>")
    page.keyboard.press("Tab")
    page.keyboard.type(HOSTILE)
    expect(question.locator("code")).to_contain_text("aws ec2 create-tags --resources sg-")
    page.keyboard.press("Enter")
    expect(question).to_have_count(0)
    expect(page.get_by_role("button", name="Tags", exact=True)).to_be_focused()
    (group,) = ec2.describe_security_groups(GroupIds=[keyboard_group])["SecurityGroups"]
    assert group["Tags"] == [{"Key": "<b>team</b>", "Value": HOSTILE}]


def test_an_address_is_allocated_given_and_taken(tab: Tab, server: Server) -> None:
    page = tab.page
    server.await_state("running")
    page.get_by_role("link", name="Elastic IPs").click()
    page.get_by_role("button", name="Allocate").first.click()
    question = page.get_by_role("dialog")
    question.get_by_label("Name").fill("of the walk")
    question.get_by_role("button", name="Allocate", exact=True).click()
    row = page.locator(".ag-row", has_text="of the walk")
    row.locator("input[type=checkbox]").click()
    page.get_by_role("button", name="Associate", exact=True).click()
    question.get_by_label("Instance", exact=True).select_option(server.id)
    question.get_by_role("button", name="Associate", exact=True).click()
    expect(row).to_contain_text(server.id)
    # It is still selected, and what can be done with it is another thing now.
    expect(page.get_by_role("button", name="Associate", exact=True)).to_be_disabled()
    page.get_by_role("button", name="Disassociate", exact=True).click()
    question.get_by_role("button", name="Disassociate", exact=True).click()
    expect(row).not_to_contain_text(server.id)
    page.get_by_role("button", name="Release", exact=True).click()
    question.get_by_role("button", name="Release", exact=True).click()
    expect(row).to_have_count(0)


def test_a_shell_is_in_the_page_and_is_found_again(tab: Tab, console: Console, server: Server) -> None:
    page = tab.page
    server.await_state("running")
    server.await_ssh()
    page.goto(f"http://{console.host}/connect/{server.id}")
    screen = page.locator(".xterm-rows")
    expect(screen).to_contain_text("ec2-user@")
    page.keyboard.type("echo $((6 * 7))-$LANG; kept=yes\n")
    expect(screen).to_contain_text("42-C.UTF-8")
    # What is selected is copied by Ctrl-C, and is pasted by the browser's own key.
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("getElement(document.querySelector('.terminal').id.slice(1)).terminal.selectAll()")
    page.keyboard.press("Control+c")
    page.wait_for_function("async () => (await navigator.clipboard.readText()).includes('42-C.UTF-8')")
    page.evaluate("navigator.clipboard.writeText('echo pasted-$((3 * 3))')")
    page.keyboard.press("Control+Shift+V")
    expect(screen).to_contain_text("echo pasted-")
    page.keyboard.press("Enter")
    expect(screen).to_contain_text("pasted-9")
    # The server hears of another size of the page.
    page.keyboard.type(
        'was=$(stty size); echo was-$((2 + 3)); until [ "$(stty size)" != "$was" ]; do sleep 0.1; done\n'
    )
    expect(screen).to_contain_text("was-5")
    page.set_viewport_size({"width": 1100, "height": 600})
    page.keyboard.type("echo other-$((2 + 3))\n")
    expect(screen).to_contain_text("other-5")
    # Tab is the shell's key, and another one leads out.
    page.keyboard.type("echo $((40 + 3)) >/tmp/tab-is-mine\ncat /tmp/tab-is")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(screen).to_contain_text("43")
    page.keyboard.press("Control+Shift+K")
    expect(page.get_by_role("searchbox", name="Search by id")).to_be_focused()
    page.get_by_role("button", name="Full screen").click()
    page.wait_for_function("document.fullscreenElement?.matches('.terminal')")
    page.evaluate("document.exitFullscreen()")
    page.reload()
    expect(screen).to_contain_text("42-C.UTF-8")
    page.keyboard.type("echo still-$kept\n")
    expect(screen).to_contain_text("still-yes")
    page.get_by_role("button", name="Close shell").click()
    expect(page.get_by_text("There is no shell.")).to_be_visible()


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


READS = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}'


def test_a_role_is_made_asked_about_and_given_to_an_instance(tab: Tab, cloud: RealCloud, server: Server) -> None:
    page, question = tab.page, tab.page.get_by_role("dialog")
    page.get_by_role("link", name="Roles", exact=True).click()
    page.get_by_role("button", name="Create role").first.click()
    question.get_by_label("Name", exact=True).fill("page+reads")
    question.get_by_role("button", name="Create", exact=True).click()
    page.get_by_role("button", name="Write a policy").click()
    page.get_by_label("Name", exact=True).fill("reads")
    document = page.get_by_label("Document (JSON)")
    document.fill(READS.replace("s3:Get*", HOSTILE))
    expect(page.locator(".complaints")).to_contain_text("is not of the form s3:GetObject")
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    document.fill(READS)
    expect(page.locator("code").first).to_contain_text("aws iam put-role-policy --role-name page+reads")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("table.small")).to_contain_text("reads")
    page.get_by_role("tab", name="Simulator").click()
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("tr", has_text="s3:GetObject")).to_contain_text("role_page+reads_reads")
    expect(page.locator("tr", has_text="s3:PutObject")).to_contain_text("no policy allows it")
    page.get_by_role("tab", name="Instances").click()
    page.get_by_label("Instance", exact=True).select_option(server.id)
    page.get_by_role("button", name="Attach to it").click()
    question.get_by_role("button", name="Attach", exact=True).click()
    expect(page.locator("table.small")).to_contain_text(server.id)
    assert server.describe()["IamInstanceProfile"]["Arn"].endswith("/page+reads")
    page.get_by_role("button", name="Delete role").click()
    expect(question).to_contain_text(f"{server.id} loses its permissions.")
    question.get_by_role("button", name="Delete", exact=True).click()
    expect(page).to_have_url(re.compile("/roles$"))
    assert "page+reads" not in {each["RoleName"] for each in cloud.client("iam").list_roles()["Roles"]}


def test_a_users_secret_is_shown_once(tab: Tab, cloud: RealCloud) -> None:
    page, question = tab.page, tab.page.get_by_role("dialog")
    page.get_by_role("link", name="Users", exact=True).click()
    page.get_by_role("button", name="Create user").first.click()
    question.get_by_label("Name", exact=True).fill("ada")
    question.get_by_role("button", name="Create", exact=True).click()
    page.get_by_role("button", name="Create key").click()
    question.get_by_role("button", name="Create", exact=True).click()
    expect(question).to_contain_text("AWS_SECRET_ACCESS_KEY=")
    page.keyboard.press("Escape")
    expect(question).to_have_count(0)
    (key,) = cloud.client("iam").list_access_keys(UserName="ada")["AccessKeyMetadata"]
    expect(page.locator("table.small")).to_contain_text(key["AccessKeyId"])
    assert "AWS_SECRET_ACCESS_KEY" not in page.content()
    page.get_by_role("button", name="Delete user").click()
    expect(question).to_contain_text(key["AccessKeyId"])
    question.get_by_role("button", name="Delete", exact=True).click()
    expect(page).to_have_url(re.compile("/users$"))
    assert "ada" not in {each["UserName"] for each in cloud.client("iam").list_users()["Users"]}


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
    expect(question).to_contain_text("'two' is no number of seconds.")
    question.get_by_label("Seconds of notice").fill("0")
    expect(question.locator("code")).to_have_text(f"skylift cloud interrupt {spot.id} --in 0s")
    question.get_by_role("button", name="Interrupt", exact=True).click()
    happened = page.get_by_role("list", name="What happens")
    expect(happened).to_contain_text("status instance-terminated-no-capacity")
    expect(happened).to_contain_text("the instance is terminated")
    assert spot.state == "terminated"


def test_a_type_is_found_by_need_and_ways_to_buy_it_compared(tab: Tab) -> None:
    page = tab.page
    page.get_by_role("link", name="Types and prices").first.click()
    page.get_by_label("vCPUs").fill("many")
    expect(page.get_by_role("alert")).to_contain_text("'many' is not a number of vCPUs")
    page.get_by_label("vCPUs").fill("2")
    expect(page.locator("code")).to_have_text("skylift types --cpu 2")
    page.get_by_label("Words").fill("t3.small")
    page.get_by_role("link", name="t3.small").click()
    page.get_by_label("Hours a month").fill("600")
    expect(page.locator("code")).to_have_text("skylift price --type t3.small --hours 600 --time 3600s job.py")
    expect(page.locator("tr", has_text="reserved, 1 year")).to_contain_text("h a month")
    expect(page.get_by_role("img", name=re.compile("^A month by hours of use"))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^Spot price by zone"))).to_be_attached()
    page.get_by_role("link", name="Launch one").click()
    expect(page.get_by_label("Type", exact=True)).to_have_value("t3.small")


def test_what_has_run_is_counted_as_the_bill_counts_it(tab: Tab, cloud: RealCloud, server: Server) -> None:
    page = tab.page
    page.get_by_role("link", name="Cost").click()
    page.get_by_label("By", exact=True).select_option("instance")
    expect(page.get_by_role("link", name=server.id)).to_be_visible()
    command = page.locator("code")
    expect(command).to_contain_text("skylift cloud bill --by instance --from")
    assert server.id in cloud.skylift(*shlex.split(command.inner_text())[1:]).stdout
    page.get_by_label("By", exact=True).select_option("type")
    expect(command).to_contain_text("--by type")
    expect(page.locator("table.wide tr", has_text="t3.micro")).to_contain_text("least")
    expect(page.get_by_role("img", name=re.compile("^USD a day"))).to_be_visible()


def test_each_screen_is_for_everybody_and_asks_nobody_else(
    browser: Browser, console: Console, server: Server, tmp_path: Path
) -> None:
    """axe finds nothing serious, in the dark or in the light; the browser's own log has the console's address only."""
    log = tmp_path / "net.json"
    with another(browser, f"--log-net-log={log}") as logged:
        tab = Tab(logged)
        page = tab.page
        page.goto(console.link())
        navigation = page.get_by_role("navigation")
        expect(navigation).to_be_visible()
        screens = [str(each.get_attribute("href")) for each in navigation.get_by_role("link").all()]
        assert len(screens) > 10
        for number, screen in enumerate(
            [*screens, "/create-vpc", "/new-job", f"/instances/{server.id}", f"/connect/{server.id}"]
        ):
            page.emulate_media(color_scheme="dark" if number % 2 else "light")
            if screen in screens:
                navigation.locator(f"a[href='{screen}']").click()
                expect(navigation.locator(f"a[href='{screen}']")).to_have_attribute("aria-current", "page")
            else:
                page.goto(f"http://{console.host}{screen}")
            expect(page.locator("h1")).to_be_visible()
            expect(page.locator(".waiting:visible")).to_have_count(0)
            assert page.locator("main, [role=main]").count() == 1, screen
            found = Axe().run(page).response["violations"]
            serious = [each for each in found if each["impact"] in ("serious", "critical")]
            assert serious == [], f"{screen}: {serious}"
    asked = json.loads(log.read_text())
    names = {number: name for name, number in asked["constants"]["logEventTypes"].items()}
    told = [(names[each["type"]], each.get("params", {})) for each in asked["events"]]
    connected = {params["address"] for name, params in told if name == "TCP_CONNECT_ATTEMPT" if "address" in params}
    assert connected == {console.host}
    assert {urlsplit(url).netloc for url in tab.asked if not url.startswith(("data:", "blob:"))} == {console.host}


def test_strangers_stay_outside(tab: Tab, console: Console, cloud: RealCloud) -> None:
    good = next(each["value"] for each in tab.context.cookies() if each["name"] == COOKIE)
    cookie = f"{COOKIE}={good}"
    assert console.ask("/", Cookie=cookie) == 200
    assert console.ask("/") == 401
    assert console.ask("/", Cookie=cookie, Host="rebound.example:4530") == 403
    assert console.ask("/", Cookie=cookie, Origin="http://127.0.0.1:8888") == 403
    used = urlsplit(console.link())
    assert console.ask(f"{used.path}?{used.query}") == 200
    assert console.ask(f"{used.path}?{used.query}") == 403
    assert tab.page.evaluate("document.cookie") == ""


def test_a_server_cannot_reach_it(console: Console, cloud: RealCloud, tab: Tab, server: Server) -> None:
    server.await_ssh()
    address, _, port = console.host.partition(":")
    tried = server.ssh(f"timeout 1 bash -c 'echo >/dev/tcp/{address}/{port}' 2>/dev/null && echo open || echo closed")
    assert tried.stdout.strip() == "closed"

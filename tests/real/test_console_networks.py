"""The console's screens of networks in a browser, with a real cloud behind them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from support.browser import Tab
from support.real_cloud import RealCloud
from support.shown_console import HOSTILE, Console

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("all_well")]


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
    tab.go(f"http://{console.host}/security-groups/{keyboard_group}")
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

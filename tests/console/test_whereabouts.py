"""Where the search leads to what has an id and no list of its own."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nicegui import background_tasks
from shown_page import shown_page

from skylift.client.errors import Refused
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.pages.instance import InstancePage
from skylift.console.pages.vpcs import VpcPage
from skylift.console.port import InstanceDetail, Port
from skylift.console.rows import InstanceRow
from skylift.console.whereabouts import look_up
from skylift.console.widgets.open_tab import tab_in, word_of

HEX = "0123456789abcdef0"
VPC, INSTANCE = f"vpc-{HEX}", f"i-{HEX}"
ANSWERS: dict[str, Any] = {
    "describe_subnets": {"Subnets": [{"VpcId": VPC}]},
    "describe_route_tables": {"RouteTables": [{"VpcId": VPC}]},
    "describe_network_acls": {"NetworkAcls": [{"VpcId": VPC}]},
    "describe_nat_gateways": {"NatGateways": [{"VpcId": VPC}]},
    "describe_vpc_endpoints": {"VpcEndpoints": [{"VpcId": VPC}]},
    "describe_internet_gateways": {"InternetGateways": [{"Attachments": [{"VpcId": VPC}]}]},
    "describe_volumes": {"Volumes": [{"Attachments": [{"InstanceId": INSTANCE}]}]},
    "describe_network_interfaces": {"NetworkInterfaces": [{"VpcId": VPC, "Attachment": {"InstanceId": INSTANCE}}]},
    "describe_security_group_rules": {"SecurityGroupRules": [{"GroupId": "sg-1"}]},
    "get_access_key_last_used": {"UserName": "a/da"},
}


class Account(Port):
    def __init__(self, **changed: Any) -> None:
        self._answers = {**ANSWERS, **changed}

    def perform(self, call: Call) -> Any:
        answer = self._answers[call.operation]
        if isinstance(answer, Exception):
            raise answer
        return answer


PLACES = [
    (f"subnet-{HEX}", f"/vpcs/{VPC}?tab=subnets"),
    (f"rtb-{HEX}", f"/vpcs/{VPC}?tab=route-tables"),
    (f"acl-{HEX}", f"/vpcs/{VPC}?tab=network-acls"),
    (f"nat-{HEX}", f"/vpcs/{VPC}?tab=gateways"),
    (f"vpce-{HEX}", f"/vpcs/{VPC}?tab=gateways"),
    (f"igw-{HEX}", f"/vpcs/{VPC}?tab=gateways"),
    (f"vol-{HEX}", f"/instances/{INSTANCE}?tab=storage"),
    (f"eni-{HEX}", f"/instances/{INSTANCE}?tab=networking"),
    (f"sgr-{HEX}", "/security-groups/sg-1"),
    ("AKIAIOSFODNN7EXAMPLE", "/users/a%2Fda"),
]


@pytest.mark.parametrize(("text", "path"), PLACES)
def test_it_leads_to_the_tab_that_has_it(text: str, path: str) -> None:
    found = look_up(Account(), text)
    assert found is not None
    assert found.path == path


class Empty(Port):
    """It has one instance, of which nothing is known."""

    def __init__(self) -> None:
        pass

    def pages(self, call: Call, key: str) -> list[Any]:
        return []

    def instance(self, instance: str) -> InstanceDetail:
        known = dict.fromkeys(InstanceRow.__dataclass_fields__, "")
        row = InstanceRow(**{**known, "id": instance, "cost": None})
        return InstanceDetail(row, (("Role", ""),), (), (), (), (), (), ())


@pytest.mark.parametrize("path", sorted({path for _, path in PLACES if "?tab=" in path}))
async def test_the_page_has_that_tab(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = SimpleNamespace(listen=lambda hear: None, rows=())
    view = cast(CloudView, SimpleNamespace(port=Empty(), vpcs=topic, instances=topic, gateways=lambda vpc: topic))
    with shown_page(monkeypatch) as page:
        page.client.sub_pages_router.current_path = path
        await (VpcPage(view, VPC) if path.startswith("/vpcs/") else InstancePage(view, INSTANCE)).show()
        shows = {each for each in background_tasks.running_tasks if "Tabs._show" in repr(each)}
        await asyncio.wait_for(asyncio.gather(*shows), 30)
        (shown,) = (each for each in page.client.layout.descendants() if each.props.get("aria-selected") == "true")
        assert word_of(getattr(shown, "text", "")) == tab_in(path)


def test_an_interface_without_an_instance_is_in_its_vpc() -> None:
    own = {"NetworkInterfaces": [{"VpcId": VPC}]}
    found = look_up(Account(describe_network_interfaces=own), f"eni-{HEX}")
    assert found is not None
    assert found.path == f"/vpcs/{VPC}?tab=subnets"


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        (f"vol-{HEX}", {"describe_volumes": {"Volumes": [{"Attachments": []}]}}),
        (f"subnet-{HEX}", {"describe_subnets": {"Subnets": []}}),
        (f"subnet-{HEX}", {"describe_subnets": Refused("UnauthorizedOperation", "no", "describe_subnets")}),
        (f"igw-{HEX}", {"describe_internet_gateways": {"InternetGateways": [{"Attachments": []}]}}),
        (f"subnet-{HEX}?tab=none", {}),
        ("subnet-1", {}),
        (f"none-{HEX}", {}),
    ],
)
def test_what_is_at_no_place_is_not_found(text: str, changed: dict[str, Any]) -> None:
    assert look_up(Account(**changed), text) is None

"""What a page shows has been changed by somebody else before it is saved or removed there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from shown_page import shown_page

from skylift.console.call import Call, list_vpcs
from skylift.console.cloud_view import CloudView
from skylift.console.networks import Networks
from skylift.console.pages.security_groups import SecurityGroupPage
from skylift.console.pages.vpc_acls import show_acls
from skylift.console.pages.vpc_tab import VpcTab
from skylift.console.pages.vpc_tables import show_tables
from skylift.console.poller import Topic
from skylift.console.port import Port
from skylift.console.rows import SecurityGroupRow
from skylift.console.stale_edit import StaleEdit
from skylift.console.widgets.element import box


class Account(Port):
    """With one rule, one entry and one route."""

    def __init__(self) -> None:
        self.rule: dict[str, Any] = {
            "SecurityGroupRuleId": "sgr-1",
            "IsEgress": False,
            "IpProtocol": "tcp",
            "FromPort": 22,
            "ToPort": 22,
            "CidrIpv4": "0.0.0.0/0",
        }
        self.entry: dict[str, Any] = {
            "RuleNumber": 90,
            "Egress": False,
            "Protocol": "6",
            "PortRange": {"From": 22, "To": 22},
            "CidrBlock": "0.0.0.0/0",
            "RuleAction": "allow",
        }
        self.other = {**self.entry, "Egress": True, "CidrBlock": "10.0.0.0/8"}
        self.route = {"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "igw-1", "State": "active"}
        self.made: list[str] = []

    def pages(self, call: Call, key: str) -> list[Any]:
        found: dict[str, list[Any]] = {
            "SecurityGroupRules": [self.rule] if self.rule else [],
            "NetworkAcls": [{"NetworkAclId": "acl-1", "Entries": [self.other, *([self.entry] if self.entry else [])]}],
            "RouteTables": [{"RouteTableId": "rtb-1", "Routes": [self.route] if self.route else []}],
        }
        return found.get(key, [])

    def perform(self, call: Call) -> object:
        self.made.append(call.operation)
        return {}


class View:
    def __init__(self, account: Account) -> None:
        self.port, self.perform = account, account.perform
        self.security_groups = Topic[SecurityGroupRow](lambda: (), 3600)


def change_rule(account: Account, networks: Networks) -> Callable[[], None]:
    (shown,) = account.rules(["sg-1"])
    page = SecurityGroupPage(cast(CloudView, View(account)), "sg-1")
    return lambda: page._change(shown, list_vpcs())


def change_entry(account: Account, networks: Networks) -> Callable[[], None]:
    (shown,) = [each for each in networks.acls("vpc-1")[0].rules if not each.outbound]
    return lambda: tab_of(account).change(list_vpcs(), lambda: networks.check_rule("acl-1", shown))


def change_route(account: Account, networks: Networks) -> Callable[[], None]:
    (shown,) = networks.tables("vpc-1")[0].routes
    return lambda: tab_of(account).change(list_vpcs(), lambda: networks.check_route("rtb-1", shown))


def tab_of(account: Account) -> VpcTab:
    return VpcTab(cast(CloudView, View(account)), Networks(account), "vpc-1", lambda: None)


KINDS = [change_rule, change_entry, change_route]
CHANGES: list[dict[str, dict[str, Any]]] = [
    {"rule": {"CidrIpv4": "10.0.0.0/8"}},
    {"rule": {"Description": "of the office"}},
    {"rule": {"FromPort": 20}},
    {"entry": {"RuleAction": "deny"}},
    {"entry": {"CidrBlock": "10.0.0.0/8"}},
    {"entry": {"PortRange": {"From": 22, "To": 23}}},
    {"route": {"GatewayId": "", "NatGatewayId": "nat-1"}},
]
OF = {"rule": change_rule, "entry": change_entry, "route": change_route}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_as_it_was_is_changed(kind: Callable[[Account, Networks], Callable[[], None]]) -> None:
    account = Account()
    change = kind(account, Networks(account))
    # It says nothing of where a route leads.
    account.route["State"] = "blackhole"
    change()
    assert account.made == ["describe_vpcs"]


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_otherwise_by_now_stays_and_is_shown(change: dict[str, dict[str, Any]]) -> None:
    account = Account()
    ((name, parts),) = change.items()
    save = OF[name](account, Networks(account))
    getattr(account, name).update(parts)
    with pytest.raises(StaleEdit) as refused:
        save()
    assert account.made == []
    assert refused.value.advice.startswith("It is now: ")


@pytest.mark.parametrize("name", OF)
def test_what_is_gone_is_said_to_be(name: str) -> None:
    account = Account()
    save = OF[name](account, Networks(account))
    getattr(account, name).clear()
    with pytest.raises(StaleEdit) as refused:
        save()
    assert account.made == []
    assert "no longer" in refused.value.advice


async def wait(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.wait_for(asyncio.gather(*tasks), 30)


async def test_a_row_that_is_old_is_not_saved_and_shows_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account()
    with shown_page(monkeypatch) as page:
        shown = SecurityGroupPage(cast(CloudView, View(account)), "sg-1")
        shown._place = box()
        await shown._show_rules()
        page.press("Edit")
        page.type("Ports", "2222")
        account.rule |= {"CidrIpv4": "10.0.0.0/8", "Description": "of the office"}
        await wait(page.press("Save"))
        assert account.made == []
        assert page.shows("It is now: in: tcp 22, 10.0.0.0/8, of the office.")
        # Whoever leaves the row sees it as it is by now, and may edit that.
        await wait(page.press("Cancel"))
        page.press("Edit")
        page.type("Ports", "2222")
        await wait(page.press("Save"))
        assert account.made == ["modify_security_group_rules"]


@pytest.mark.parametrize("show", [show_acls, show_tables])
async def test_a_question_about_what_is_old_closes_and_says_so(
    monkeypatch: pytest.MonkeyPatch, show: Callable[[VpcTab], Awaitable[None]]
) -> None:
    account, refreshed = Account(), []
    tab = replace(tab_of(account), refresh=lambda: refreshed.append("yes"))
    with shown_page(monkeypatch) as page:
        await show(tab)
        page.press("Remove")
        account.entry |= {"CidrBlock": "10.0.0.0/8"}
        account.route |= {"GatewayId": "igw-2"}
        await wait(page.answer("Remove"))
    assert account.made == []
    assert refreshed == ["yes"]
    assert [each for each in page.scripts if "somebody has changed it" in each]

"""Network ACLs of a VPC, and their rules, edited in place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from skylift.console import networks
from skylift.console.call import Call
from skylift.console.networks import Acl, AclRule
from skylift.console.pages.vpc_tab import VpcTab
from skylift.console.vpc_plan import tagged
from skylift.console.widgets.element import box, button, tag
from skylift.console.widgets.field import Field, Select
from skylift.console.widgets.row_edit import EditedRow
from skylift.console.widgets.small_table import small_table
from skylift.console.widgets.tabs import in_thread


async def show_acls(tab: VpcTab) -> None:
    acls = await in_thread(tab.networks.acls, tab.vpc)
    with box("buttons-left"):
        button("Create network ACL", lambda: _ask_acl(tab))
    for each in acls:
        with box("part"):
            call = Call("ec2", "delete_network_acl", {"NetworkAclId": each.id})
            tab.head("network ACL", each, "default" if each.default else "", call)
            _show_rules(tab, each)
            _add_rule(tab, each)


def _ask_acl(tab: VpcTab) -> None:
    def fields(changed: Callable[[str], None]) -> Callable[[], Call]:
        name = Field("Name", changed, placeholder="shop-strict", spellcheck="false")
        tag("p", "It lets nothing through until it has rules. A subnet gets it among Subnets.", "empty-line")
        return lambda: Call("ec2", "create_network_acl", {"VpcId": tab.vpc, **tagged("network-acl", name.value)})

    tab.ask("Create a network ACL", "Create", fields)


def _show_rules(tab: VpcTab, shown: Acl) -> None:
    titles = ("Number", "Direction", "Protocol", "Ports", "Range", "Decides", "")
    with small_table(*titles, classes="small wide", aria_label=f"Rules of {shown.id}"):
        for rule in shown.rules:
            _show_rule(tab, shown, rule)


def _show_rule(tab: VpcTab, shown: Acl, rule: AclRule) -> None:
    direction = "out" if rule.outbound else "in"
    decides = "allow" if rule.allows else "deny"
    check = partial(tab.networks.check_rule, shown.id, rule)

    def show(row: EditedRow) -> None:
        number = str(rule.number) if rule.removable else "*"
        for cell in (number, direction, rule.protocol, rule.ports, rule.cidr, decides):
            tag("td", cell)
        with tag("td", "", "actions"):
            if rule.removable:
                row.button()
                tab.remove(
                    f"Remove rule {rule.number} {direction}",
                    networks.delete_acl_rule(shown.id, rule),
                    rule.words,
                    check=check,
                )

    def fields(changed: Callable[[str], None]) -> Callable[[], Call]:
        protocol = Select("Protocol", {rule.kind: rule.protocol, **networks.PROTOCOLS}, changed)
        typed = "" if rule.ports == "all" else rule.ports
        ports = Field("Ports", changed, value=typed, spellcheck="false", size="11")
        other = Field("Range", changed, value=rule.cidr, spellcheck="false", size="20")
        decide = {"allow": "Allow", "deny": "Deny"}
        action = Select("Decides", {decides: decide[decides], **decide}, changed)
        return lambda: networks.replace_acl_rule(shown.id, rule, protocol.value, ports.value, other.value, action.value)

    label = f"rule {rule.number} {direction}"
    tab.row(7, f"{shown.id} {label}", label, show, fields, check)


def _add_rule(tab: VpcTab, shown: Acl) -> None:
    def fields(changed: Callable[[str], None]) -> Callable[[], Call]:
        number = Field("Number", changed, placeholder="90", inputmode="numeric")
        direction = Select("Direction", {"in": "In", "out": "Out"}, changed)
        protocol = Select("Protocol", dict(networks.PROTOCOLS), changed)
        ports = Field("Ports", changed, placeholder="22 or 8000-8080", spellcheck="false")
        other = Field("Range", changed, placeholder="0.0.0.0/0", spellcheck="false")
        action = Select("Decides", {"allow": "Allow", "deny": "Deny"}, changed)
        return lambda: networks.create_acl_rule(
            shown.id, number.value, direction.value, protocol.value, ports.value, other.value, action.value
        )

    tab.add(f"{shown.id} new", "Add rule", fields)

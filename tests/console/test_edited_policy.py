"""Policies that somebody else changes while they are edited."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest
from shown_page import Page, shown_page

from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.identity import Holder
from skylift.console.pages.policies import PoliciesTab
from skylift.console.pages.roles import RolePage
from skylift.console.port import Port
from skylift.runner.errors import Refused


def allows(action: str) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}


def trusts(service: str) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


class Account(Port):
    """One role, its policies and its trust."""

    def __init__(self) -> None:
        self.policies = {"reads": allows("s3:GetObject")}
        self.trust = trusts("ec2.amazonaws.com")

    def pages(self, call: Call, key: str) -> list[Any]:
        return list(self.policies) if key == "PolicyNames" else []

    def perform(self, call: Call) -> Any:
        if call.operation == "get_role":
            return {"Role": {"AssumeRolePolicyDocument": self.trust}}
        if call.operation == "update_assume_role_policy":
            self.trust = json.loads(call.params["PolicyDocument"])
            return {}
        name = call.params["PolicyName"]
        if call.operation == "put_role_policy":
            self.policies[name] = json.loads(call.params["PolicyDocument"])
            return {}
        if name not in self.policies:
            raise Refused("NoSuchEntity", "there is none of this name", call.operation)
        return {"PolicyDocument": self.policies[name]}


class View:
    def __init__(self, account: Account) -> None:
        self.port, self.perform = account, account.perform


async def press(page: Page, text: str) -> None:
    await asyncio.wait_for(asyncio.gather(*page.press(text)), 30)


async def begin(account: Account, action: str, page: Page) -> None:
    tab = PoliciesTab(cast(CloudView, View(account)), Holder("role", "r"))
    await tab.show()
    if action == "Edit":
        # The list is older than this.
        account.policies["reads"] = allows("s3:Get*")
    await press(page, action)


async def test_a_policy_is_edited_as_it_is_by_now(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account()
    with shown_page(monkeypatch) as page:
        await begin(account, "Edit", page)
        assert page.shows('"s3:Get*"')
        page.type("Document (JSON)", json.dumps(allows("s3:Put*")))
        await press(page, "Save")
    assert account.policies == {"reads": allows("s3:Put*")}


async def test_another_persons_change_is_not_undone_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account()
    with shown_page(monkeypatch) as page:
        await begin(account, "Edit", page)
        page.type("Document (JSON)", json.dumps(allows("s3:Put*")))
        for other in (allows("sqs:SendMessage"), allows("sns:Publish")):
            account.policies["reads"] = other
            await press(page, "Save")
            assert account.policies["reads"] == other
            assert page.shows("The policy reads is not what this page has shown")
            assert page.shows(f'"{other["Statement"][0]["Action"]}"')
        # It has been seen by now.
        await press(page, "Save")
    assert account.policies == {"reads": allows("s3:Put*")}


async def test_a_policy_that_is_gone_is_made_again_only_by_who_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account()
    with shown_page(monkeypatch) as page:
        await begin(account, "Edit", page)
        page.type("Document (JSON)", json.dumps(allows("s3:Put*")))
        account.policies.clear()
        await press(page, "Save")
        assert page.shows("It is no longer there.")
        assert account.policies == {}
        await press(page, "Save")
    assert account.policies == {"reads": allows("s3:Put*")}


async def test_one_that_is_gone_before_is_not_edited(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account()
    with shown_page(monkeypatch) as page:
        await PoliciesTab(cast(CloudView, View(account)), Holder("role", "r")).show()
        account.policies.clear()
        await press(page, "Edit")
        assert page.shows("This role has no policies")
        assert [each for each in page.scripts if "It is no longer there." in each]


async def test_a_new_policy_takes_no_others_place(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account()
    with shown_page(monkeypatch) as page:
        await begin(account, "Write a policy", page)
        page.type("Document (JSON)", json.dumps(allows("s3:*")))
        page.type("Name", "reads")
        await press(page, "Save")
        assert page.shows("There is a policy reads already.")
        assert account.policies == {"reads": allows("s3:GetObject")}
        page.type("Name", "all")
        await press(page, "Save")
    assert account.policies == {"reads": allows("s3:GetObject"), "all": allows("s3:*")}


async def test_a_trust_policy_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account()
    own, other = (trusts(f"{each}.amazonaws.com") for each in ("lambda", "ecs"))
    with shown_page(monkeypatch) as page:
        await RolePage(cast(CloudView, View(account)), "r")._trust()
        page.type("Trust policy (JSON)", json.dumps(own))
        account.trust = other
        await press(page, "Save")
        assert account.trust == other
        assert page.shows("The trust policy is not what this page has shown")
        assert page.shows('"ecs.amazonaws.com"')
        await press(page, "Save")
        assert account.trust == own
        # What was saved here is no other person's change.
        page.type("Trust policy (JSON)", json.dumps(other))
        await press(page, "Save")
        assert account.trust == other

"""Policies that somebody else changes while they are edited."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from shown_page import Page, shown_page

from skylift.client.errors import NotPermitted, Refused
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.identity import Holder
from skylift.console.pages.policies import PoliciesTab
from skylift.console.pages.roles import RolePage
from skylift.console.port import Port


def allows(action: str) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}


def trusts(service: str) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


MANAGED = "arn:aws:iam::123456789012:policy/ReadsMore"


class Held:
    """A call that is not made before it may be."""

    def __init__(self) -> None:
        self.began, self.may_go_on = threading.Event(), threading.Event()

    def wait(self) -> None:
        self.began.set()
        assert self.may_go_on.wait(30)

    async def begins(self) -> None:
        assert await asyncio.to_thread(self.began.wait, 30)

    async def go_on(self, tasks: set[asyncio.Task[Any]]) -> None:
        self.may_go_on.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 30)


class Account(Port):
    """One role, its policies and its trust."""

    def __init__(self) -> None:
        self.policies = {"reads": allows("s3:GetObject")}
        self.trust = trusts("ec2.amazonaws.com")
        self.readable, self.has_managed = True, False
        self._held: dict[str, Held] = {}
        self.late = 0
        """How often a trust policy is answered as it was before it was changed."""
        self._earlier: list[Any] = []

    def hold(self, operation: str, name: str = "") -> Held:
        """The next call of it, with the policy of that name."""
        return self._held.setdefault(operation + name, Held())

    def _wait(self, call: Call) -> None:
        if held := self._held.pop(call.operation + call.params.get("PolicyName", ""), None):
            held.wait()

    def pages(self, call: Call, key: str) -> list[Any]:
        self._wait(call)
        if key == "Policies":
            if not self.readable:
                raise NotPermitted("AccessDenied", "you may not", call.operation)
            return [{"Arn": MANAGED, "PolicyName": "ReadsMore"}]
        if key == "AttachedPolicies":
            return [{"PolicyArn": MANAGED, "PolicyName": "ReadsMore"}] if self.has_managed else []
        return list(self.policies) if key == "PolicyNames" else []

    def perform(self, call: Call) -> Any:
        self._wait(call)
        if call.operation == "get_role":
            return {"Role": {"AssumeRolePolicyDocument": self._earlier.pop() if self._earlier else self.trust}}
        if call.operation == "update_assume_role_policy":
            self._earlier = [self.trust] * self.late
            # As IAM keeps it.
            document = call.params["PolicyDocument"].replace('"123456789012"', '"arn:aws:iam::123456789012:root"')
            self.trust = json.loads(document)
            return {}
        if call.operation == "get_policy" and self.readable:
            return {"Policy": {"DefaultVersionId": "v1"}}
        if call.operation == "get_policy_version":
            return {"PolicyVersion": {"Document": allows("s3:GetObject")}}
        name = call.params.get("PolicyName", "")
        if call.operation == "put_role_policy":
            self.policies[name] = json.loads(call.params["PolicyDocument"])
            return {}
        if call.operation == "delete_role_policy":
            del self.policies[name]
            return {}
        if not self.readable:
            raise NotPermitted("AccessDenied", "you may not", call.operation)
        if name not in self.policies:
            raise Refused("NoSuchEntity", "there is none of this name", call.operation)
        return {"PolicyDocument": self.policies[name]}


class View(CloudView):
    def __init__(self, account: Account) -> None:
        self.port = account


async def show(account: Account) -> None:
    await PoliciesTab(View(account), Holder("role", "r")).show()


async def press(page: Page, text: str) -> None:
    await wait(page.press(text))


def press_labelled(page: Page, label: str) -> set[asyncio.Task[Any]]:
    (found,) = (each for each in page.client.layout.descendants() if each.props.get("aria-label") == label)
    return page.say(found, "click")


async def wait(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.wait_for(asyncio.gather(*tasks), 30)


async def begin(account: Account, action: str, page: Page) -> None:
    await show(account)
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
        await show(account)
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
        await RolePage(View(account), "r")._trust()
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


def trusts_account(number: str) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": {"AWS": number}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


@pytest.mark.parametrize("late", [0, 1, 2])
async def test_what_iam_makes_of_a_trust_policy_is_no_other_persons_change(
    late: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps an account's number as that one's ARN, and may answer for a while what was there before."""
    account = Account()
    account.late = late
    # With an answer that is late, only what was sent is known.
    own = trusts("lambda.amazonaws.com") if late else trusts_account("123456789012")
    next_one, other = trusts("sqs.amazonaws.com"), trusts("ecs.amazonaws.com")
    with shown_page(monkeypatch) as page:
        await RolePage(View(account), "r")._trust()
        page.type("Trust policy (JSON)", json.dumps(own))
        await press(page, "Save")
        page.type("Trust policy (JSON)", json.dumps(next_one))
        await press(page, "Save")
        assert account.trust == next_one
        # What somebody else makes of it is still theirs.
        account.late, account.trust = 0, other
        account._earlier.clear()
        await press(page, "Save")
        assert account.trust == other
        assert page.shows('"ecs.amazonaws.com"')


async def test_who_may_read_no_policy_writes_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account()
    account.readable = False
    with shown_page(monkeypatch) as page:
        await begin(account, "Write a policy", page)
        page.type("Document (JSON)", json.dumps(allows("s3:*")))
        page.type("Name", "reads")
        await press(page, "Save")
        assert page.shows("There is a policy reads already.")
        page.type("Name", "all")
        await press(page, "Save")
    assert account.policies == {"reads": allows("s3:GetObject"), "all": allows("s3:*")}


@pytest.mark.parametrize(("begun", "title"), [("", "A new policy"), ("Edit writes", "Policy writes")])
async def test_a_late_answer_takes_nothing_away_that_was_begun_meanwhile(
    begun: str, title: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = Account()
    account.policies["writes"] = allows("s3:PutObject")
    with shown_page(monkeypatch) as page:
        await show(account)
        slow = account.hold("get_role_policy", "reads")
        edit = press_labelled(page, "Edit reads")
        await slow.begins()
        await wait(press_labelled(page, begun) if begun else page.press("Write a policy"))
        page.type("Document (JSON)", json.dumps(allows("s3:List*")))
        await slow.go_on(edit)
        assert page.shows(title)
        assert not page.shows("Policy reads")
        # It is in the command below the editor.
        assert page.shows('"s3:List*"')


async def test_a_late_error_of_what_nobody_waits_for_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account()
    with shown_page(monkeypatch) as page:
        await show(account)
        slow = account.hold("get_role_policy", "reads")
        edit = press_labelled(page, "Edit reads")
        await slow.begins()
        await press(page, "Write a policy")
        account.policies.clear()
        await slow.go_on(edit)
        assert page.shows("A new policy")
        assert page.scripts == []


async def test_the_list_comes_late_after_a_policy_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account()
    with shown_page(monkeypatch) as page:
        await show(account)
        slow = account.hold("list_role_policies")
        page.press("Delete")
        delete = page.answer("Delete")
        await slow.begins()
        await press(page, "Write a policy")
        await slow.go_on(delete)
        assert page.shows("A new policy")
        await press(page, "Back")
        assert page.shows("This role has no policies")


async def test_a_policy_is_deleted_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its question is closed, and something else begun by then."""
    account = Account()
    with shown_page(monkeypatch) as page:
        await show(account)
        slow = account.hold("delete_role_policy", "reads")
        page.press("Delete")
        delete = page.answer("Delete")
        await slow.begins()
        await press(page, "Write a policy")
        await slow.go_on(delete)
        assert account.policies == {}
        assert page.shows("A new policy")


@pytest.mark.parametrize("begun", ["", "Edit writes"])
async def test_a_policy_is_saved_late(begun: str, monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account()
    account.policies["writes"] = allows("s3:PutObject")
    with shown_page(monkeypatch) as page:
        await begin(account, "Write a policy", page)
        page.type("Document (JSON)", json.dumps(allows("s3:*")))
        page.type("Name", "all")
        slow = account.hold("put_role_policy", "all")
        save = page.press("Save")
        await slow.begins()
        await press(page, "Back")
        await wait(press_labelled(page, begun) if begun else set())
        await slow.go_on(save)
        assert [each for each in page.scripts if "Saved." in each]
        assert page.shows("Policy writes") == bool(begun)
        # The list has it, where that is what is shown.
        assert ("Edit all" in labels(page)) == (not begun)


def labels(page: Page) -> set[str]:
    return {each.props.get("aria-label", "") for each in page.client.layout.descendants()}


async def test_who_has_gone_back_is_not_sent_to_what_is_no_longer_there(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account()
    other = allows("sqs:SendMessage")
    with shown_page(monkeypatch) as page:
        await begin(account, "Edit", page)
        page.type("Document (JSON)", json.dumps(allows("s3:Put*")))
        slow = account.hold("get_role_policy", "reads")
        save = page.press("Save")
        await slow.begins()
        await press(page, "Back")
        account.policies["reads"] = other
        await slow.go_on(save)
        assert account.policies == {"reads": other}
        (told,) = (each for each in page.scripts if "somebody has changed it meanwhile" in each)
        assert "Yours was not saved." in told
        assert "below" not in told


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize(
    ("label", "operation", "title"),
    [("Attach a policy", "list_policies", "Attach"), ("Show ReadsMore", "get_policy", '"s3:GetObject"')],
)
async def test_an_answer_comes_when_its_button_has_been_made_anew(
    label: str, operation: str, title: str, readable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = Account()
    account.readable, account.has_managed = readable, True
    with shown_page(monkeypatch) as page:
        await show(account)
        slow = account.hold(operation)
        asked = page.press(label) if label == "Attach a policy" else press_labelled(page, label)
        await slow.begins()
        page.press("Delete")
        await wait(page.answer("Delete"))
        await slow.go_on(asked)
        told = [each for each in page.scripts if "skyliftTellTrouble" in each]
        assert [readable, len(told)] == ([True, 0] if readable else [False, 1])
        assert page.shows(title) or not readable


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize(
    ("label", "operation"), [("Attach a policy", "list_policies"), ("Show ReadsMore", "get_policy")]
)
async def test_an_answer_that_nobody_waits_for_any_more_opens_nothing(
    label: str, operation: str, readable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = Account()
    account.readable, account.has_managed = readable, True
    with shown_page(monkeypatch) as page:
        await show(account)
        slow = account.hold(operation)
        asked = page.press(label) if label == "Attach a policy" else press_labelled(page, label)
        await slow.begins()
        await press(page, "Write a policy")
        await slow.go_on(asked)
        assert page.shows("A new policy")
        assert not page.shows(label.removeprefix("Show "))
        assert page.scripts == []

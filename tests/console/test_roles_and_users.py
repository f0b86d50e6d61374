"""Roles and users as the console changes them."""

from __future__ import annotations

from typing import Any, cast

import pytest

from skylift.client.errors import Refused
from skylift.console.call import Call
from skylift.console.identity import Identities, UserKey, UserPolicies, delete_role, delete_user
from skylift.console.pages.simulator import split_words
from skylift.console.port import Port


def test_all_that_a_role_holds_goes_before_it() -> None:
    held = UserPolicies(["inline"], {"Managed": "arn:aws:iam::aws:policy/Managed"})
    made = [each.operation for each in delete_role("r", held, ["r", "shared"])]
    assert made == [
        "delete_role_policy",
        "detach_role_policy",
        "remove_role_from_instance_profile",
        "delete_instance_profile",
        # A profile of another name may be somebody's: it is emptied, and stays.
        "remove_role_from_instance_profile",
        "delete_role",
    ]


def test_a_users_keys_go_first() -> None:
    made = delete_user("u", UserPolicies([], {}), [UserKey("AKIA", "Active", "")], ["g"])
    assert [each.operation for each in made] == ["delete_access_key", "remove_user_from_group", "delete_user"]


def test_actions_stand_on_lines_or_between_commas_and_each_counts_once() -> None:
    assert split_words(" s3:GetObject,\n ec2:*  s3:GetObject\n\n") == ["s3:GetObject", "ec2:*"]
    assert split_words("\n ,") == []


class Account:
    """A port that refuses one operation, and keeps what was asked of it."""

    def __init__(self, refused: str) -> None:
        self._refused, self.asked = refused, list[str]()

    def perform(self, call: Call) -> Any:
        if call.operation == self._refused:
            raise Refused("EntityAlreadyExists", "there is one of this name", call.operation)
        self.asked.append(call.operation)
        return {}


@pytest.mark.parametrize(
    ("refused", "undone"),
    [
        ("create_role", []),
        ("create_instance_profile", ["delete_role"]),
        ("add_role_to_instance_profile", ["delete_instance_profile", "delete_role"]),
    ],
)
def test_a_role_is_made_with_its_profile_or_not_at_all(refused: str, undone: list[str]) -> None:
    account = Account(refused)
    with pytest.raises(Refused, match="there is one of this name"):
        Identities(cast(Port, account)).create_role("r", "ec2.amazonaws.com")
    assert account.asked[len(account.asked) - len(undone) :] == undone
    assert all(each.startswith("create_") for each in account.asked[: len(account.asked) - len(undone)])


def test_what_was_there_before_is_not_undone() -> None:
    account = Account("create_role")
    with pytest.raises(Refused):
        Identities(cast(Port, account)).create_role("r", "ec2.amazonaws.com")
    assert account.asked == []

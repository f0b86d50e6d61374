"""Roles and users as the console changes them."""

from __future__ import annotations

from skylift.console.identity import AccessKey, Policies, delete_role, delete_user
from skylift.console.pages.simulator import words


def test_all_that_a_role_holds_goes_before_it() -> None:
    held = Policies({"inline": "{}"}, {"Managed": "arn:aws:iam::aws:policy/Managed"})
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
    made = delete_user("u", Policies({}, {}), [AccessKey("AKIA", "Active", "")], ["g"])
    assert [each.operation for each in made] == ["delete_access_key", "remove_user_from_group", "delete_user"]


def test_actions_stand_on_lines_or_between_commas_and_each_counts_once() -> None:
    assert words(" s3:GetObject,\n ec2:*  s3:GetObject\n\n") == ["s3:GetObject", "ec2:*"]
    assert words("\n ,") == []

"""With whom an image or a snapshot is shared: accounts by their numbers, and everybody as the group `all`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.services.api.refusal import invalid_value

Change = Mapping[str, Any]
"""Whom a request adds and removes: below `Add` and `Remove`, each one `{"Group": "all"}` or `{"UserId": NUMBER}`."""


def change_of(asked: Mapping[str, Any], member: str) -> Change:
    """The change in the member that there is for it, or as older tools spell it: OperationType and lists."""
    listed = [{"Group": group} for name in ("UserGroups", "GroupNames") for group in asked.get(name) or ()]
    listed += [{"UserId": user} for user in asked.get("UserIds") or ()]
    found: Change = asked.get(member) or {str(asked.get("OperationType")).capitalize(): listed}
    return found


def keys_of(asked: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The condition keys `ec2:Add/group`, `ec2:Remove/userId` and their like."""
    return {
        f"ec2:{verb}/{key}": named
        for member in ("LaunchPermission", "CreateVolumePermission")
        for verb, listed in change_of(asked, member).items()
        for key, name in (("group", "Group"), ("userId", "UserId"))
        if (named := tuple(one[name] for one in listed if one.get(name)))
    }


def shared(
    change: Change, users: Iterable[str], public: bool, wrong: Callable[[str, str], ServiceError]
) -> tuple[tuple[str, ...], bool]:
    """The accounts after a change, and whether everybody is meant. `wrong` is the refusal of a userId or a group."""
    for one in (one for listed in change.values() for one in listed or ()):
        if one.get("UserId") and re.fullmatch(r"\d{12}", one["UserId"]) is None:
            raise wrong(one["UserId"], "userId")
        if one.get("Group") and one["Group"] != "all":
            raise wrong(one["Group"], "group")
    if unknown := change.keys() - {"Add", "Remove"}:
        raise invalid_value(min(unknown), "operationType", "It has to be add or remove.")
    added, removed = change.get("Add") or (), change.get("Remove") or ()
    found = {*users, *(one["UserId"] for one in added if one.get("UserId"))}
    everybody = (public or any(one.get("Group") for one in added)) and not any(one.get("Group") for one in removed)
    return tuple(sorted(found - {one.get("UserId") for one in removed})), everybody

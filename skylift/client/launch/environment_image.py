"""Images that have a job's environment, so that its server need not fetch and unpack it.

Such an image is the image that was chosen, with one environment that was built before. It is found by its name, which
is a digest of everything that is in it; the tag says that skylift has made it. Only a user who may call CreateImage in
this account can give an image both: a job's role cannot.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skylift.client.remote.api import Api
from skylift.client.remote.repeatable import end_unless_gone
from skylift.client.ship.prebuilt import EnvironmentPlace
from skylift.client.text.duration import moment

TAG_ENVIRONMENT = "skylift:environment"
MOST = 4
"""The most images in an account and region. On this machine each takes the disk of its environment."""
OLDEST = 30 * 86400
"""Seconds after which an image is removed. An environment is kept in the bucket as long."""

_LAYOUT = 2
"""The version of an image's content. An image of another version is not found."""
_NAME = "skylift-environment-"
_KEY = re.compile(r"[0-9a-f]{40}")
_REASON = 500
"""The most characters of an image's reason."""
_ID = re.compile(r"ami-[0-9a-f]{8,17}")


@dataclass(frozen=True)
class EnvironmentImage:
    """`key` is the digest of what is in it, `state` is EC2's and `reason` why it is that, `created` in seconds since
    the epoch."""

    id: str
    key: str
    state: str
    processor: str
    created: float
    reason: str = ""


def image_key(prebuilt: EnvironmentPlace, base: str) -> str:
    """`base` is the image below. The name is that of the recipe, and of who has built what is not proven;
    the digest is of its files."""
    parts = json.dumps([_LAYOUT, prebuilt.name, prebuilt.sha256, base])
    return hashlib.sha256(parts.encode()).hexdigest()[:40]


def find_environment_image(api: Api, account: str, key: str, processor: str) -> EnvironmentImage | None:
    """The image of this key that servers can start from."""
    found = [each for each in environment_images(api, account, key) if each.state == "available"]
    return next((each for each in found if each.processor == processor), None)


def environment_images(api: Api, account: str, key: str = "*") -> list[EnvironmentImage]:
    """All of the account's own, or those of one key, newest first; in any state."""
    filters = [{"Name": "name", "Values": [f"{_NAME}{key}"]}]
    answer = api.call("ec2", "describe_images", Owners=["self"], Filters=filters)["Images"]
    parsed = (_parse(each, account) for each in answer)
    found = [each for each in parsed if each is not None and key in ("*", each.key)]
    return sorted(found, key=lambda each: (each.created, each.id), reverse=True)


def _parse(found: Mapping[str, Any], account: str) -> EnvironmentImage | None:
    """None for what is not skylift's: anybody may give an image a name, and a shared one may have any tag."""
    key = str(found.get("Name", "")).removeprefix(_NAME)
    tagged = [each.get("Value") for each in found.get("Tags", []) if each.get("Key") == TAG_ENVIRONMENT]
    image = str(found.get("ImageId", ""))
    ours = found.get("OwnerId") == account and not found.get("Public") and tagged == [key]
    if not (ours and _KEY.fullmatch(key) and _ID.fullmatch(image)):
        return None
    try:
        created = moment(str(found.get("CreationDate", "")))
    except ValueError:
        return None
    state, reason = str(found.get("State", "")), (found.get("StateReason") or {}).get("Message", "")
    return EnvironmentImage(image, key, state, str(found.get("Architecture", "")), created, str(reason)[:_REASON])


def make_request(instance: str, key: str, base: str) -> dict[str, Any]:
    """The exact parameters of CreateImage. The server has written all to its disk, and goes on meanwhile."""
    tags = [{"Key": "Name", "Value": "skylift environment"}, {"Key": TAG_ENVIRONMENT, "Value": key}]
    return {
        "InstanceId": instance,
        "Name": f"{_NAME}{key}",
        "Description": f"A Python environment of skylift on {base}",
        "NoReboot": True,
        "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in ("image", "snapshot")],
    }


def to_be_removed(images: list[EnvironmentImage], now: float) -> dict[EnvironmentImage, str]:
    """Which of these, newest first, are not kept, and why."""
    whole = [each for each in images if each.state == "available"]
    found = {each: "it could not be made" for each in images if each.state in ("failed", "invalid", "error")}
    found |= {each: "it was made long ago" for each in whole if now - each.created > OLDEST}
    return found | dict.fromkeys(whole[MOST:], f"there are {MOST} newer ones")


def remove_image(api: Api, image: EnvironmentImage) -> None:
    """With its snapshot. Servers that were started from it are not affected."""
    which = {"ImageId": image.id, "DeleteAssociatedSnapshots": True}
    end_unless_gone(api, r"InvalidAMIID\..*", "ec2", "deregister_image", **which)

"""Where something is shown that has an id and no list of its own: a subnet in its VPC, a volume with its instance."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from skylift.client.errors import SkyliftError
from skylift.console.call import Call
from skylift.console.port import Port
from skylift.console.widgets.frame import Found

_ID = re.compile(r"([a-z]{2,9})-(?:[0-9a-f]{8}|[0-9a-f]{17})", re.ASCII)
_KEY = re.compile(r"A[KS]IA[A-Z0-9]{12,124}", re.ASCII)


def _of_vpc(found: Any, tab: str) -> str:
    return f"/vpcs/{found['VpcId']}?tab={tab}"


def _of_interface(found: Any) -> str:
    instance = found.get("Attachment", {}).get("InstanceId", "")
    return f"/instances/{instance}?tab=networking" if instance else _of_vpc(found, "subnets")


_LOOKUPS: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "subnet": ("subnet", partial(_of_vpc, tab="subnets")),
    "rtb": ("route table", partial(_of_vpc, tab="route-tables")),
    "acl": ("network ACL", partial(_of_vpc, tab="network-acls")),
    "nat": ("NAT gateway", partial(_of_vpc, tab="gateways")),
    "vpce": ("VPC endpoint", partial(_of_vpc, tab="gateways")),
    "igw": ("internet gateway", lambda found: _of_vpc(found["Attachments"][0], "gateways")),
    "vol": ("volume", lambda found: f"/instances/{found['Attachments'][0]['InstanceId']}?tab=storage"),
    "eni": ("network interface", _of_interface),
    "sgr": ("security group rule", lambda found: f"/security-groups/{found['GroupId']}"),
}
"""By the beginning of an id: what it is of, in words that EC2's names for it are made of, and where that is shown."""


def look_up(port: Port, text: str) -> Found | None:
    """In a thread. None for what has no id of this kind, for what is not there, and for what is at no place: a volume
    without an instance."""
    try:
        if _KEY.fullmatch(text):
            return _of_key(port, text)
        parts = _ID.fullmatch(text)
        lookup = _LOOKUPS.get(parts[1]) if parts else None
        if lookup is None:
            return None
        kind, path = lookup
        name = "".join(word.capitalize() for word in kind.split())
        call = Call("ec2", f"describe_{kind.lower().replace(' ', '_')}s", {f"{name}Ids": [text]})
        (found,) = port.perform(call)[f"{name}s"]
        return Found(text, kind, path(found))
    except (SkyliftError, ValueError, LookupError):
        return None


def _of_key(port: Port, key: str) -> Found | None:
    user = port.perform(Call("iam", "get_access_key_last_used", {"AccessKeyId": key})).get("UserName", "")
    return Found(key, "access key", f"/users/{quote(user, safe='')}") if user else None

"""The instance metadata service, version 2 and, where allowed, version 1.

Paths and answers follow "Instance metadata categories" and "Use the Instance Metadata Service" of the EC2 user guide.
A request is known by the interface it came in on: the router drops any packet with another interface's address, so
the sender's private address names the instance.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

MAX_TOKEN_SECONDS = 21600
VERSION_1, VERSION_2 = "1.0", "2.0"
_SECONDS_LEFT = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
_TIME = "%Y-%m-%dT%H:%M:%SZ"

_ROOT_VERSIONS = (
    "1.0 2007-01-19 2007-03-01 2007-08-29 2007-10-10 2007-12-15 2008-02-01 2008-09-01 2009-04-04 2011-01-01 "
    "2011-05-01 2012-01-12 2014-02-25 2014-11-05 2015-10-20 2016-04-19 2016-06-30 2016-09-02 2018-03-28 2018-08-17 "
    "2018-09-24 2019-10-01 2020-10-27 2021-01-03 2021-03-23 2021-07-15 2022-09-24 2024-04-11 latest"
).split()


@dataclass(frozen=True)
class RoleCredentials:
    access_key_id: str
    secret_access_key: str = field(repr=False)
    token: str = field(repr=False)
    updated: datetime
    expires: datetime


@dataclass(frozen=True)
class InterfaceFacts:
    id: str
    mac: str
    addresses: tuple[tuple[str, str | None], ...]
    """Each private address with its public one; the primary one is first."""
    index: int
    subnet_id: str
    subnet_cidr: str
    vpc_id: str
    vpc_cidr: str
    vpc_cidrs: tuple[str, ...]
    groups: Mapping[str, str]
    """The names of the security groups, by id."""

    @property
    def private_ip(self) -> str:
        return self.addresses[0][0]

    @property
    def public_ip(self) -> str | None:
        return self.addresses[0][1]


@dataclass(frozen=True)
class InstanceFacts:
    """The answers of the metadata service to one instance.

    `credentials` asks anew, so that they rotate, on behalf of a version of this service; text instead of credentials is
    an error code.
    """

    instance_id: str
    image_id: str
    instance_type: str
    reservation_id: str
    launch_index: int
    launched: datetime
    account: str
    region: str
    zone: str
    zone_id: str
    architecture: str
    hostname: str
    interfaces: tuple[InterfaceFacts, ...]
    public_hostname: str = ""
    public_key: str | None = None
    key_name: str | None = None
    user_data: bytes | None = None
    profile_arn: str | None = None
    profile_id: str | None = None
    role: str | None = None
    credentials: Callable[[str], RoleCredentials | str | None] = lambda _: None
    tags: Mapping[str, str] | None = None
    devices: tuple[str, ...] = ()
    """The names of all volumes but the root volume."""
    session_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Public keys that EC2 Instance Connect accepts now, as lines of `authorized_keys`, by login name."""
    hypervisor: str = "nitro"
    """The hypervisor that the instance type has on AWS."""
    scaling_target: str = ""
    """The lifecycle state that Auto Scaling is bringing the instance to; empty without a group."""
    placement_group: str = ""
    partition: int | None = None
    host_id: str | None = None
    """The dedicated host that the instance is on."""
    spot: bool = False
    rebalance: datetime | None = None
    """The time since which rebalancing is recommended."""
    interruption: tuple[str, datetime] | None = None
    """What EC2 will do to a spot instance (`stop`, `terminate`), and when."""
    detailed_monitoring: bool = False
    tokens_required: bool = True
    enabled: bool = True
    hop_limit: int = 2


FactsFor = Callable[[str, str], InstanceFacts | None]
"""(vpc_id, private address of the sender) -> the facts of the instance."""


@dataclass(frozen=True)
class Answer:
    """`hops` is how many routers the answer may cross; None leaves it to the kernel."""

    status: int
    headers: dict[str, str]
    body: bytes
    hops: int | None = None


Form = Literal["signature", "pkcs7", "rsa2048"]

SignDocument = Callable[[Form, bytes], str]
"""(form, an identity document) -> its signature by this cloud."""


class MetadataService:
    """Answers HTTP requests of instances. Tokens are signed, not kept; a restart of the cloud ends them all."""

    def __init__(
        self, facts_for: FactsFor, sign: SignDocument, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._facts_for = facts_for
        self._sign_document = sign
        self._clock = clock
        self._key = secrets.token_bytes(32)

    def answer(self, method: str, path: str, headers: Mapping[str, str], vpc_id: str, source: str) -> Answer:
        """`headers` in lower case. Only a token's answer is bound by the hop limit, as HttpPutResponseHopLimit says."""
        facts = self._facts_for(vpc_id, source)
        if facts is None or not facts.enabled:
            return _error(403, "Forbidden")
        # A forwarded request comes from outside by a proxy on the instance: AWS refuses these.
        if method == "PUT" and "x-forwarded-for" in headers:
            return _error(403, "Forbidden")
        path = path.split("?", 1)[0]
        if method == "PUT" and path.rstrip("/") == "/latest/api/token":
            return self._issue(headers, facts)
        if method not in ("GET", "HEAD"):
            return _error(405, "Method Not Allowed", {"Allow": "OPTIONS, GET, HEAD"})
        token = headers.get("x-aws-ec2-metadata-token")
        if token is None and not facts.tokens_required:
            return _lookup(_tree(facts, VERSION_1, self._sign_document), path)
        remaining = self._remaining(token or "", facts.instance_id)
        if remaining is None:
            return _error(401, "Unauthorized")
        answer = _lookup(_tree(facts, VERSION_2, self._sign_document), path)
        return replace(answer, headers={**answer.headers, _SECONDS_LEFT: str(remaining)})

    def _issue(self, headers: Mapping[str, str], facts: InstanceFacts) -> Answer:
        wanted = headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if re.fullmatch("[0-9]{1,5}", wanted) is None or not 1 <= int(wanted) <= MAX_TOKEN_SECONDS:
            return _error(400, "Bad Request")
        expires = int(self._clock().timestamp()) + int(wanted)
        token = f"{expires:x}-{secrets.token_hex(8)}"
        return Answer(
            200,
            {"Content-Type": "text/plain", _SECONDS_LEFT: wanted},
            f"{token}-{self._sign(token, facts.instance_id)}".encode(),
            facts.hop_limit,
        )

    def _remaining(self, token: str, instance_id: str) -> int | None:
        """Seconds that a token is still good for; None when it is not this instance's, or over."""
        body, _, signature = token.rpartition("-")
        ours, theirs = self._sign(body, instance_id), signature.encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(ours.encode(), theirs):
            return None
        remaining = int(body.split("-", 1)[0], 16) - int(self._clock().timestamp())
        return remaining if remaining > 0 else None

    def _sign(self, body: str, instance_id: str) -> str:
        text = f"{instance_id} {body}".encode("utf-8", "surrogateescape")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()


def _error(status: int, title: str, headers: Mapping[str, str] | None = None) -> Answer:
    body = (
        '<?xml version="1.0" encoding="iso-8859-1"?>\n'
        '<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">\n'
        f" <head>\n  <title>{status} - {title}</title>\n </head>\n"
        f" <body>\n  <h1>{status} - {title}</h1>\n </body>\n</html>\n"
    )
    return Answer(status, {"Content-Type": "text/html", **(headers or {})}, body.encode())


def _lookup(tree: Mapping[str, Any], path: str) -> Answer:
    parts = [part for part in path.split("/") if part]
    if not parts:
        return _text("\n".join(_ROOT_VERSIONS))
    if parts[0] not in _ROOT_VERSIONS:
        return _error(404, "Not Found")
    node: Any = tree
    for part in parts[1:]:
        if not isinstance(node, dict) or part not in node:
            return _error(404, "Not Found")
        node = node[part]
    if callable(node):
        node = node()
    if node is None:
        return _error(404, "Not Found")
    if isinstance(node, dict):
        return _text("\n".join(_listing(node)))
    if isinstance(node, bytes):
        return Answer(200, {"Content-Type": "application/octet-stream"}, node)
    return _text(str(node))


def _listing(node: Mapping[str, Any]) -> list[str]:
    """Directories end in a slash, as AWS lists them; the key list shows names instead."""
    if all(key.isdigit() for key in node) and all(isinstance(item, _Key) for item in node.values()):
        return [f"{key}={item.name}" for key, item in node.items()]
    return sorted(f"{key}/" if isinstance(item, dict) else key for key, item in node.items() if item is not None)


class _Key(dict[str, Any]):
    """`public-keys/0/` is listed as `0=NAME`."""

    def __init__(self, name: str, key: str) -> None:
        super().__init__({"openssh-key": key})
        self.name = name


def _text(body: str) -> Answer:
    return Answer(200, {"Content-Type": "text/plain", "Accept-Ranges": "none"}, body.encode())


def _tree(facts: InstanceFacts, version: str, sign: SignDocument) -> dict[str, Any]:
    return {
        "meta-data": _meta_data(facts, version),
        "dynamic": {
            "fws": {"instance-monitoring": "enabled" if facts.detailed_monitoring else "disabled"},
            "instance-identity": _identity(_identity_document(facts), sign),
        },
        "user-data": facts.user_data,
    }


def _meta_data(facts: InstanceFacts, version: str) -> dict[str, Any]:
    """None marks a category that this instance does not have."""
    first = facts.interfaces[0]
    active = {user: "".join(f"{key}\n" for key in keys) for user, keys in facts.session_keys.items()}
    return {
        "ami-id": facts.image_id,
        "ami-launch-index": facts.launch_index,
        "ami-manifest-path": "(unknown)",
        "autoscaling": {"target-lifecycle-state": facts.scaling_target} if facts.scaling_target else None,
        "block-device-mapping": _devices(facts),
        "events": _events(facts),
        "hibernation": {"configured": "false"},
        "hostname": facts.hostname,
        "iam": None if facts.profile_arn is None else _iam(facts, version),
        "instance-action": "none",
        "instance-id": facts.instance_id,
        "instance-life-cycle": "spot" if facts.spot else "on-demand",
        "instance-type": facts.instance_type,
        "local-hostname": facts.hostname,
        "local-ipv4": first.private_ip,
        "mac": first.mac,
        "managed-ssh-keys": {"active-keys": active} if active else None,
        "network": {"interfaces": {"macs": {each.mac: _interface(each, facts) for each in facts.interfaces}}},
        "placement": {
            "availability-zone": facts.zone,
            "availability-zone-id": facts.zone_id,
            "group-name": facts.placement_group or None,
            "host-id": facts.host_id,
            "partition-number": facts.partition,
            "region": facts.region,
        },
        "profile": "default-hvm",
        "public-hostname": facts.public_hostname or None,
        "public-ipv4": first.public_ip,
        "public-keys": None if facts.public_key is None else {"0": _Key(facts.key_name or "", facts.public_key)},
        "reservation-id": facts.reservation_id,
        "security-groups": "\n".join(first.groups.values()),
        "services": {"domain": "amazonaws.com", "partition": "aws"},
        "spot": None if facts.interruption is None else _spot(*facts.interruption),
        "system": facts.hypervisor,
        "tags": None if facts.tags is None else {"instance": dict(facts.tags)},
    }


def _events(facts: InstanceFacts) -> dict[str, Any]:
    events: dict[str, Any] = {"maintenance": {"history": "[]", "scheduled": "[]"}}
    if facts.rebalance is not None:
        events["recommendations"] = {"rebalance": json.dumps({"noticeTime": facts.rebalance.strftime(_TIME)})}
    return events


def _spot(action: str, when: datetime) -> dict[str, Any]:
    """Paths that exist once a notice is given. `termination-time` is the older one, for terminations only."""
    time = when.strftime(_TIME)
    notice = {"instance-action": json.dumps({"action": action, "time": time})}
    return {**notice, "termination-time": time} if action == "terminate" else notice


def _devices(facts: InstanceFacts) -> dict[str, Any]:
    volumes = {f"ebs{number}": device.removeprefix("/dev/") for number, device in enumerate(facts.devices, start=1)}
    return {"ami": "/dev/xvda", **volumes, "root": "/dev/xvda"}


def _interface(interface: InterfaceFacts, facts: InstanceFacts) -> dict[str, Any]:
    associations = {public: private for private, public in interface.addresses if public is not None}
    return {
        "device-number": interface.index,
        "interface-id": interface.id,
        "ipv4-associations": associations or None,
        "local-hostname": facts.hostname,
        "local-ipv4s": "\n".join(private for private, _ in interface.addresses),
        "mac": interface.mac,
        "network-card": "0",
        "owner-id": facts.account,
        "public-hostname": (facts.public_hostname or None) if associations else None,
        "public-ipv4s": "\n".join(associations) or None,
        "security-group-ids": "\n".join(interface.groups),
        "security-groups": "\n".join(interface.groups.values()),
        "subnet-id": interface.subnet_id,
        "subnet-ipv4-cidr-block": interface.subnet_cidr,
        "vpc-id": interface.vpc_id,
        "vpc-ipv4-cidr-block": interface.vpc_cidr,
        "vpc-ipv4-cidr-blocks": "\n".join(interface.vpc_cidrs),
    }


def _iam(facts: InstanceFacts, version: str) -> dict[str, Any]:
    now = datetime.now(UTC)

    def info() -> str:
        return json.dumps(
            {
                "Code": "Success",
                "LastUpdated": now.strftime(_TIME),
                "InstanceProfileArn": facts.profile_arn,
                "InstanceProfileId": facts.profile_id,
            },
            indent=2,
        )

    def credentials() -> str | None:
        found = facts.credentials(version)
        if found is None:
            return None
        if isinstance(found, str):
            return json.dumps({"Code": found, "LastUpdated": now.strftime(_TIME)}, indent=2)
        return json.dumps(
            {
                "Code": "Success",
                "LastUpdated": found.updated.strftime(_TIME),
                "Type": "AWS-HMAC",
                "AccessKeyId": found.access_key_id,
                "SecretAccessKey": found.secret_access_key,
                "Token": found.token,
                "Expiration": found.expires.strftime(_TIME),
            },
            indent=2,
        )

    return {"info": info, "security-credentials": None if facts.role is None else {facts.role: credentials}}


def _identity(document: str, sign: SignDocument) -> dict[str, Any]:
    """Signatures are made when they are asked for."""
    forms: tuple[Form, ...] = ("pkcs7", "rsa2048", "signature")
    return {"document": document, **{form: partial(sign, form, document.encode()) for form in forms}}


def _identity_document(facts: InstanceFacts) -> str:
    return json.dumps(
        {
            "accountId": facts.account,
            "architecture": facts.architecture,
            "availabilityZone": facts.zone,
            "billingProducts": None,
            "devpayProductCodes": None,
            "marketplaceProductCodes": None,
            "imageId": facts.image_id,
            "instanceId": facts.instance_id,
            "instanceType": facts.instance_type,
            "kernelId": None,
            "pendingTime": facts.launched.strftime(_TIME),
            "privateIp": facts.interfaces[0].private_ip,
            "ramdiskId": None,
            "region": facts.region,
            "version": "2017-09-30",
        },
        indent=2,
    )

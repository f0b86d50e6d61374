"""What skylift needs of AWS's service models, kept beside the keys: reading them whole takes a quarter of a second.

`OPERATIONS` is every call that a client of skylift may make; nothing else is in what is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

OPERATIONS = {
    "ec2": """
        AttachInternetGateway AuthorizeSecurityGroupIngress CreateInternetGateway CreateRoute CreateSecurityGroup
        CreateSubnet CreateTags CreateVpc DeleteNetworkInterface DeleteVolume DescribeAvailabilityZones DescribeImages
        DescribeInstances DescribeInstanceTypes DescribeInternetGateways DescribeKeyPairs DescribeNetworkInterfaces
        DescribeRouteTables DescribeSecurityGroups DescribeSubnets DescribeVolumes DescribeVpcs GetConsoleOutput
        ImportKeyPair RunInstances TerminateInstances
    """.split(),
    "ec2-instance-connect": ["SendSSHPublicKey"],
    "iam": """
        AddRoleToInstanceProfile CreateInstanceProfile CreatePolicy CreateRole DeleteInstanceProfile DeleteRole
        DeleteRolePolicy GetPolicy ListInstanceProfiles ListRoles PutRolePolicy RemoveRoleFromInstanceProfile
    """.split(),
    "s3": """
        AbortMultipartUpload CompleteMultipartUpload CreateBucket CreateMultipartUpload DeleteObject DeleteObjects
        GetObject HeadBucket HeadObject ListMultipartUploads ListObjectsV2 PutObject UploadPart
    """.split(),
    "ssm": ["GetParameters"],
    "sts": ["GetCallerIdentity"],
}
"""By service, as AWS writes them."""

_WORDS = {"documentation": "", "documentationUrl": "", "enum": []}
"""What a client does nothing with, and what may stand in its place."""


class KeptModels:
    """A folder with a file for each model. One that is not there, or is damaged, or is of another version (`made_for`),
    is made anew; where nothing can be written, it goes without."""

    def __init__(self, folder: Path, made_for: str) -> None:
        table = hashlib.sha256(json.dumps(OPERATIONS).encode()).hexdigest()
        self._folder, self._made_for = folder, f"{made_for} {table}"

    def get(self, name: str, load: Callable[[], Any]) -> Any:
        """The model of this name, for which `load` gives the whole. Of a service that the table does not know, too."""
        if name.partition(".")[0] not in {*OPERATIONS, "endpoints", "partitions"}:
            return load()
        path = self._folder / f"{name}.json"
        with suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(path.read_bytes())
            if kept["made_for"] == self._made_for:
                return kept["model"]
        model = trim(name, load())
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            _write(path, json.dumps({"made_for": self._made_for, "model": model}, separators=(",", ":")))
        return model


def _write(path: Path, text: str) -> None:
    """Whole or not at all: others may be reading it."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def trim(name: str, model: Any) -> Any:
    """A model with what `OPERATIONS` needs. `name` is `endpoints`, `partitions`, or a service, a kind, and perhaps
    a version: `s3.service-2`."""
    service, kind = [*name.split("."), ""][:2]
    if service == "endpoints":
        partitions = [{**each, "services": _of(OPERATIONS, each["services"])} for each in model["partitions"]]
        return {**model, "partitions": partitions}
    if kind == "paginators-1":
        return {**model, "pagination": _of(OPERATIONS[service], model["pagination"])}
    if kind == "service-2":
        operations = _of(OPERATIONS[service], model["operations"])
        shapes: dict[str, Any] = {}
        _reach(operations, model["shapes"], shapes)
        return _wordless({**model, "operations": operations, "shapes": shapes})
    return _wordless(model)


def _of(names: Iterable[str], found: dict[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in names if name in found}


def _reach(value: Any, shapes: dict[str, Any], found: dict[str, Any]) -> None:
    """Add each shape that a part of a model refers to, and what these refer to."""
    for name in _references(value):
        if name not in found:
            found[name] = shapes[name]
            _reach(shapes[name], shapes, found)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("shape"), str):
            yield value["shape"]
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


def _wordless(value: Any) -> Any:
    if isinstance(value, dict):
        # A member or an operation's parameter may have such a name, too; what it holds is of another type.
        return {
            name: _WORDS[name] if name in _WORDS and type(each) is type(_WORDS[name]) else _wordless(each)
            for name, each in value.items()
        }
    return [_wordless(each) for each in value] if isinstance(value, list) else value

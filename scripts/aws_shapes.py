"""The shapes of AWS's requests and results as types: `typings/aws_shapes`, made of botocore's models, never committed.

    python scripts/aws_shapes.py

mypy makes them itself, before it begins: this file is a plugin of it (pyproject.toml), which does nothing else.
Only a type checker reads them: they do not exist when skylift runs. A module for each service has a TypedDict for each
structure, with the model's own names, as the wire hands requests over and takes results:

- A timestamp is an aware `datetime`, a blob `bytes`, a streamed body a `Spool` of a request, a `FileBody` of a result.
- An enumeration is `str`: the wire does not check values, services do, and the checker must not think they need not.
- What the model requires of a request is there. A result may lack anything: what has no value is left out.
- A structure of both kinds is as one of a result.
"""

from __future__ import annotations

import hashlib
import keyword
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore
from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape
from mypy.plugin import Plugin

ROOT = Path(__file__).parent.parent
TYPINGS = ROOT / "typings" / "aws_shapes"
SERVICES = (
    "autoscaling",
    "cloudtrail",
    "cloudwatch",
    "ec2",
    "ec2-instance-connect",
    "iam",
    "s3",
    "s3control",
    "scheduler",
    "service-quotas",
    "skylift",
    "ssm",
    "sts",
)
SCALARS = {
    "string": "str",
    "character": "str",
    "boolean": "bool",
    "integer": "int",
    "long": "int",
    "float": "float",
    "double": "float",
    "timestamp": "datetime",
    "blob": "bytes",
}
HEAD = """\
from datetime import datetime
from typing import NotRequired, TypedDict

from skylift.cloud.domain.bucket import FileBody, Spool
"""


def plugin(_version: str) -> type[Plugin]:
    """What mypy asks for when it starts."""
    write()
    return Plugin


def write() -> None:
    """All modules, unless they are there already and of the same models."""
    loader = Loader(extra_search_paths=[str(ROOT / "skylift" / "cloud" / "models")])
    own = [Path(__file__), *sorted((ROOT / "skylift" / "cloud" / "models").rglob("*.json"))]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in own))
    digest.update(botocore.__version__.encode())
    stamp = TYPINGS / "made_of"
    if stamp.exists() and stamp.read_text() == digest.hexdigest():
        return
    TYPINGS.mkdir(parents=True, exist_ok=True)
    (TYPINGS / "__init__.pyi").write_text("")
    for name in SERVICES:
        (TYPINGS / f"{name.replace('-', '_')}.pyi").write_text(
            module(ServiceModel(loader.load_service_model(name, "service-2"), name))
        )
    stamp.write_text(digest.hexdigest())


def module(service: ServiceModel) -> str:
    """The text of one service's module."""
    operations = [service.operation_model(name) for name in service.operation_names]
    asked = reached(operation.input_shape for operation in operations)
    answered = reached(operation.output_shape for operation in operations)
    whole = {**answered, **asked}
    return HEAD + "".join(
        structure(whole[name], asked=name not in answered, answered=name not in asked) for name in sorted(whole)
    )


def reached(shapes: Iterator[StructureShape | None]) -> dict[str, StructureShape]:
    """Every structure that these lead to, by its name."""
    found: dict[str, StructureShape] = {}
    waiting: list[Shape] = [shape for shape in shapes if shape is not None]
    while waiting:
        shape = waiting.pop()
        if isinstance(shape, ListShape):
            waiting.append(shape.member)
        elif isinstance(shape, MapShape):
            waiting += [shape.key, shape.value]
        elif isinstance(shape, StructureShape) and shape.name not in found:
            found[shape.name] = shape
            waiting += shape.members.values()
    return found


def structure(shape: StructureShape, *, asked: bool, answered: bool) -> str:
    """One TypedDict. Member names that Python does not take need the form of a call."""
    streamed = shape.serialization.get("payload")
    members: dict[str, str] = {}
    for name, member in shape.members.items():
        kind = spelled(member)
        if name == streamed and member.serialization.get("streaming"):
            kind = "bytes | FileBody" if answered else "Spool"
        members[name] = kind if asked and name in shape.required_members else f"NotRequired[{kind}]"
    if any(keyword.iskeyword(name) or not name.isidentifier() for name in members):
        pairs = ", ".join(f'"{name}": "{kind}"' for name, kind in members.items())
        return f'\n{shape.name} = TypedDict("{shape.name}", {{{pairs}}})\n'
    return (
        f"\nclass {shape.name}(TypedDict):\n"
        + "".join(f"    {name}: {kind}\n" for name, kind in members.items())
        + ("" if members else "    ...\n")
    )


def spelled(shape: Any) -> str:
    """A shape as an annotation."""
    match shape.type_name:
        case "list":
            return f"list[{spelled(shape.member)}]"
        case "map":
            return f"dict[{spelled(shape.key)}, {spelled(shape.value)}]"
        case "structure":
            return str(shape.name)
    return SCALARS[shape.type_name]


if __name__ == "__main__":
    write()

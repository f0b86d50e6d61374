"""The types of requests and results: made of botocore's models for the type checker, and the handlers' own."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import pytest

from skylift.cloud.services.table import OPERATIONS
from skylift.cloud.wire.models import load

SCRIPT = Path(__file__).parents[1] / "scripts" / "aws_shapes.py"


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("aws_shapes", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["aws_shapes_maker"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def made(maker: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(maker, "TYPINGS", tmp_path / "aws_shapes")
    maker.write()
    return tmp_path / "aws_shapes"


def structure(module: Path, name: str) -> dict[str, str]:
    """The members of one structure, as they are annotated."""
    text = module.read_text().partition(f"class {name}(TypedDict):\n")[2].partition("\nclass ")[0]
    return dict(line.strip().split(": ", 1) for line in text.splitlines() if ": " in line)


def test_members_have_the_types_that_the_wire_hands_over(made: Path) -> None:
    route = structure(made / "ec2.pyi", "CreateRouteRequest")
    assert (route["RouteTableId"], route["GatewayId"]) == ("str", "NotRequired[str]")
    put = structure(made / "s3.pyi", "PutObjectRequest")
    assert (put["Body"], put["Expires"]) == ("NotRequired[Spool]", "NotRequired[datetime]")
    assert structure(made / "s3.pyi", "GetObjectOutput")["Body"] == "NotRequired[bytes | FileBody]"
    # The wire does not check which values an enumeration has.
    assert structure(made / "ec2.pyi", "RunInstancesRequest")["InstanceType"] == "NotRequired[str]"
    assert structure(made / "ec2.pyi", "DescribeVpcsResult")["Vpcs"] == "NotRequired[list[Vpc]]"


def test_what_is_there_of_the_same_models_is_left_alone(maker: ModuleType, made: Path) -> None:
    """Else mypy would read all of it again."""
    before = (made / "ec2.pyi").stat().st_mtime_ns
    maker.write()
    assert (made / "ec2.pyi").stat().st_mtime_ns == before
    (made / "made_of").write_text("other models")
    maker.write()
    assert (made / "ec2.pyi").stat().st_mtime_ns > before


def test_every_module_is_python(made: Path) -> None:
    for path in made.glob("*.pyi"):
        compile(path.read_text(), str(path), "exec")


def own(handler: Callable[..., Any]) -> FunctionType | None:
    """The function of a file that a handler is or wraps; None for one that is made for several operations."""
    if isinstance(handler, partial):
        return own(handler.func)
    if isinstance(handler, MethodType) or not isinstance(handler, FunctionType):
        return None
    if "<locals>" not in handler.__qualname__:
        return handler
    inner = [cell.cell_contents for cell in handler.__closure__ or () if callable(cell.cell_contents)]
    return own(inner[0]) if len(inner) == 1 else None


def test_a_handler_takes_and_answers_the_shapes_of_its_own_operation() -> None:
    """mypy cannot see that: a row of the table is made of a name and a handler."""
    wrong, typed = [], 0
    for operation in OPERATIONS:
        shapes = load(operation.service).operation(operation.name)
        handler = own(operation.handler)
        if handler is None:
            continue
        named = operation.service.replace("-", "_")
        asked = str(inspect.get_annotations(handler).get("params", ""))
        answered = str(inspect.get_annotations(handler).get("return", ""))
        for annotation, shape in ((asked, shapes.input), (answered, shapes.output)):
            if "." not in annotation:
                continue
            typed += 1
            if shape is None or f"{named}.{shape.name}" not in annotation.split(" | "):
                wrong.append(f"{operation.service} {operation.name}: {annotation}")
    assert wrong == []
    assert typed > TYPED


def test_no_handler_and_no_check_takes_or_answers_just_anything() -> None:
    """Also those that are made for several operations: what they read by name is at least a request (`Params`)."""
    loose = {
        f"{operation.service} {operation.name}: {function.__qualname__}({name}: {annotation})"
        for operation in OPERATIONS
        for function in (own(operation.handler) or operation.handler, operation.checks)
        if isinstance(function, FunctionType | MethodType)
        for name, annotation in inspect.get_annotations(getattr(function, "__func__", function)).items()
        if name in ("params", "_params", "return") and "Any" in str(annotation)
    }
    assert loose == set()


TYPED = 650

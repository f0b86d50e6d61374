"""What is read of botocore's data, against botocore's own reader and validator."""

from __future__ import annotations

import json
import logging
import random
import stat
import subprocess
import sys
import zlib
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from wire_operations import OPERATIONS, Chance, Values

from skylift.cloud.wire import models
from skylift.cloud.wire.endpoint import SERVICES
from skylift.cloud.wire.models import (
    OWN_MODELS,
    _files,
    _model,
    _read_by_another,
    _read_kept,
    _read_model,
    keep_all,
    load,
)
from skylift.cloud.wire.shape import ListShape, MapShape, Problem, Shape, Structure, problems

CONSTRAINTS = ("required", "min", "max", "pattern", "enum", "union", "sensitive", "error", "exception")
ON_THE_WIRE = (
    "name queryName flattened location payload streaming timestampFormat xmlNamespace resultWrapper xmlAttribute"
).split()


@cache
def botocore_service(name: str) -> Any:
    return ServiceModel(Loader(extra_search_paths=[str(OWN_MODELS)]).load_service_model(name, "service-2"), name)


@pytest.mark.parametrize("service", SERVICES)
def test_operations_are_those_that_botocore_reads(service: str) -> None:
    ours, theirs = load(service), botocore_service(service)
    assert ours.operation_names == theirs.operation_names
    seen: set[str] = set()
    for name in ours.operation_names:
        one, other = ours.operation(name), theirs.operation_model(name)
        assert (one.name, one.method, one.uri) == (other.name, other.http["method"], other.http["requestUri"])
        assert (one.signed, one.deprecated) == (other.auth_type != "none", bool(other.deprecated)), name
        assert one.checksum_required == bool(other.http_checksum.get("requestChecksumRequired"))
        for own, its in ((one.input, other.input_shape), (one.output, other.output_shape)):
            assert (own is None) == (its is None), name
            if own is not None:
                same(own, its, seen)


def same(one: Shape, other: Any, seen: set[str]) -> None:
    """The types, what they say, and all that they refer to; of each name what is behind it is looked at once."""
    assert (one.name, one.type_name) == (other.name, other.type_name)
    assert one.serialization == {key: value for key, value in other.serialization.items() if key in ON_THE_WIRE}
    assert one.metadata == {key: value for key, value in other.metadata.items() if key in CONSTRAINTS}
    if one.name in seen:
        return
    seen.add(one.name)
    match one:
        case Structure():
            assert list(one.members) == list(other.members)
            for name, member in one.members.items():
                same(member, other.members[name], seen)
        case ListShape():
            same(one.member, other.member, seen)
        case MapShape():
            same(one.key, other.key, seen)
            same(one.value, other.value, seen)


@pytest.mark.parametrize("service", SERVICES)
def test_errors_are_those_that_botocore_reads(service: str) -> None:
    theirs = {shape.error_code: shape for shape in botocore_service(service).error_shapes}
    ours = load(service).errors
    assert ours.keys() == theirs.keys()
    assert {code: one.shape for code, one in ours.items()} == {code: shape.name for code, shape in theirs.items()}


def test_what_was_kept_is_what_is_read_anew(tmp_path: Path) -> None:
    kept = tmp_path / "models.json"
    keep_all(SERVICES, kept)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert _read_kept(SERVICES, kept) == {service: _read_model(service) for service in SERVICES}
    written = kept.stat()
    keep_all(SERVICES, kept)
    assert kept.stat().st_mtime_ns == written.st_mtime_ns
    assert 1 << 20 < written.st_size < 3 << 20


def test_what_was_kept_of_other_models_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "models.json"
    keep_all(["sts"], kept)
    assert _read_kept(["sts"], kept) and not _read_kept(["sts", "s3"], kept)
    other = tmp_path / "service-2.json"
    other.write_bytes(zlib.decompress(_files("sts")[0].read_bytes(), 31).replace(b"GetCallerIdentity", b"GetCaller"))
    monkeypatch.setattr(models, "_files", lambda service: [other])
    assert _read_kept(["sts"], kept) == {}
    keep_all(["sts"], kept)
    assert "GetCaller" in _model("sts", _read_kept(["sts"], kept)["sts"]).operation_names


@pytest.mark.parametrize("damage", [b"", b"{", b"\n{}", b"[]\n[]"])
def test_what_is_no_model_is_as_good_as_nothing(tmp_path: Path, damage: bytes) -> None:
    kept = tmp_path / "models.json"
    kept.write_bytes(damage)
    assert _read_kept(["sts"], kept) == {}
    keep_all(["sts"], kept)
    kept.write_bytes(kept.read_bytes()[:-100])
    assert _read_kept(["sts"], kept) == {}


LOAD = """
import sys
from pathlib import Path
from skylift.cloud.wire import models
if "alone" not in sys.argv:
    models._read_model = None
models.load_all(["sts"], Path(sys.argv[1]))
print(models.load("sts").operation("GetCallerIdentity").name)
"""
"""Fails if this process itself reads a model, but for `alone`."""


def loaded(kept: Path, *words: str) -> str:
    command = [sys.executable, "-c", LOAD, str(kept), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def parsed(model: dict[str, Any]) -> dict[str, Any]:
    """Two processes need not write members in the same order."""
    json_of = {
        part: {name: json.loads(text) for name, text in model[part].items()} for part in ("operations", "shapes")
    }
    return {**model, **json_of}


@pytest.mark.parametrize("before", [None, b"", b"[]\n[]", "half"])
def test_models_are_read_and_kept_by_another_process(tmp_path: Path, before: bytes | str | None) -> None:
    kept = tmp_path / "models.json"
    if before == "half":
        keep_all(["sts"], kept)
        before = kept.read_bytes()[:-100]
    if isinstance(before, bytes):
        kept.write_bytes(before)
    assert loaded(kept) == "GetCallerIdentity"
    assert parsed(_read_kept(["sts"], kept)["sts"]) == parsed(_read_model("sts"))
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_models_that_cannot_be_kept_are_read_here(tmp_path: Path) -> None:
    assert loaded(tmp_path / "missing" / "models.json", "alone") == "GetCallerIdentity"
    assert not list(tmp_path.iterdir())


def test_why_another_process_cannot_read_them_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert _read_by_another(["sts"], tmp_path / "missing" / "models.json") == {}
    (said,) = caplog.messages
    assert said.startswith("another process could not read AWS's models: FileNotFoundError: ")
    assert "\n" not in said


def test_nobody_waits_for_ever_for_another_process_to_read_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = tmp_path / "python"
    stuck.write_text("#!/bin/sh\nexec sleep 1000\n")
    stuck.chmod(0o755)
    monkeypatch.setattr(models.sys, "executable", str(stuck))
    monkeypatch.setattr(models, "_PATIENCE", 0.1)
    assert _read_by_another(["sts"], tmp_path / "models.json") == {}
    assert [(each.levelno, "timed out" in each.getMessage()) for each in caplog.records] == [(logging.WARNING, True)]


class Findings:
    """botocore's findings as values."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def report(self, name: str, reason: str, **details: Any) -> None:
        path = name.removeprefix(".")
        within = f"{path}." if path else ""
        match reason:
            case "missing required field":
                self.found.append(Problem("missing", within + details["required_name"]))
            case "unknown field":
                self.found.append(Problem("unknown", within + details["unknown_param"]))
            case "invalid length" | "invalid range":
                kind = reason.removeprefix("invalid ")
                self.found.append(Problem(kind, path, details["param"], details["min_allowed"]))
            case "empty input" | "more than one input":
                self.found.append(Problem("union", path))
            case _:
                self.found.append(Problem("type", path, details.get("param")))


def theirs(params: Any, shape: Any) -> list[Problem]:
    findings = Findings()
    cast(Any, ParamValidator())._validate(params, shape, findings, name="")
    return findings.found


WRONG = ("", "x", 0, -1, 1.5, True, [], ["x"], {}, {"Nothing": 1})


def spoiled(value: Any, chance: random.Random) -> Any:
    """With one thing in it changed, left out or added."""
    if isinstance(value, dict) and (not value or chance.random() < 0.9):
        name = chance.choice([*value, "Unheard"])
        if chance.random() < 0.3:
            return {key: inner for key, inner in value.items() if key != name}
        return value | {name: spoiled(value[name], chance) if name in value else "x"}
    if isinstance(value, list) and value and chance.random() < 0.8:
        return [spoiled(value[0], chance), *value[1:]]
    return chance.choice(WRONG)


def comparable(found: list[Problem]) -> list[tuple[str, str, str, Any]]:
    return sorted((one.kind, one.path, repr(one.value), one.minimum) for one in found)


@pytest.mark.parametrize("service", sorted({service for service, _ in OPERATIONS}))
def test_problems_are_those_that_botocore_finds(service: str) -> None:
    chance, values = random.Random(service), Chance(service)
    compared = 0
    for name in (name for each, name in OPERATIONS if each == service):
        shape, other = load(service).operation(name).input, botocore_service(service).operation_model(name).input_shape
        if shape is None:
            continue
        for turn in range(12):
            params = Values(values, turn, Chance.second, empties=True).make(other)
            for _ in range(chance.randint(0, 3)):
                params = spoiled(params, chance)
            if is_text_for_time(params, other) or not isinstance(params, dict):
                # botocore takes texts and numbers for timestamps; decoders make nothing but datetimes.
                continue
            found = problems(params, shape)
            assert comparable(found) == comparable(theirs(params, other)), (name, params)
            compared += len(found)
    assert compared


def is_text_for_time(value: Any, shape: Any) -> bool:
    """Whether something stands for a timestamp, or for bytes, that no decoder makes."""
    match shape.type_name:
        case "timestamp":
            return isinstance(value, (str, int, float))
        case "blob":
            return not isinstance(value, bytes)
        case "structure" if isinstance(value, dict):
            return any(
                is_text_for_time(each, shape.members[name]) for name, each in value.items() if name in shape.members
            )
        case "list" if isinstance(value, list):
            return any(is_text_for_time(each, shape.member) for each in value)
        case "map" if isinstance(value, dict):
            return any(is_text_for_time(each, shape.value) for each in value.values())
    return False

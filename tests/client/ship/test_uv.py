"""uv for images that have none: fetched once, known by its hash, the same as on servers here."""

from __future__ import annotations

import hashlib
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.agent_bench import Machine
from support.fetched_once import FetchedOnce
from support.leaf_package import PROGRAM
from support.shipped_job import Shipped

from skylift.catalogue.uv import VERSION, WHEELS, Wheel, download_argv
from skylift.client.errors import RunError
from skylift.client.job.job import Program
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.plan.plan_job import Order
from skylift.client.remote.api import Api
from skylift.client.ship import uv as client_uv
from skylift.client.ship.uv import ensure_uv

BUCKET = "skylift-123456789012-us-east-1"


def fetches(content: bytes, calls: list[int]) -> Callable[[Wheel, Path], Path]:
    def fetch(wheel: Wheel, folder: Path) -> Path:
        calls.append(1)
        file = folder / "uv-1-py3-none-any.whl"
        file.write_bytes(content)
        return file

    return fetch


def test_it_is_put_into_the_bucket_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_bucket(api, BUCKET)
    calls: list[int] = []
    monkeypatch.setattr(client_uv, "_download", fetches(b"wheel", calls))
    wheel = Wheel(("any",), hashlib.sha256(b"wheel").hexdigest())
    for _ in range(2):
        ensure_uv(api, BUCKET, wheel)
    assert calls == [1]
    assert api.get(BUCKET, wheel.key) == b"wheel"


def test_another_program_in_its_place_is_not_sent(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_bucket(api, BUCKET)
    monkeypatch.setattr(client_uv, "_download", fetches(b"something else", []))
    with pytest.raises(RunError, match="not the one that is known"):
        ensure_uv(api, BUCKET, WHEELS["arm64"])
    assert api.get(BUCKET, WHEELS["arm64"].key) is None


def test_an_index_that_does_not_give_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(RunError, match="No matching distribution") as caught:
        client_uv._download(WHEELS["x86_64"], tmp_path)
    assert "pip download uv" in caught.value.advice


def test_a_test_after_one_whose_download_failed_asks_again(tmp_path: Path) -> None:
    """The fixture `settings` has it for all of these tests: an index that was away for a moment fails one of them."""
    calls: list[int] = []

    def fails_once(wheel: Wheel, folder: Path) -> Path:
        found = fetches(b"wheel" if calls else b"whe", calls)(wheel, folder)
        if len(calls) == 1:
            raise RunError("The index is away.")
        return found

    once = FetchedOnce(fails_once, tmp_path)
    places = [tmp_path / name for name in ("first", "second", "third")]
    for place in places:
        place.mkdir()
    with pytest.raises(RunError, match="The index is away"):
        once.fetch(WHEELS["arm64"], places[0])
    assert [once.fetch(WHEELS["arm64"], place).read_bytes() for place in places[1:]] == [b"wheel", b"wheel"]
    assert calls == [1, 1]


def test_how_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = download_argv(WHEELS["arm64"], tmp_path)
    assert argv is not None
    assert argv[:4] == [sys.executable, "-P", "-m", "pip"]
    assert argv[-1] == f"uv=={VERSION}"
    assert "--platform=manylinux2014_aarch64" in argv
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/opt/{name}")
    assert (download_argv(WHEELS["arm64"], tmp_path) or [])[:6] == [
        "/opt/uv",
        "tool",
        "run",
        "--quiet",
        "pip",
        "download",
    ]


@pytest.fixture
def wheel(shipped: Shipped, uv: Machine) -> tuple[str, str]:
    """A wheel with the machine's uv in it, in the bucket; the machine itself has none any more. Key and hash."""
    path, program = uv.root / "uv.whl", uv.root / "tools" / "uv"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(program, "uv-1.data/scripts/uv")
    program.unlink()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    key = f"tools/{digest}/uv.whl"
    shipped.put(key, path.read_bytes())
    return key, digest


def run(shipped: Shipped, machine: Machine, key: str, digest: str) -> dict[str, Any]:
    (shipped.folder / "job.py").write_text(PROGRAM)
    (shipped.folder / "requirements.txt").write_text("leaf==2.0\n")
    shipped.ship_order(Order(Program("script", "job.py")), uv={"key": key, "sha256": digest})
    shipped.boot()
    machine.wait()
    return shipped.status()


def test_server_takes_it_from_the_bucket(shipped: Shipped, uv: Machine, wheel: tuple[str, str]) -> None:
    status = run(shipped, uv, *wheel)
    assert (status["state"], shipped.stream("stdout")) == ("succeeded", b"2.0 True\n"), uv.console()


def test_server_does_not_take_another(shipped: Shipped, uv: Machine, wheel: tuple[str, str]) -> None:
    status = run(shipped, uv, wheel[0], "0" * 64)
    assert (status["state"], status["exit_code"]) == ("broken", 125), uv.console()
    assert "not the wheel that the record names" in status["reason"]

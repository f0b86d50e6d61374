"""Environments that are kept in the bucket and taken from there, and what a program can do to them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.agent_bench import Machine
from support.leaf_package import PROGRAM, project
from support.shipped_job import Shipped

from skylift.agent.boot import PATIENCE
from skylift.agent.environment import prebuilt as supervisor
from skylift.client.job.job import Program
from skylift.client.plan.plan_job import Order, plan_job
from skylift.client.ship.prebuilt import EnvironmentPlace, builder_of, environment_statements, find_prebuilt
from skylift.client.ship.recipe import Recipe

PLACE = "envs/recipe/ami-1/me-0001"


@pytest.fixture
def seals(shipped: Shipped, uv: Machine) -> Any:
    def seal(prebuilt: EnvironmentPlace) -> dict[str, Any]:
        """A server of which an image is made, with nothing of an earlier job but what images have."""
        uv.kill()
        for each in ("job", ".skylift-venv"):
            shutil.rmtree(uv.home / each, ignore_errors=True)
        shutil.rmtree(uv.root / "var", ignore_errors=True)
        (uv.home / ".ssh").mkdir(exist_ok=True)
        (uv.home / ".ssh/authorized_keys").write_text("ssh-ed25519 AAAA of the builder's user")
        shipped.ship_order(Order(Program("command", "touch", ("ran",))), prebuilt=prebuilt.encode(), seal=True)
        shipped.boot()
        uv.wait()
        return shipped.status()

    return seal


@pytest.fixture
def boots(shipped: Shipped, uv: Machine) -> Any:
    def boot(prebuilt: EnvironmentPlace, *, without_uv: bool = False, **order: Any) -> dict[str, Any]:
        """One job after the other on the same machine, each with a home that is new but for its own files."""
        uv.kill()
        for each in ("job", ".skylift-venv"):
            shutil.rmtree(uv.home / each, ignore_errors=True)
        shutil.rmtree(uv.root / "var", ignore_errors=True)
        if without_uv:
            (uv.root / "tools/uv").unlink()
        shipped.ship_order(Order(Program("script", "job.py"), **order), prebuilt=prebuilt.encode())
        shipped.boot()
        uv.wait()
        return shipped.status()

    return boot


def pinned(shipped: Shipped) -> EnvironmentPlace:
    return EnvironmentPlace(PLACE, json.loads(shipped.read(f"{PLACE}/proven.json") or b"{}")["sha256"], proven=True)


def test_a_sealed_server_has_the_environment_and_no_program_has_run(
    shipped: Shipped, uv: Machine, boots: Any, seals: Any
) -> None:
    """It is as if it were an image: the next job on it, which is not a kept server's, finds what it needs."""
    (shipped.folder / "requirements.txt").write_text("leaf==1.0\n")
    (shipped.folder / "job.py").write_text(PROGRAM)
    assert boots(EnvironmentPlace(PLACE))["environment"] == "built"
    trusted = pinned(shipped)
    status = seals(trusted)
    assert (status["state"], status.get("started")) == ("succeeded", None), uv.console()
    assert not (uv.home / "job").exists()
    assert not (uv.home / ".ssh/authorized_keys").exists()
    shipped.put(f"{PLACE}/index.json", b"it is not read again")
    uv.kill()
    shipped.ship_order(Order(Program("script", "job.py")), prebuilt=trusted.encode())
    shipped.boot()
    uv.wait()
    assert (shipped.status()["state"], shipped.status()["environment"]) == ("succeeded", "imaged"), uv.console()
    assert shipped.stream("stdout") == b"1.0 True\n"


def test_a_server_is_not_sealed_with_another_environment_than_the_pinned_one(
    shipped: Shipped, uv: Machine, boots: Any, seals: Any
) -> None:
    """Nor is it built there, which would run what packages bring along."""
    (shipped.folder / "requirements.txt").write_text("leaf==1.0\n")
    (shipped.folder / "job.py").write_text(PROGRAM)
    boots(EnvironmentPlace(PLACE))
    trusted = pinned(shipped)
    pack = shipped.read(f"{PLACE}/pack-00000") or b""
    shipped.put(f"{PLACE}/pack-00000", pack.replace(b"VERSION = '1.0'", b"VERSION = '6.6'"))
    status = seals(trusted)
    assert (status["state"], status["exit_code"]) == ("broken", 125), uv.console()
    assert "cannot be had" in status["reason"]
    assert not (uv.home / ".skylift-venv").exists()
    assert not (uv.root / "var/lib/skylift/environment").exists()


HEADER = '# /// script\n# requires-python = ">=3.9"\n# dependencies = ["leaf<2"]\n# ///\n'


@pytest.mark.parametrize("kind", ["requirements", "header"])
def test_what_was_built_is_taken(shipped: Shipped, uv: Machine, boots: Any, kind: str) -> None:
    if kind == "requirements":
        (shipped.folder / "requirements.txt").write_text("leaf==1.0\n")
    (shipped.folder / "job.py").write_text((HEADER if kind == "header" else "") + PROGRAM)
    assert boots(EnvironmentPlace(PLACE))["environment"] == "built"
    status = boots(pinned(shipped), without_uv=True)
    assert (status["state"], status["environment"]) == ("succeeded", "taken"), uv.console()
    assert shipped.stream("stdout") == b"1.0 True\n"


def test_a_project_is_installed_beside_what_was_taken(shipped: Shipped, uv: Machine, boots: Any) -> None:
    """Resolved once: 2.0 is there by then, and what was kept says 1.0."""
    project(shipped.folder, "leaf")
    newer = uv.root / "packages/leaf-2.0-py3-none-any.whl"
    newer.rename(uv.root / "leaf-2.0-py3-none-any.whl")
    assert boots(EnvironmentPlace(PLACE))["environment"] == "built"
    (uv.root / "leaf-2.0-py3-none-any.whl").rename(newer)
    status = boots(pinned(shipped))
    assert (status["state"], status["environment"]) == ("succeeded", "taken"), uv.console()
    assert shipped.stream("stdout") == b"1.0 True\n"


COMPILED = """
import importlib.util, os, subprocess, sys
told = importlib.util.find_spec("leaf")
before = os.stat(told.cached)
import leaf
print(leaf.VERSION, before.st_ino == os.stat(told.cached).st_ino, flush=True)
# Python compares size and whole seconds, and this second may be that of the build.
open(told.origin, "w").write("VERSION = 'mine'  # and of another size")
subprocess.run([sys.executable, "-c", "import leaf; print(leaf.VERSION)"], check=True)
"""


def test_packages_come_with_bytecode_that_holds_until_their_source_is_changed(
    shipped: Shipped, uv: Machine, boots: Any
) -> None:
    """Python replaces what it finds stale, and compiles what it does not find: neither happens here."""
    (shipped.folder / "requirements.txt").write_text("leaf==1.0\n")
    (shipped.folder / "job.py").write_text(PROGRAM)
    assert boots(EnvironmentPlace(PLACE))["environment"] == "built"
    (shipped.folder / "job.py").write_text(COMPILED)
    status = boots(pinned(shipped))
    assert (status["state"], status["environment"]) == ("succeeded", "taken"), uv.console()
    assert shipped.stream("stdout") == b"1.0 True\nmine\n"


def test_bytecode_that_its_program_has_planted_is_not_kept(shipped: Shipped, uv: Machine, boots: Any) -> None:
    (shipped.folder / "requirements.txt").write_text("leaf==1.0\n")
    planting = "import importlib.util as u; open(u.find_spec('leaf').cached, 'wb').write(b'planted')\n"
    (shipped.folder / "job.py").write_text(planting)
    assert boots(EnvironmentPlace(PLACE))["state"] == "succeeded", uv.console()
    packs = [shipped.read(f"{PLACE}/pack-00000") or b"", shipped.read(f"{PLACE}/index.json") or b""]
    assert not any(b"planted" in pack for pack in packs)
    if not packs[1]:
        assert "the environment is not kept: " in uv.console()


def test_what_was_changed_in_the_bucket_is_built_anew(shipped: Shipped, uv: Machine, boots: Any) -> None:
    (shipped.folder / "requirements.txt").write_text("leaf==1.0\n")
    (shipped.folder / "job.py").write_text(PROGRAM)
    boots(EnvironmentPlace(PLACE))
    trusted = pinned(shipped)
    pack = shipped.read(f"{PLACE}/pack-00000") or b""
    assert b"VERSION = '1.0'" in pack
    shipped.put(f"{PLACE}/pack-00000", pack.replace(b"VERSION = '1.0'", b"VERSION = '6.6'"))
    status = boots(trusted)
    assert (status["state"], status["environment"]) == ("succeeded", "built"), uv.console()
    assert shipped.stream("stdout") == b"1.0 True\n"
    shipped.put(f"{PLACE}/index.json", b"{}")
    assert boots(trusted)["environment"] == "built"


def test_what_its_program_has_changed_is_not_kept(shipped: Shipped, uv: Machine, boots: Any) -> None:
    """Written down before the program starts, so that the change shows."""
    (shipped.folder / "requirements.txt").write_text("leaf==1.0\n")
    (shipped.folder / "job.py").write_text("import leaf\nopen(leaf.__file__, 'w').write('VERSION = 6.6')\n")
    boots(EnvironmentPlace(PLACE))
    kept = shipped.read(f"{PLACE}/index.json")
    if kept is None:
        assert "the environment is not kept: " in uv.console()
    else:
        # Sent before the program came to it.
        assert b"VERSION = '1.0'" in (shipped.read(f"{PLACE}/pack-00000") or b"")


def test_what_is_kept_has_less_patience_than_results(tmp_path: Path) -> None:
    """Both send at most so many parts at a time. When S3 takes none of an environment's, results still have to go."""
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv/library").write_bytes(b"x")
    sent: list[float] = []

    def put_file(key: str, file: Any, size: int, until: float) -> str:
        sent.append(until)
        return hashlib.sha256(file.read()).hexdigest()

    shelf: Any = SimpleNamespace(put_file=put_file, put=lambda *args, **how: True)
    login: Any = SimpleNamespace(home=tmp_path, uid=os.geteuid())
    environment = supervisor.PrebuiltEnvironment(
        shelf, {"place": "", "sha256": "", "shared": True}, login, [tmp_path / "venv"]
    )
    environment.write_down(None, 0)
    environment.keep()
    environment.stop(lambda: False)
    assert len(sent) == 1
    assert sent[0] < time.time() + PATIENCE / 2


def test_the_newest_that_is_whole_is_found(shipped: Shipped) -> None:
    api, bucket = shipped._api, shipped._bucket
    recipe, image = Recipe("abc", locked=True), "ami-1"

    def find(when: float = 0, recipe: Recipe = recipe) -> EnvironmentPlace:
        return find_prebuilt(api, bucket, recipe, image, when, "me")

    fresh = find()
    assert (fresh.place[:18], fresh.sha256) == ("envs/abc/ami-1/me-", "")
    for nonsense in (b"[1]", b'{"sha256": "00"}', b'{"sha256": [1]}', b"[" * 100_000, b"\xff", b"NaN"):
        shipped.put(f"{fresh.place}/proven.json", nonsense)
        shipped.put(f"{fresh.place}/index.json", b"{}")
        assert find().sha256 == "", "a program that is built may have written it"
    shipped._api.call("s3", "delete_object", Bucket=bucket, Key=f"{fresh.place}/index.json")
    digest = "0f" * 32
    shipped.put(f"{fresh.place}/proven.json", json.dumps({"sha256": digest}).encode())
    assert find().sha256 == "", "its files have not come yet"
    shipped.put(f"{fresh.place}/index.json", b"{}")
    assert find() == EnvironmentPlace(fresh.place, digest, proven=True)
    for name in ("proven.json", "pin.json", "index.json"):
        # Its role may write pack-*, at any time.
        shipped.put(f"{fresh.place}/pack-x/{name}", json.dumps({"sha256": "1f" * 32}).encode())
    assert find() == EnvironmentPlace(fresh.place, digest, proven=True)
    late = 4e9
    assert find(late) == EnvironmentPlace(fresh.place, digest, proven=True)
    assert find(late, Recipe("abc", locked=False)).sha256 == "", "what no lock decides is resolved anew some day"


def test_what_is_not_proven_is_only_for_who_has_built_it(shipped: Shipped) -> None:
    def find(builder: str) -> EnvironmentPlace:
        return find_prebuilt(shipped._api, shipped._bucket, Recipe("abc", locked=True), "ami-1", 0, builder)

    place, one, two = "envs/abc/ami-1/evil-1", "0f" * 32, "1f" * 32
    for name, content in (("index", {}), ("pin", {"sha256": one})):
        shipped.put(f"{place}/{name}.json", json.dumps(content).encode())
    assert find("evil").sha256 == "", "it is not told whether anything is proven"
    shipped.put(f"{place}/proven.json", b"{}")
    assert find("evil") == EnvironmentPlace(place, one)
    assert find("me").sha256 == ""
    assert find("me").place.startswith("envs/abc/ami-1/me-")
    shipped.put("envs/abc/ami-1/other-1/proven.json", json.dumps({"sha256": two}).encode())
    shipped.put("envs/abc/ami-1/other-1/index.json", b"{}")
    assert {find(each).sha256 for each in ("me", "evil")} == {two}, "what is proven comes first"


def test_an_old_layout_is_not_found(shipped: Shipped) -> None:
    for name in ("index", "pin"):
        shipped.put(f"envs/abc/ami-1/0001/{name}.json", json.dumps({"sha256": "0f" * 32}).encode())
    assert find_prebuilt(shipped._api, shipped._bucket, Recipe("abc", locked=True), "ami-1", 0, "me").sha256 == ""


def test_nothing_in_a_project_decides_who_builds(tmp_path: Path) -> None:
    for name in ("mine", "other", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "job.py").write_text("# /// script\n# dependencies = ['leaf']\n# ///\n")
    (tmp_path / "link").symlink_to("mine")

    def builder(script: str, cwd: str = ".", keys: str = "keys") -> str:
        order = Order(Program("script", str(tmp_path / script)))
        return builder_of(tmp_path / keys, plan_job(order, tmp_path / cwd, {}))

    mine = builder("mine/job.py", "mine")
    assert builder("link/job.py", "mine") == builder("mine/job.py") == builder("mine/job.py", "elsewhere") == mine
    assert builder("other/job.py", "elsewhere") not in (mine, builder("elsewhere/job.py", "elsewhere"))
    assert builder("mine/job.py", keys="of another user") != mine
    assert (tmp_path / "keys/builder").stat().st_mode & 0o777 == 0o600


def test_a_role_may_write_what_it_builds_and_read_what_it_takes() -> None:
    assert environment_statements(None, "b") == []
    (take,) = environment_statements(EnvironmentPlace(PLACE, "00"), "b")
    assert (take["Action"], take["Resource"]) == ("s3:GetObject", f"arn:aws:s3:::b/{PLACE}/*")
    once, rest = environment_statements(EnvironmentPlace(PLACE), "b")
    assert once["Condition"] == {"Null": {"s3:if-none-match": "false"}}
    assert once["Resource"] == [f"arn:aws:s3:::b/{PLACE}/proven.json", f"arn:aws:s3:::b/{PLACE}/pin.json"]
    assert rest["Resource"] == [f"arn:aws:s3:::b/{PLACE}/index.json", f"arn:aws:s3:::b/{PLACE}/pack-*"]

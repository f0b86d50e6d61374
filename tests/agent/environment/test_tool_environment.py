"""The environment of skylift's own programs: built by its lock, kept, taken, and nobody else's."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kept_prefix import KeptPrefix
from support.leaf_package import wheel

from skylift.agent.environment import tool_environment
from skylift.agent.environment.tool_environment import CannotMake, ToolEnvironment, pinned
from skylift.agent.environment.uv import Uv
from skylift.agent.job.outcome import Ended
from skylift.agent.lifecycle import preparation
from skylift.agent.lifecycle.preparation import Preparation
from skylift.agent.machine import console
from skylift.agent.machine.root_path import ROOT_PATH
from skylift.agent.remote.aws import Refused
from skylift.agent.remote.prefix import Prefix
from skylift.client.dask.tools import Tools, lock
from skylift.client.ship.prebuilt import EnvironmentPlace

PLACE = "envs/tools/ami-1/0001"


class Bucket:
    """All prefixes of one bucket, and the wheels of an index."""

    def __init__(self, folder: Path) -> None:
        self.prefixes: dict[str, KeptPrefix] = {}
        self.packages = folder / "packages"
        self.packages.mkdir()
        wheel(self.packages, "leaf", "1.0")
        (built,) = self.packages.iterdir()
        text = f"leaf==1.0 --hash=sha256:{hashlib.sha256(built.read_bytes()).hexdigest()}\n"
        self.sha256 = hashlib.sha256(text.encode()).hexdigest()
        self.prefix("tools/1").objects["requirements.txt"] = text.encode()

    def prefix(self, name: str) -> KeptPrefix:
        return self.prefixes.setdefault(name, KeptPrefix())

    def told(self, sha256: str = "", *, shared: bool = True) -> dict[str, Any]:
        environment = EnvironmentPlace(PLACE, sha256, shared).encode()
        return {"lock": {"key": "tools/1/requirements.txt", "sha256": self.sha256}, "environment": environment}

    @property
    def pin(self) -> str:
        return str(json.loads(self.prefix(PLACE).objects["proven.json"])["sha256"])


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket(tmp_path)


@pytest.fixture
def server(tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ToolEnvironment]:
    """A server's disk at the same path each time, empty."""
    monkeypatch.setattr(tool_environment, "FOLLOWING", 0.3)

    def boot(told: dict[str, Any], *, uv: bool = True, again: bool = False, **how: Any) -> ToolEnvironment:
        if not again:
            shutil.rmtree(tmp_path / "root", ignore_errors=True)
        env = {**os.environ, "UV_NO_INDEX": "1", "UV_FIND_LINKS": str(bucket.packages), "UV_PYTHON_DOWNLOADS": "never"}
        place = cast(Callable[[str], Prefix], bucket.prefix)
        path = os.environ["PATH"] + ":" + str(Path(sys.executable).parent) if uv else ""
        return ToolEnvironment(told, place, tmp_path / "root", Uv(None, fails, tmp_path, path), env, **how)

    return boot


def fails(key: str, place: Path) -> None:
    raise AssertionError(f"{key} was fetched")


def version(tools: ToolEnvironment) -> str:
    argv = [tools.python, "-I", "-c", "import leaf; print(leaf.VERSION)"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def kept(bucket: Bucket, tools: ToolEnvironment) -> None:
    """Wait for the upload, whose last part is the index."""
    import threading

    for each in threading.enumerate():
        if each.name == "environment":
            each.join(30)
    assert "index.json" in bucket.prefix(PLACE).objects


def test_it_is_built_by_the_first_server_and_taken_by_the_next(
    bucket: Bucket, server: Callable[..., ToolEnvironment]
) -> None:
    first = server(bucket.told())
    assert (first.make(), version(first)) == ("built", "1.0")
    kept(bucket, first)
    second = server(bucket.told(bucket.pin, shared=False), uv=False)
    assert (second.make(), version(second)) == ("taken", "1.0")
    follower = server(bucket.told(shared=False), uv=False)
    assert (follower.make(), version(follower)) == ("taken", "1.0")
    assert server(bucket.told(shared=False), uv=False, again=True).make() == "here"


def test_a_maps_output_gets_no_word_of_it(
    bucket: Bucket, server: Callable[..., ToolEnvironment], capfd: pytest.CaptureFixture[str]
) -> None:
    """Where a map's server makes it, standard output is the map's."""
    said = list[str]()
    tools = server(bucket.told(shared=False), say=said.append)
    assert tools.make() == "built"
    assert [each.partition(":")[0] for each in said] == ["no other server has built Dask's environment"]
    bucket.prefix(PLACE).objects["index.json"] = b"{}"
    damaged = server(bucket.told("0" * 64, shared=False), say=said.append)
    assert damaged.make() == "built"
    assert said[-1].endswith("cannot be taken: its index is not the one that the record names")
    assert capfd.readouterr() == ("", "")


def test_what_is_said_beside_a_jobs_output_is_on_the_console(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    screen = tmp_path / "console"
    monkeypatch.setattr(console, "CONSOLE", str(screen))
    console.write_to_console("nobody has one")
    screen.touch()
    console.write_to_console("one \udcff is odd")
    assert screen.read_text() == "skylift: one \\udcff is odd\n"
    assert capfd.readouterr() == ("", "")


def test_it_comes_with_bytecode_and_only_root_may_change_it(
    bucket: Bucket, server: Callable[..., ToolEnvironment], tmp_path: Path
) -> None:
    server(bucket.told()).make()
    home = tmp_path / "root" / tool_environment.PLACE
    assert list(home.glob("venv/lib/python*/site-packages/__pycache__/leaf.*.pyc"))
    assert not (home / "cache").exists()
    loose = [each for each in home.rglob("*") if not each.is_symlink() and each.stat().st_mode & stat.S_IWOTH]
    assert loose == []


def test_what_the_pin_does_not_name_is_built_anew(bucket: Bucket, server: Callable[..., ToolEnvironment]) -> None:
    first = server(bucket.told())
    first.make()
    kept(bucket, first)
    shelf = bucket.prefix(PLACE).objects
    shelf["pack-00000"] = shelf["pack-00000"].replace(b"VERSION = '1.0'", b"VERSION = '6.6'")
    second = server(bucket.told(bucket.pin, shared=False))
    assert (second.make(), version(second)) == ("built", "1.0")


def test_a_server_that_waits_in_vain_builds_for_itself_and_keeps_nothing(
    bucket: Bucket, server: Callable[..., ToolEnvironment]
) -> None:
    alone = server(bucket.told(shared=False))
    assert alone.make() == "built"
    assert bucket.prefix(PLACE).objects == {}


def test_a_server_that_was_lost_between_its_pin_and_its_files_is_not_waited_for_as_one_that_builds(
    bucket: Bucket, server: Callable[..., ToolEnvironment]
) -> None:
    bucket.prefix(PLACE).objects["proven.json"] = json.dumps({"sha256": "0" * 64}).encode()
    assert server(bucket.told(shared=False), patience=float("inf")).make() == "built"


def test_what_another_server_has_built_since_is_known_by_its_pin(
    bucket: Bucket, server: Callable[..., ToolEnvironment], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_environment, "PINNED", 0.3)
    place = cast(Callable[[str], Prefix], bucket.prefix)
    named = bucket.told()["environment"]
    assert pinned(named, place) == named
    first = server(bucket.told())
    first.make()
    kept(bucket, first)
    assert pinned(named, place) == {**named, "sha256": bucket.pin}
    for known in ({**named, "sha256": "0" * 64}, {**named, "alone": True}):
        assert pinned(known, place) == known


@pytest.mark.parametrize(("attempt", "taken"), [(1, False), (2, True)])
def test_a_map_that_goes_on_on_an_old_python_takes_what_was_built_before(
    bucket: Bucket,
    server: Callable[..., ToolEnvironment],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    attempt: int,
    taken: bool,
) -> None:
    """Such a server's coordinator cannot begin without it."""
    first = server(bucket.told())
    first.make()
    kept(bucket, first)
    shutil.rmtree(tmp_path / "root")
    monkeypatch.setattr(preparation, "OLDEST", (99, 0))
    monkeypatch.setattr(preparation, "Uv", lambda *_: Uv(None, fails, tmp_path, str(tmp_path)))
    context = SimpleNamespace(
        place=bucket.prefix, root=tmp_path / "root", login=SimpleNamespace(environment=lambda: {"PATH": ""})
    )
    status = SimpleNamespace(fields=SimpleNamespace(attempt=attempt), set=lambda **_: None)
    session: Any = SimpleNamespace(context=context, record=None, status=status)
    try:
        python = Preparation(session)._tools(bucket.told())
    except Ended as error:
        assert not taken, error.reason
    else:
        assert (taken, python) == (True, first.python)


def test_a_server_that_cannot_write_down_what_it_has_built_does_not_begin(
    bucket: Bucket, server: Callable[..., ToolEnvironment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its inputs may pin an environment as long as there is none: they would decide what other maps start."""
    shelf = bucket.prefix(PLACE)

    def refuse(*_: Any, **__: Any) -> bool:
        raise Refused(403, "no")

    with monkeypatch.context() as patch:
        patch.setattr(shelf, "put", refuse)
        with pytest.raises(CannotMake, match="cannot be written down"):
            server(bucket.told()).make()
    first = server(bucket.told())
    assert first.make() == "built"
    kept(bucket, first)
    # Another server was quicker: what is pinned is not this one's, and nobody's to change.
    assert (server(bucket.told()).make(), bucket.pin) == ("built", bucket.pin)


def test_the_users_uv_is_not_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root makes the environment while inputs run, which may write to the folders that their PATH begins with."""
    own = script(tmp_path / "home/.local/bin", "exit 1")
    monkeypatch.setenv("PATH", f"{own.parent}:{os.environ['PATH']}")
    assert Uv(None, fails, tmp_path / "tools").program() != str(own)


def test_what_uv_starts_is_not_the_users(bucket: Bucket, tmp_path: Path) -> None:
    own, told = tmp_path / "home/.local/bin", tmp_path / "told"
    uv = Uv(None, fails, tmp_path / "tools", str(script(tmp_path / "bin", f"echo $PATH >{told}; exit 1").parent))
    place, env = cast(Callable[[str], Prefix], bucket.prefix), {**os.environ, "PATH": f"{own}:{os.environ['PATH']}"}
    with pytest.raises(CannotMake):
        ToolEnvironment(bucket.told(), place, tmp_path / "root", uv, env).make()
    assert told.read_text().strip() == ROOT_PATH


def script(folder: Path, body: str) -> Path:
    """A uv that is none."""
    folder.mkdir(parents=True)
    made = folder / "uv"
    made.write_text(f"#!/bin/sh\n{body}\n")
    made.chmod(0o755)
    return made


def test_a_package_with_another_hash_is_refused(bucket: Bucket, server: Callable[..., ToolEnvironment]) -> None:
    (built,) = bucket.packages.iterdir()
    built.write_bytes(built.read_bytes() + b"\0")
    with pytest.raises(CannotMake, match=r"(?i)hash"):
        server(bucket.told()).make()
    assert bucket.prefix(PLACE).objects == {}


def test_another_list_than_the_records_is_refused(bucket: Bucket, server: Callable[..., ToolEnvironment]) -> None:
    bucket.prefix("tools/1").objects["requirements.txt"] += b"other\n"
    with pytest.raises(CannotMake, match="is not the one that the record names"):
        server(bucket.told()).make()


def test_the_lock_has_a_hash_for_each_package_and_names_no_index() -> None:
    text = lock().decode()
    packages = re.findall(r"^([a-z0-9-]+)==\S+", text, re.MULTILINE)
    assert "distributed" in packages
    assert not {"numpy", "pandas", "bokeh"} & set(packages)
    assert all("--hash=sha256:" in each for each in re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.MULTILINE) if each)
    assert "://" not in text


def test_a_server_that_waits_may_only_read() -> None:
    building = Tools(EnvironmentPlace(PLACE))
    actions = [each["Action"] for each in building.followed().statements("bucket")]
    assert actions == ["s3:GetObject"]
    assert {each["Sid"] for each in building.statements("bucket")} == {"WriteDownTools", "KeepTools"}


HOSTILE: list[list[list[Any]]] = [
    [["../owned", "f", 0o755, 1, 0]],
    [["venv", "d", 0o755], ["venv/../../owned", "f", 0o755, 1, 0]],
    [["/OUTSIDE/owned", "f", 0o755, 1, 0]],
    [["venv", "d", 0o755], ["venv/out", "l", "/OUTSIDE"], ["venv/out/owned", "f", 0o755, 1, 0]],
    [["venv", "l", "/OUTSIDE"], ["venv/owned", "f", 0o755, 1, 0]],
    [["venv", "l", "/OUTSIDE"], ["venv", "d", 0o755], ["venv/owned", "f", 0o755, 1, 0]],
    [["venv", "d", 0o755], ["venv", "l", "/OUTSIDE"], ["venv/owned", "f", 0o755, 1, 0]],
    [["../owned", "d", 0o777]],
    [["../outside", "d", 0o777]],
    [["../owned", "l", "venv"]],
    [["ready", "f", 0o644, 1, 0]],
    [["ready", "l", "/OUTSIDE/owned"]],
    [[".", "d", 0o777]],
    [["", "d", 0o777]],
    [["venv", "d", 0o755], ["venv/a/b", "f", 0o755, 1, 0]],
    [["venv", "d", 0o755], ["venv/a\0b", "f", 0o755, 1, 0]],
    [["venv", "d", 0o755], ["venv/a", "f", 0o755, 1, 0], ["venv/a", "f", 0o755, 1, 0]],
    [["venv", "d", 0o755], ["venv/a", "f", 0o4755, 1, 0]],
    [["venv", "d", 0o755], ["venv/a", "f", 0o755, -1, 0]],
    [["venv", "d", 0o755], ["venv/a", "f", 0o755, 1, "0"]],
    [["venv", "d"]],
    [["venv", "d", None]],
    [[1, "d", 0o755]],
    [["venv", "x", 0o755]],
    [["venv", "d", 0o755], ["venv/a", "l", 7]],
    [[]],
]


@pytest.mark.parametrize("entries", HOSTILE)
def test_an_index_that_leads_elsewhere_is_not_followed(
    bucket: Bucket, server: Callable[..., ToolEnvironment], tmp_path: Path, entries: list[list[Any]]
) -> None:
    """Root writes what it names. A pin proves who came first, and not that it was skylift."""
    outside = tmp_path / "root/var/lib/skylift/outside"
    home = tmp_path / "root" / tool_environment.PLACE
    told = json.loads(json.dumps(entries).replace("/OUTSIDE", str(outside)))
    index = {"home": str(home), "lock": None, "entries": told, "packs": [[0, 1, hashlib.sha256(b"x").hexdigest()]]}
    plant(bucket, json.dumps(index).encode())
    tools = server(bucket.told(bucket.pin, shared=False))
    outside.mkdir(parents=True, mode=0o700)
    assert (tools.make(), version(tools)) == ("built", "1.0")
    assert (list(outside.iterdir()), stat.S_IMODE(outside.stat().st_mode)) == ([], 0o700)
    assert sorted(each.name for each in home.parent.iterdir()) == ["dask", "outside"]
    assert stat.S_IMODE(home.stat().st_mode) == 0o755


@pytest.mark.parametrize(
    "index",
    [
        b"[]", b"{}", b"null", b"\xff", b"[" * 100_000, b'{"home": 1}',
        b'{"home": "HOME", "lock": null, "packs": []}',
        b'{"home": "HOME", "lock": null, "packs": [], "entries": {}}',
        b'{"home": "HOME", "lock": 1, "packs": [], "entries": []}',
        b'{"home": "HOME", "lock": null, "packs": [[0, 1]], "entries": []}',
        b'{"home": "HOME", "lock": null, "packs": [[-1, 1, ""]], "entries": []}',
        b'{"home": "HOME", "lock": null, "packs": 1, "entries": []}',
    ],
)  # fmt: skip
def test_an_index_that_is_none_is_not_followed(
    bucket: Bucket, server: Callable[..., ToolEnvironment], tmp_path: Path, index: bytes
) -> None:
    plant(bucket, index.replace(b"HOME", str(tmp_path / "root" / tool_environment.PLACE).encode()))
    tools = server(bucket.told(bucket.pin, shared=False))
    assert (tools.make(), version(tools)) == ("built", "1.0")


def plant(bucket: Bucket, index: bytes) -> None:
    """As the program of a map could where it has the right to write."""
    pin = json.dumps({"sha256": hashlib.sha256(index).hexdigest()}).encode()
    bucket.prefix(PLACE).objects.update({"proven.json": pin, "index.json": index, "pack-00000": b"x"})

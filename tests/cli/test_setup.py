"""Set-up where packages are missing: what is asked, said and run. Machines without them are made by an empty PATH."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from skylift.cli import setup as setup_room
from skylift.cli.image import open_packed
from skylift.cli.main import perform
from skylift.cli.setup import Setup, install_command
from skylift.client.errors import USAGE, RunError, UsageError
from skylift.cloud.compute.image.recipe import read_recipe
from skylift.cloud.compute.packages import PARTS, Package, missing_parts, packages
from skylift.cloud.state.home import Home, default_home

ABSENT = Package("a part of nothing", "no-such-package", programs=("no-such-program-anywhere",))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which one thing is missing, and for a cloud without root another one."""
    monkeypatch.setattr(
        "skylift.cloud.compute.packages.missing_parts",
        lambda parts=PARTS: [ABSENT, *(part for part in parts if part.package == "uidmap")],
    )


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put an apt-get of our own first on the PATH; returns the file in which it notes how it was called."""

    def install(body: str) -> Path:
        (tmp_path / "bin").mkdir()
        note = tmp_path / "note"
        program = tmp_path / "bin/apt-get"
        program.write_text(
            f"#!{sys.executable}\nimport os, sys\nprint(*sys.argv[1:], os.environ['DEBIAN_FRONTEND'], "
            f"file=open({str(note)!r}, 'a'))\n{body}\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        # Root looks for programs in places of root's only.
        monkeypatch.setattr("skylift.cloud.state.program.root_path", lambda path: path)
        monkeypatch.setattr(setup_room, "has_apt", lambda: True)
        return note

    return install


def test_every_part_names_its_package_and_how_it_is_found() -> None:
    assert all(part.package and (part.programs or part.files) for part in PARTS)
    assert missing_parts([ABSENT]) == [ABSENT]
    assert packages([*PARTS, *PARTS]) == packages(PARTS)


def test_any_of_several_programs_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "second-choice").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("skylift.cloud.state.program.root_path", lambda path: path)
    part = Package("either", "p", programs=("no-such-first-choice", "second-choice"))
    assert part.found() == str(tmp_path / "second-choice")


def test_the_install_command_names_each_package_once() -> None:
    assert install_command([ABSENT, ABSENT]) == [
        *("apt-get", "--quiet", "--yes", "--no-install-recommends", "install"),
        "no-such-package",
    ]


@pytest.mark.usefixtures("lacking")
def test_without_a_terminal_nothing_is_installed_and_the_command_is_said(
    home: Home, apt: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    note = apt("")
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        with pytest.raises(UsageError) as failure:
            Setup(home, yes=False, packages_only=True).run()
    assert "a part of nothing" in failure.value.message
    assert "sudo apt-get --quiet --yes --no-install-recommends install no-such-package" in failure.value.advice
    assert not note.exists()


@pytest.mark.usefixtures("lacking")
def test_without_root_what_is_missing_is_named_for_an_administrator(home: Home, apt: Callable[[str], Path]) -> None:
    note = apt("")
    with pytest.raises(UsageError, match="Missing: a part of nothing") as raised:
        Setup(home, yes=True, packages_only=False, rootless=True).run()
    assert raised.value.advice.startswith("An administrator can: apt-get ")
    assert raised.value.advice.endswith(" install no-such-package uidmap"), "all of them at once"
    assert not note.exists() and not home.is_rootless


def test_a_cloud_without_root_is_not_for_root(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skylift.cloud.compute.packages.missing_parts", lambda *_: [])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(UsageError, match="for a user who is not root"):
        Setup(home, yes=True, packages_only=False, rootless=True).run()


@pytest.mark.usefixtures("lacking")
def test_where_there_is_no_apt_the_packages_are_said(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup_room, "has_apt", lambda: False)
    with pytest.raises(UsageError) as failure:
        Setup(home, yes=True, packages_only=True).run()
    assert "no-such-package" in failure.value.advice


@pytest.mark.real
@pytest.mark.usefixtures("lacking")
def test_a_failed_installation_is_told_in_apts_words(home: Home, apt: Callable[[str], Path]) -> None:
    note = apt("if 'install' in sys.argv: sys.exit('E: Unable to locate package no-such-package')")
    with pytest.raises(RunError, match="E: Unable to locate package"):
        Setup(home, yes=True, packages_only=True).run()
    assert note.read_text().splitlines() == [
        "--quiet update noninteractive",
        "--quiet --yes --no-install-recommends install no-such-package noninteractive",
    ]


@pytest.mark.real
@pytest.mark.usefixtures("lacking")
def test_an_installation_that_does_not_bring_the_part_is_told(home: Home, apt: Callable[[str], Path]) -> None:
    apt("")
    with pytest.raises(RunError, match="Still missing after the installation: a part of nothing"):
        Setup(home, yes=True, packages_only=True).run()


def test_a_state_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be made") as failure:
        Setup(Home(tmp_path / "file/home"), yes=True, packages_only=True).run()
    assert "SKYLIFT_HOME" in failure.value.advice


@pytest.mark.parametrize("wanted", [True, False])
def test_a_start_at_boot_takes_systemd(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wanted: bool
) -> None:
    monkeypatch.setattr("skylift.place.unit.UNTIL_OFF", tmp_path / "none")
    with pytest.raises(UsageError, match="systemd does not run"):
        Setup(home, yes=True, packages_only=True, at_boot=wanted).run()
    assert not home.path.exists()


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    file = tmp_path / "image.tar.gz"
    file.write_bytes(b"an image")
    return file


DIGEST = hashlib.sha256(b"an image").hexdigest()


@pytest.mark.parametrize(
    "text", [DIGEST, DIGEST.upper(), f"sha256:{DIGEST}", f"{DIGEST}  image.tar.gz\n", f"{DIGEST} *image.tar.gz"]
)
def test_the_digest_of_an_image_is_taken_from_the_file_beside_it_or_as_it_is_given(packed: Path, text: str) -> None:
    (packed.parent / "image.tar.gz.sha256").write_text(text)
    assert open_packed(str(packed), None).digest == DIGEST
    given = "f" * 64
    assert open_packed(str(packed), given).digest == given


@pytest.mark.parametrize("text", ["", DIGEST[:-1], f"{DIGEST}0", "\x1b[31m", "none"])
def test_what_is_no_digest_is_refused(packed: Path, text: str) -> None:
    (packed.parent / "image.tar.gz.sha256").write_text(text)
    with pytest.raises(UsageError, match="is not a SHA-256 digest"):
        open_packed(str(packed), None)


def test_an_empty_digest_is_none_of_the_file_beside_it(packed: Path) -> None:
    """As `--digest "$DIGEST"` says where the variable is not set."""
    (packed.parent / "image.tar.gz.sha256").write_text(DIGEST)
    with pytest.raises(UsageError, match="is not a SHA-256 digest"):
        open_packed(str(packed), "")


def test_an_image_without_a_digest_or_a_file_is_refused(packed: Path) -> None:
    with pytest.raises(UsageError, match="There is no digest for") as refused:
        open_packed(str(packed), None)
    assert "--digest" in refused.value.advice
    for digest in (DIGEST, None):
        with pytest.raises(UsageError, match="There is no file"):
            open_packed(f"{packed}-gone", digest)


@pytest.mark.parametrize("options", [["--digest", DIGEST], ["--image", "image.tar.gz", "--packages-only"]])
def test_options_of_an_image_that_do_not_go_together_are_refused(options: list[str]) -> None:
    assert perform(["setup", *options]) == USAGE


def test_there_is_nothing_to_export_before_a_build(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SKYLIFT_HOME", str(home.path))
    monkeypatch.setenv("SKYLIFT_DATA", str(home.path / "data"))
    assert perform(["image", "export", str(home.path / "file")]) == USAGE
    assert "skylift setup" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["/", ".", "", "/proc/no-such-place"])
def test_an_image_that_cannot_be_read_or_has_no_name_is_refused(name: str) -> None:
    assert perform(["setup", "--image", name]) == USAGE
    assert perform(["setup", "--image", name, "--digest", DIGEST]) == USAGE


@pytest.fixture
def built(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("SKYLIFT_HOME", str(home.path))
    monkeypatch.setenv("SKYLIFT_DATA", str(home.path / "data"))
    images, recipe = default_home().data.images, read_recipe()
    (images / recipe.image_id / "root").mkdir(parents=True)
    about = {"id": recipe.image_id, "name": "", "description": "", "architecture": recipe.architecture, "size": 0}
    (images / f"{recipe.image_id}.json").write_text(json.dumps({**about, "created": "2026-01-01T00:00:00+00:00"}))
    return home


def test_an_export_takes_the_place_of_no_pipe_link_or_device(
    built: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("skylift.cli.image._pack", lambda _root, to: to.write(b"an image"))
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("/dev/stdout")
    assert [perform(["image", "export", str(each)]) for each in (pipe, link)] == [USAGE, USAGE]
    assert (pipe.is_fifo(), link.is_symlink()) == (True, True)
    for _ in range(2):
        assert perform(["image", "export", str(tmp_path / "file")]) == 0


def test_a_place_that_cannot_be_looked_at_cannot_be_written(built: Home, capsys: pytest.CaptureFixture[str]) -> None:
    """As a folder of another user's; root may look at any."""
    assert perform(["image", "export", "x" * 300]) == USAGE
    assert "cannot be written: File name too long" in capsys.readouterr().err


def test_it_is_said_that_a_file_is_not_needed(
    built: Home, packed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    taken: list[object] = []
    monkeypatch.setattr(Setup, "run", lambda self: taken.append(self._packed))
    assert perform(["setup", "--image", str(packed), "--digest", DIGEST]) == 0
    assert taken == [None]
    assert f"{packed} was not read" in capsys.readouterr().err


def test_an_image_of_roots_is_none_of_a_cloud_without_root(
    built: Home, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[object] = []
    monkeypatch.setattr(Setup, "run", lambda self: taken.append(self._packed))
    assert perform(["setup", "--rootless", "--image", str(packed), "--digest", DIGEST]) == 0
    assert taken != [None]


@pytest.mark.parametrize("arguments", [["image", "export", "file"], ["setup", "--image", "-", "--digest", DIGEST]])
def test_a_machine_that_no_image_is_for_is_told_so(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.setenv("SKYLIFT_HOME", str(home.path))
    monkeypatch.setattr("platform.machine", lambda: "sparc")
    assert perform(arguments) == USAGE
    assert "there is no image for sparc" in capsys.readouterr().err

"""The image for real: how it is built, what happens to a build that breaks off, and how a server made of it behaves."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from skylift.cloud.compute.image import image as module
from skylift.cloud.compute.image.apt_sources import build_options, debian_sources
from skylift.cloud.compute.image.image import (
    BuildFailed,
    DiskFull,
    MirrorUnreachable,
    built_images,
    default_image,
    ensure_image,
)
from skylift.cloud.compute.image.recipe import FOLDER, Recipe, read_recipe
from skylift.cloud.compute.image.stored import STORED, seen_from_inside
from skylift.cloud.state.data import Data
from skylift.cloud.state.home import Home
from skylift.cloud.state.person import calling_user

REPOSITORY = Path(__file__).parents[4]


def silent(fraction: float, text: str) -> None:
    pass


@pytest.fixture
def small(tmp_path: Path) -> Recipe:
    """A recipe with all of the steps and few of the packages."""
    folder = tmp_path / "recipe"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / "recipe.toml").read_text()
    text = re.sub(r"packages = \[.*?\n\]", 'packages = ["passwd"]', text, flags=re.DOTALL)
    (folder / "recipe.toml").write_text(text)
    return read_recipe(folder)


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path / "data" / "1000" / "cloud")


def test_the_same_recipe_is_the_same_image_and_any_change_is_another(small: Recipe) -> None:
    again = read_recipe(small.folder)
    assert (again.image_id, again.image_name) == (small.image_id, small.image_name)
    assert re.fullmatch(r"ami-[0-9a-f]{17}", small.image_id)
    assert small.image_id != read_recipe().image_id
    with (small.folder / "motd").open("a") as file:
        file.write("changed\n")
    assert read_recipe(small.folder).image_id != small.image_id


def test_every_file_of_the_recipe_is_used() -> None:
    recipe = read_recipe()
    used = {file.source.name for file in recipe.files} | {"recipe.toml", "finish.sh"}
    assert used == {path.name for path in FOLDER.iterdir() if path.is_file()}


def test_too_little_space_is_said_before_anything_is_done(data: Data, small: Recipe) -> None:
    with pytest.raises(DiskFull, match=r"are free.*SKYLIFT_DATA"):
        ensure_image(data, silent, replace(small, needs_mib=1 << 40))
    assert [path.name for path in data.images.iterdir()] == [".lock"]


def building(data: Data, recipe: Recipe) -> list[str]:
    code = (
        "import sys; from pathlib import Path; from skylift.cloud.state.data import Data\n"
        "from skylift.cloud.compute.image.image import ensure_image\n"
        "from skylift.cloud.compute.image.recipe import read_recipe\n"
        "ensure_image(Data(Path(sys.argv[1])), lambda f, t: print(t, flush=True), read_recipe(Path(sys.argv[2])))\n"
    )
    return [sys.executable, "-c", code, str(data.path), str(recipe.folder)]


@pytest.mark.real
def test_it_is_built_once_for_all_users_of_a_machine(data: Data, small: Recipe) -> None:
    """Who comes while it is built waits, says so, and has the same."""
    theirs = Data(data.path.parents[1] / "1001" / "default")
    how = {"stdout": subprocess.PIPE, "text": True, "cwd": REPOSITORY}
    with subprocess.Popen(building(data, small), **how) as first:  # type: ignore[call-overload]
        first.stdout.readline()
        second = subprocess.run(building(theirs, small), **how, check=True)  # type: ignore[call-overload]
        first.stdout.read()
    assert first.returncode == 0
    assert second.stdout == "waiting for another build to end\n"
    image = default_image(data, small)
    assert image is not None
    assert image == default_image(theirs, small)
    assert image.root.parent.parent == data.path.parents[1] / "images"
    assert (image.root.parent.stat().st_mode & 0o777, image.root.parent.stat().st_uid) == (0o700, 0)


@pytest.mark.real
def test_a_build_that_was_killed_is_repeated_by_the_next_one(data: Data, small: Recipe, tmp_path: Path) -> None:
    command, temporary = building(data, small), tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env=environment) as build:
        assert build.stdout is not None
        for line in build.stdout:
            if "unpacking" in line:
                build.kill()
                break
        build.stdout.read()
    assert build.returncode == -signal.SIGKILL
    assert list(temporary.iterdir()) == []
    assert [path.name for path in data.images.glob(".building-*")] == [f".building-{small.image_id}"]
    assert default_image(data, small) is None
    # A user with a umask like this one builds the image of all. It waits for the lock, which the killed build's
    # processes hold until the last of them has gone.
    before = os.umask(0o077)
    try:
        image = ensure_image(data, silent, small)
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    modes = {".": 0o755, "etc": 0o755, "usr/lib/skylift": 0o755, "etc/passwd": 0o644}
    modes |= {each.path.lstrip("/"): each.mode for each in small.files}
    assert {place: (image.root / place).stat().st_mode & 0o777 for place in modes} == modes
    assert (data.images / f"{image.id}.json").stat().st_mode & 0o777 == 0o644
    assert not list(data.images.glob(".building-*"))
    assert built_images(data) == [image] == [default_image(data, small)]
    assert str(data.images) not in Path("/proc/self/mountinfo").read_text()
    assert (image.root / "usr/local/bin/uv").stat().st_mode & 0o777 == 0o755
    assert not list(image.root.glob("etc/ssh/ssh_host_*"))
    began = (image.root / "etc/passwd").stat().st_mtime_ns
    assert ensure_image(data, silent, small) == image
    assert (image.root / "etc/passwd").stat().st_mtime_ns == began


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that takes the beginning of a build and no more."""
    place = tmp_path / "small-disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.real
def test_a_disk_that_fills_up_is_said_and_nothing_is_left(full_disk: Path, small: Recipe) -> None:
    data = Data(full_disk / "1000" / "cloud")
    with pytest.raises(DiskFull, match="not enough disk space"):
        ensure_image(data, silent, replace(small, needs_mib=1))
    assert {path.name for path in data.images.iterdir()} == {".lock", f"build-{calling_user().uid}.log"}
    assert built_images(data) == []


@pytest.mark.real
def test_a_package_that_is_not_there_fails_with_the_last_lines_of_the_log(data: Data, small: Recipe) -> None:
    with pytest.raises(BuildFailed, match="no-such-package-anywhere") as failure:
        ensure_image(data, silent, replace(small, packages=("no-such-package-anywhere",)))
    assert failure.value.log is not None
    assert "no-such-package-anywhere" in failure.value.log.read_text()
    assert not list(data.images.glob("*ami-*"))


@pytest.mark.real
def test_a_mirror_that_does_not_answer_is_named(data: Data, small: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(MirrorUnreachable, match="cannot be downloaded"):
        ensure_image(data, silent, small)


@pytest.mark.real
def test_no_password_is_in_an_image_its_log_or_an_argument(
    data: Data, small: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every user of the machine has the image. A mirror and a proxy of this one's take a password."""
    secret, commands = "s3cret-w0rd", list[list[str]]()

    def noted(root: Path, argv: list[str]) -> list[str]:
        commands.append(argv)
        return seen_from_inside(root, argv)

    entries = debian_sources(small.release)
    assert entries is not None
    sources = re.sub("(https?://)", rf"\1me:{secret}@", entries)
    option = f'Acquire::http::Proxy::nowhere.example.test "http://me:{secret}@proxy.example.test:3128";'
    monkeypatch.setattr(module, "debian_sources", lambda _release: sources)
    monkeypatch.setattr(module, "build_options", lambda: [*build_options(), option])
    monkeypatch.setattr(module, "seen_from_inside", noted)
    image = ensure_image(data, silent, small)
    assert [argv[0] for argv in commands] == ["mmdebstrap", "chroot"]
    texts = [" ".join(argv) for argv in commands]
    texts += [path.read_text() for path in image.root.glob("etc/apt/**/*") if path.is_file() and path.suffix != ".gpg"]
    texts += [path.read_text() for path in [*image.root.parent.glob("*.*"), *data.images.glob("*.log")]]
    assert not [text for text in texts if secret in text]
    kept = (image.root / "etc/apt/sources.list.d/debian.sources").read_text()
    assert kept == entries
    assert "99mmdebstrap" not in {path.name for path in image.root.glob("etc/apt/apt.conf.d/*")}


@pytest.mark.real
def test_the_default_image_holds_what_a_person_expects(image_home: Home) -> None:
    image = default_image(image_home.data)
    assert image is not None
    assert "not an AWS image" in image.description
    assert image.size < 600 << 20
    commands = [
        "python",
        "pip",
        "uv",
        "sshd",
        "sudo",
        "rsync",
        "curl",
        "wget",
        "aws",
        "ip",
        "ps",
        "less",
        "nano",
        "tini",
    ]
    script = "for name; do command -v $name >/dev/null || echo $name; done; python -c 'import venv, yaml'"
    path = "PATH=/usr/sbin:/usr/bin:/usr/local/bin"
    chroot = seen_from_inside(image.root, ["unshare", "--net", "chroot", str(image.root), "env", "-i", path])
    done = subprocess.run([*chroot, "sh", "-c", script, "sh", *commands], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    entry = subprocess.run([*chroot, "getent", "shadow", "ec2-user"], capture_output=True, text=True, check=True)
    assert entry.stdout.split(":")[1] == "!"
    checked = subprocess.run([*chroot, "visudo", "-cq"], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.real
def test_nothing_in_an_image_is_the_hosts_roots_or_any_users(image_home: Home) -> None:
    """It is full of programs that become their owner: sudo, su, passwd."""
    image = default_image(image_home.data)
    assert image is not None
    files = [image.root, *image.root.rglob("*")]
    found = {number for file in files for number in (file.lstat().st_uid, file.lstat().st_gid)}
    assert min(found) == STORED
    assert max(found) < STORED + 65536
    assert (image.root / "usr/bin/sudo").stat().st_mode & 0o7777 == 0o4755
    assert image.root.parent.stat().st_mode & 0o777 == 0o700
    command = ["stat", "--format=%u %g %a", str(image.root / "usr/bin/sudo"), str(image.root / "etc/shadow")]
    seen = subprocess.run(seen_from_inside(image.root, command), capture_output=True, text=True, check=True).stdout
    assert seen == "0 0 4755\n0 42 640\n"

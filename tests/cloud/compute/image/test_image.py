"""The image for real: how it is built, what happens to a build that breaks off, and how a server made of it behaves."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from skylift.cloud.compute.image import image as module
from skylift.cloud.compute.image.apt_sources import build_options, debian_sources
from skylift.cloud.compute.image.image import (
    BuildFailed,
    BuiltImage,
    MirrorUnreachable,
    NoRoomForImage,
    built_images,
    default_image,
    ensure_image,
)
from skylift.cloud.compute.image.recipe import FOLDER, ImageRecipe, read_recipe
from skylift.cloud.compute.image.stored import STORED, seen_from_inside
from skylift.cloud.state.data import Data
from skylift.cloud.state.home import Home
from skylift.cloud.state.person import calling_user

REPOSITORY = Path(__file__).parents[4]


def silent(fraction: float, text: str) -> None:
    pass


@pytest.fixture
def small(tmp_path: Path) -> ImageRecipe:
    return small_recipe(tmp_path)


def small_recipe(place: Path) -> ImageRecipe:
    """All of the steps and few of the packages."""
    folder = place / "recipe"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / "recipe.toml").read_text()
    text = re.sub(r"packages = \[.*?\n\]", 'packages = ["passwd"]', text, flags=re.DOTALL)
    (folder / "recipe.toml").write_text(text)
    return read_recipe(folder)


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path / "data" / "1000" / "cloud")


def test_the_same_recipe_is_the_same_image_and_any_change_is_another(small: ImageRecipe) -> None:
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


def test_too_little_space_is_said_before_anything_is_done(data: Data, small: ImageRecipe) -> None:
    with pytest.raises(NoRoomForImage, match=r"are free.*SKYLIFT_DATA"):
        ensure_image(data, silent, replace(small, needs_mib=1 << 40))
    assert [path.name for path in data.images.iterdir()] == [".lock"]


def building(data: Data, recipe: ImageRecipe) -> list[str]:
    code = (
        "import sys; from pathlib import Path; from skylift.cloud.state.data import Data\n"
        "from skylift.cloud.compute.image.image import ensure_image\n"
        "from skylift.cloud.compute.image.recipe import read_recipe\n"
        "ensure_image(Data(Path(sys.argv[1])), lambda f, t: print(t, flush=True), read_recipe(Path(sys.argv[2])))\n"
    )
    return [sys.executable, "-c", code, str(data.path), str(recipe.folder)]


@dataclass(frozen=True)
class Story:
    """A build that was killed, the build that came next, and a third that began during it: one whole build for all."""

    data: Data
    theirs: Data
    """Of another user of this machine."""
    recipe: ImageRecipe
    image: BuiltImage
    umask: int
    """After the build: before it, it was 077."""
    second: subprocess.CompletedProcess[str]
    commands: list[list[str]]
    entries: str
    """The machine's own package sources, without the password that the build was given."""


SECRET = "s3cret-w0rd"


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    place = tmp_path_factory.mktemp("story")
    recipe = small_recipe(place)
    data, theirs = Data(place / "data/1000/cloud"), Data(place / "data/1001/default")
    kill_a_build(data, recipe, place / "temporary")
    commands, others = list[list[str]](), list[subprocess.Popen[str]]()

    def noted(root: Path, argv: list[str]) -> list[str]:
        commands.append(argv)
        return seen_from_inside(root, argv)

    def begin_second(fraction: float, text: str) -> None:
        """As soon as this one has the lock."""
        if not text.startswith("waiting") and not others:
            others.append(subprocess.Popen(building(theirs, recipe), stdout=subprocess.PIPE, text=True, cwd=REPOSITORY))

    entries = debian_sources(recipe.release)
    assert entries is not None
    sources = re.sub("(https?://)", rf"\1me:{SECRET}@", entries)
    option = f'Acquire::http::Proxy::nowhere.example.test "http://me:{SECRET}@proxy.example.test:3128";'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "debian_sources", lambda _release: sources)
        patch.setattr(module, "build_options", lambda: [*build_options(), option])
        patch.setattr(module, "seen_from_inside", noted)
        # A user with a umask like this one builds the image of all. It waits for the lock, which the killed build's
        # processes hold until the last of them has gone.
        before = os.umask(0o077)
        try:
            image = ensure_image(data, begin_second, recipe)
        finally:
            umask = os.umask(before)
    (other,) = others
    output, _ = other.communicate()
    second = subprocess.CompletedProcess(other.args, other.returncode, output)
    yield Story(data, theirs, recipe, image, umask, second, commands, entries)
    shutil.rmtree(place)


def kill_a_build(data: Data, recipe: ImageRecipe, temporary: Path) -> None:
    """In the middle: what it leaves is the next one's to remove."""
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    command = building(data, recipe)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env=environment) as build:
        assert build.stdout is not None
        for line in build.stdout:
            if "unpacking" in line:
                build.kill()
                break
        build.stdout.read()
    assert build.returncode == -signal.SIGKILL
    assert list(temporary.iterdir()) == []
    assert [path.name for path in data.images.glob(".building-*")] == [f".building-{recipe.image_id}"]
    assert default_image(data, recipe) is None


@pytest.mark.real
def test_it_is_built_once_for_all_users_of_a_machine(story: Story) -> None:
    """Who comes while it is built waits, says so, and has the same."""
    assert (story.second.returncode, story.second.stdout) == (0, "waiting for another build to end\n")
    image = default_image(story.data, story.recipe)
    assert image == story.image == default_image(story.theirs, story.recipe)
    assert image.root.parent.parent == story.data.path.parents[1] / "images"
    assert (image.root.parent.stat().st_mode & 0o777, image.root.parent.stat().st_uid) == (0o700, 0)


@pytest.mark.real
def test_a_build_that_was_killed_is_repeated_by_the_next_one(story: Story) -> None:
    data, recipe, image = story.data, story.recipe, story.image
    assert story.umask == 0o077
    modes = {".": 0o755, "etc": 0o755, "usr/lib/skylift": 0o755, "etc/passwd": 0o644}
    modes |= {each.path.lstrip("/"): each.mode for each in recipe.files}
    assert {place: (image.root / place).stat().st_mode & 0o777 for place in modes} == modes
    assert (data.images / f"{image.id}.json").stat().st_mode & 0o777 == 0o644
    assert not list(data.images.glob(".building-*"))
    assert built_images(data) == [image] == [default_image(data, recipe)]
    assert str(data.images) not in Path("/proc/self/mountinfo").read_text()
    assert (image.root / "usr/local/bin/uv").stat().st_mode & 0o777 == 0o755
    assert not list(image.root.glob("etc/ssh/ssh_host_*"))
    began = (image.root / "etc/passwd").stat().st_mtime_ns
    assert ensure_image(data, silent, recipe) == image
    assert (image.root / "etc/passwd").stat().st_mtime_ns == began


@pytest.mark.real
def test_no_password_is_in_an_image_its_log_or_an_argument(story: Story) -> None:
    """Every user of the machine has the image. A mirror and a proxy of this one's take a password."""
    image = story.image
    assert [argv[0] for argv in story.commands] == ["mmdebstrap", "chroot"]
    texts = [" ".join(argv) for argv in story.commands]
    texts += [path.read_text() for path in image.root.glob("etc/apt/**/*") if path.is_file() and path.suffix != ".gpg"]
    texts += [path.read_text() for path in [*image.root.parent.glob("*.*"), *story.data.images.glob("*.log")]]
    assert not [text for text in texts if SECRET in text]
    kept = (image.root / "etc/apt/sources.list.d/debian.sources").read_text()
    assert kept == story.entries
    assert "99mmdebstrap" not in {path.name for path in image.root.glob("etc/apt/apt.conf.d/*")}


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
def test_a_disk_that_fills_up_is_said_and_nothing_is_left(full_disk: Path, small: ImageRecipe) -> None:
    data = Data(full_disk / "1000" / "cloud")
    with pytest.raises(NoRoomForImage, match="not enough disk space"):
        ensure_image(data, silent, replace(small, needs_mib=1))
    assert {path.name for path in data.images.iterdir()} == {".lock", f"build-{calling_user().uid}.log"}
    assert built_images(data) == []


@pytest.mark.real
def test_a_package_that_is_not_there_fails_with_the_last_lines_of_the_log(data: Data, small: ImageRecipe) -> None:
    with pytest.raises(BuildFailed, match="no-such-package-anywhere") as failure:
        ensure_image(data, silent, replace(small, packages=("no-such-package-anywhere",)))
    assert failure.value.log is not None
    assert "no-such-package-anywhere" in failure.value.log.read_text()
    assert not list(data.images.glob("*ami-*"))


@pytest.mark.real
def test_a_mirror_that_does_not_answer_is_named(
    data: Data, small: ImageRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(MirrorUnreachable, match="cannot be downloaded"):
        ensure_image(data, silent, small)


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

"""The default image: a Debian root directory, built once on this machine and kept for all of its clouds.

A build happens in a separate directory that is renamed at the end. It holds a lock, which its child processes hold too,
so that two builds never collide. The next build removes what a killed one left. A second process waits, and then finds
the image that the first has built. See unneeded.py for when an image is removed.

ImageError
+-- BuildToolMissing    mmdebstrap or another program is not installed
+-- MirrorUnreachable   packages cannot be downloaded
+-- NoRoomForImage            no space left, before or in the middle of a build
+-- WrongImage          the file is not an image for this version and machine, or was changed
+-- BuildFailed         anything else; carries the last lines of the log
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from skylift.cloud.compute.image.apt_sources import build_options, debian_sources
from skylift.cloud.compute.image.packed import NotTheImage, PackedImage, unpack_command
from skylift.cloud.compute.image.recipe import ImageRecipe, read_recipe
from skylift.cloud.compute.image.stored import seen_from_inside
from skylift.cloud.compute.image.uv import ProgramUnavailable, fetch_uv
from skylift.cloud.state.data import Data, open_for_user
from skylift.cloud.state.durable import make_directory, replace_file
from skylift.cloud.state.person import calling_user
from skylift.cloud.state.program import apt_environment, own_environment
from skylift.cloud.state.rootless import STORED

Progress = Callable[[float, str], None]
"""Called with the share that is done (0 to 1) and the step."""


class ImageError(Exception):
    """There is no image to start servers from. `log` is the file with all output of the build, if it began."""

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log


class BuildToolMissing(ImageError):
    """A program that builds are made with is not there."""


class MirrorUnreachable(ImageError):
    """A package mirror or index did not answer."""


class NoRoomForImage(ImageError):
    """The data directory's file system has too little space."""


class WrongImage(ImageError):
    """The file that an image was to come from does not have it."""


class BuildFailed(ImageError):
    """A step of the build failed."""


@dataclass(frozen=True)
class BuiltImage:
    """An image that is there. `root` is its root directory, `size` what that takes on disk in bytes."""

    id: str
    name: str
    description: str
    architecture: Literal["x86_64", "arm64"]
    created: datetime
    size: int
    root: Path


def built_images(data: Data) -> list[BuiltImage]:
    """Every image for this cloud, oldest first: the machine's images, and the images that an earlier version built for
    this user, from which servers may have been started.
    """
    found = {file.name: file for place in (data.user_images, data.images) for file in place.glob("ami-*.json")}
    return sorted(map(_read, found.values()), key=lambda image: image.created)


def default_image(data: Data, recipe: ImageRecipe | None = None) -> BuiltImage | None:
    """The image of this version's recipe, if it has been built."""
    file = data.images / f"{(recipe or read_recipe()).image_id}.json"
    return _read(file) if file.exists() else None


def claim_image(data: Data, recipe: ImageRecipe | None = None) -> bool:
    """Whether the image of this version's recipe is there for all. If so, no other cloud removes it until this cloud
    has had time to say that it needs it.
    """
    try:
        os.utime(data.images / f"{(recipe or read_recipe()).image_id}.json")
    except FileNotFoundError:
        return False
    return True


def ensure_image(
    data: Data, progress: Progress, recipe: ImageRecipe | None = None, packed: PackedImage | None = None
) -> BuiltImage:
    """The image of this version's recipe, built now if it is not there (about half a minute; needs root), or taken
    from a file."""
    recipe = recipe or read_recipe()
    manifest = data.images / f"{recipe.image_id}.json"
    if not claim_image(data, recipe):
        data.images.mkdir(parents=True, exist_ok=True)
        # Root builds; users look whether there is one, and no further.
        data.images.chmod(0o711)
        with one_builder(data, progress) as lock:
            for left in data.images.glob(".building-*"):
                remove_tree(left)
            if not claim_image(data, recipe):
                remove_tree(manifest.with_suffix(""))
                return Build(data, recipe, progress, lock, packed).run()
    return _read(manifest)


def remove_tree(tree: Path) -> None:
    """rm(1) copes with any depth. Python calls a function in each other for each folder before 3.13."""
    command = ["rm", "--recursive", "--force", "--one-file-system", "--", str(tree)]
    subprocess.run(command, env=own_environment(), check=False)


@contextmanager
def _usual_umask() -> Iterator[None]:
    """Files in an image are for the server's users. The caller's umask may be stricter than they need."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


class Build:
    """One build of one image, under the lock."""

    def __init__(
        self, data: Data, recipe: ImageRecipe, progress: Progress, lock: int, packed: PackedImage | None
    ) -> None:
        self._data = data
        self._recipe = recipe
        self._progress = progress
        self._lock = lock
        self._packed = packed
        self._place = data.images / f".building-{recipe.image_id}"
        self._root = self._place / "root"
        self._log = data.images / f"build-{calling_user().uid}.log"
        """There is one log a user, because it may name the user's mirrors and proxies."""

    def run(self) -> BuiltImage:
        self._require_space()
        with _usual_umask():
            return self._build()

    def _build(self) -> BuiltImage:
        # For root alone: the image has set-uid programs, which run as its root no matter who starts them.
        self._place.mkdir(mode=0o700)
        self._root.mkdir(mode=0o755)
        self._give(self._root)
        try:
            if self._packed is not None:
                self._unpack(self._packed)
            else:
                self._install_packages()
                self._add_uv()
                self._add_files()
                self._finish()
            return self._keep()
        except NotTheImage as error:
            raise WrongImage(f"The file is not the image: {error}.") from error
        except ProgramUnavailable as error:
            raise MirrorUnreachable(str(error), self._log) from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._disk_full() from error
            raise
        finally:
            remove_tree(self._place)

    def _require_space(self) -> None:
        free = shutil.disk_usage(self._data.images).free >> 20
        if free < self._recipe.needs_mib:
            raise self._disk_full()

    def _unpack(self, packed: PackedImage) -> None:
        copy = self._place / "image.tar.gz"
        self._progress(0.1, "checking the file")
        packed.copy_to(copy, self._recipe.image_id)
        self._progress(0.3, "unpacking the image")
        self._inside(unpack_command(copy, self._root), lambda line: None)
        copy.unlink()

    def _install_packages(self) -> None:
        # In a file: everybody can read the arguments of a process, and a proxy may have a password.
        options = self._place / "apt.conf"
        options.write_text("".join(f"{option}\n" for option in ('Acquire::Languages "none";', *build_options())))
        command = [
            *("mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", "--verbose"),
            f"--include={','.join(self._recipe.packages)}",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in self._recipe.exclude),
            *(f"--dpkgopt=path-include={pattern}" for pattern in self._recipe.include),
            f"--aptopt={options}",
            *(self._recipe.release, str(self._root)),
        ]
        sources = debian_sources(self._recipe.release)
        if sources is not None:
            file = self._place / "debian.sources"
            file.write_text(sources)
            command.append(str(file))
        meter = BuildMeter(self._recipe.expected, self._progress)
        # If mmdebstrap is killed, it leaves files. The next build removes this place.
        temporary = self._place / "tmp"
        temporary.mkdir()
        self._inside(command, meter.line, TMPDIR=str(temporary))
        shutil.rmtree(temporary)
        if sources is not None:
            lists = self._root / "etc/apt/sources.list.d"
            for file in lists.iterdir():
                file.unlink()
            # All users' servers start from it.
            (lists / "debian.sources").write_text(re.sub(r"(https?://)[^/\s]*@", r"\1", sources))
            self._give(lists / "debian.sources")

    def _add_uv(self) -> None:
        self._progress(0.92, "downloading uv")
        fetch_uv(self._recipe.uv, self._root / "usr/local/bin")
        self._give(self._root / "usr/local/bin/uv")

    def _add_files(self) -> None:
        for file in self._recipe.files:
            place = self._root / file.path.lstrip("/")
            for directory in make_directory(place.parent, 0o755):
                self._give(directory)
            place.unlink(missing_ok=True)
            shutil.copyfile(file.source, place)
            self._give(place)
            place.chmod(file.mode)
        for link, target in self._recipe.links.items():
            place = self._root / link.lstrip("/")
            place.unlink(missing_ok=True)
            place.symlink_to(target)
            self._give(place)

    def _give(self, path: Path) -> None:
        """Give files that we make in the image to the image's root."""
        os.chown(path, STORED, STORED, follow_symlinks=False)

    def _finish(self) -> None:
        self._progress(0.95, "finishing")
        script = self._root / "finish.sh"
        shutil.copyfile(self._recipe.folder / "finish.sh", script)
        self._inside(["chroot", str(self._root), "/bin/sh", "/finish.sh"], lambda line: None)
        script.unlink()

    def _keep(self) -> BuiltImage:
        self._progress(0.97, "writing to disk")
        recipe = self._recipe
        image = BuiltImage(
            id=recipe.image_id,
            name=recipe.image_name,
            description=recipe.description,
            architecture=recipe.architecture,
            created=datetime.now(UTC).replace(microsecond=0),
            size=_disk_use(self._root),
            root=self._data.images / recipe.image_id / "root",
        )
        for file in ("debian.sources", "apt.conf"):
            (self._place / file).unlink(missing_ok=True)
        _sync(self._place)
        self._place.rename(image.root.parent)
        # Last, and as a whole: where it is, all is.
        replace_file(self._data.images / f"{image.id}.json", _write(image).encode(), 0o644)
        self._progress(1.0, "built")
        return image

    def _inside(self, command: list[str], line: Callable[[str], None], **more: str) -> None:
        """Run a command that works in the root directory, with `more` in its environment.

        It holds the lock too, so that a build that comes next waits until the last of it is gone.
        """
        whole = seen_from_inside(self._root, command)
        with os.fdopen(open_for_user(self._log, calling_user().uid), "a") as log:
            log.write(f"\n{datetime.now(UTC):%F %T} {' '.join(command)}\n")
            log.flush()
            try:
                process = subprocess.Popen(
                    whole,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    env=apt_environment(**more),
                    pass_fds=[self._lock],
                )
            except FileNotFoundError as error:
                raise BuildToolMissing(f"{error.filename} is not installed") from error
            with process:
                assert process.stdout is not None
                output = []
                try:
                    for text in process.stdout:
                        log.write(text)
                        output.append(text.rstrip())
                        line(text)
                except BaseException:
                    process.kill()
                    raise
        if process.returncode != 0:
            raise self._failure(command[0], process.returncode, output)

    def _failure(self, program: str, code: int, output: list[str]) -> ImageError:
        text = "\n".join(output)
        if code == 127 or (code == 1 and re.search(r"failed to execute \S+: No such file", text)):
            return BuildToolMissing(f"{program} is not installed", self._log)
        if re.search(r"No space left on device|Disk quota exceeded|enough free space in", text):
            return self._disk_full()
        if unreachable := re.search(_UNREACHABLE, text):
            return MirrorUnreachable(f"packages cannot be downloaded: {unreachable[0].strip()}", self._log)
        last = "\n".join(f"  {line}" for line in output[-12:])
        return BuildFailed(f"{program} ended with exit code {code}:\n{last}", self._log)

    def _disk_full(self) -> NoRoomForImage:
        free = shutil.disk_usage(self._data.images).free >> 20
        return NoRoomForImage(
            f"not enough disk space for the image in {self._data.images}: a build takes {self._recipe.needs_mib} MiB "
            f"and {free} MiB are free. Free some, or set SKYLIFT_DATA to a directory of root's on another disk."
        )


_UNREACHABLE = (
    r"(?m)^.*(Could not resolve|Temporary failure resolving|Could not connect|Cannot initiate the connection|"
    r"Unable to connect|Connection timed out|Connection failed|Failed to fetch|Connection refused).*$"
)


class BuildMeter:
    """Turns what apt and dpkg say into how far a build is: each package is fetched, unpacked and set up once."""

    def __init__(self, packages: int, progress: Progress) -> None:
        self._packages = packages
        self._seen = {"Get:": 0, "Unpacking ": 0, "Setting up ": 0}
        self._wanted = self._fetched = 0
        self._progress = progress
        progress(0.0, "reading package lists")

    def line(self, text: str) -> None:
        if needed := re.match(r"Need to get ([\d.,]+) ([kMG]?B)", text):
            self._wanted += _bytes(*needed.groups())
            self._tell("downloading packages")
        for start, doing in (
            ("Get:", "downloading packages"),
            ("Unpacking ", "unpacking"),
            ("Setting up ", "setting up"),
        ):
            if text.startswith(start):
                self._seen[start] += 1
                if start == "Get:" and self._wanted and (size := re.search(r"\[([\d.,]+) ([kMG]?B)\]", text)):
                    self._fetched += _bytes(*size.groups())
                self._tell(doing, self._seen[start])

    def _tell(self, doing: str, count: int = 0) -> None:
        """apt announces what it will fetch; the lists of packages come before that."""
        if doing.startswith("downloading"):
            left = max(self._wanted - self._fetched, 0)
            doing = f"{doing}, {left / 1e6:.1f} MB to go" if self._wanted else "reading package lists"
        elif count:
            doing = f"{doing} {min(count, self._packages)} of {self._packages} packages"
        self._progress(min(0.9, 0.3 * sum(self._seen.values()) / self._packages), doing)


def _bytes(number: str, unit: str) -> int:
    return int(float(number.replace(",", "")) * {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[unit])


@contextmanager
def one_builder(data: Data, progress: Progress | None) -> Iterator[int]:
    """Allows one build at a time on this machine. Without `progress`, raises BlockingIOError instead of waiting."""
    descriptor = os.open(data.images / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if progress is None:
                raise
            progress(0.0, "waiting for another build to end")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _read(file: Path) -> BuiltImage:
    text = json.loads(file.read_text())
    text["created"] = datetime.fromisoformat(text["created"])
    # Where the directory is now, not where it was when the image was built.
    return BuiltImage(**text, root=file.with_suffix("") / "root")


def _write(image: BuiltImage) -> str:
    text = asdict(image) | {"created": image.created.isoformat()}
    del text["root"]
    return json.dumps(text, indent=2)


def _disk_use(root: Path) -> int:
    """By du, which takes folders however deep they are; os.walk of Python 3.11 does not."""
    command = ["du", "--summarize", "--block-size=1", str(root)]
    return int(subprocess.run(command, check=True, capture_output=True, env=own_environment()).stdout.split()[0])


def _sync(directory: Path) -> None:
    """Everything written so far to this file system is on the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(directory))
    finally:
        os.close(descriptor)

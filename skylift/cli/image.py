"""`skylift image`: the image of servers as a file, for other machines of a team and for the caches of CI."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from skylift.cli.say import say
from skylift.cloud.state.home import default_home

if TYPE_CHECKING:
    from skylift.cloud.compute.image.image import BuiltImage
    from skylift.cloud.compute.image.packed import PackedImage

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})(?![0-9a-f])")


def register(app: typer.Typer) -> None:
    image = typer.Typer(
        help="The image that servers start from, as a file.", no_args_is_help=True, rich_markup_mode=None
    )
    image.command()(export)
    app.add_typer(image, name="image")


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it; `-` is standard output.")],
) -> None:
    """Write the image into FILE, and its SHA-256 digest into FILE.sha256.

    With both, `skylift setup --image FILE` needs no build on another machine that has this version of skylift.
    """
    from skylift.client.errors import UsageError

    image = image_here()
    if image is None:
        raise UsageError("The image of this version has not been built here.", "Build it: skylift setup")
    if str(file) == "-":
        _pack(image.root, sys.stdout.buffer)
        return
    part = file.parent / f".{file.name}-{os.getpid()}"
    try:
        if file.is_dir():
            raise UsageError(f"{file} is a folder.", f"Name a file, like {file / 'image.tar.gz'}")
        if file.is_symlink() or (file.exists() and not file.is_file()):
            raise UsageError(f"{file} is a link, a pipe or a device.", "Name a new file; `-` is standard output.")
        say(f"Writing {image.id} ...", to_stderr=True)
        with part.open("x+b") as written:
            try:
                _pack(image.root, written)
                written.seek(0)
                digest, size = hashlib.file_digest(written, "sha256").hexdigest(), written.tell()
                part.rename(file)
            finally:
                part.unlink(missing_ok=True)
        beside(file).write_text(f"{digest}  {file.name}\n")
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.") from error
    say(f"{file}: {image.id}, {size / 1e6:.0f} MB, sha256:{digest}")
    say(f"With it and {beside(file).name} on another machine: skylift setup --image {file.name}")


def image_here() -> BuiltImage | None:
    """Raises UsageError."""
    from skylift.client.errors import UsageError
    from skylift.cloud.compute.image.image import default_image
    from skylift.cloud.compute.image.recipe import ArchitectureUnknown

    try:
        return default_image(default_home().data)
    except ArchitectureUnknown as error:
        raise UsageError(str(error)) from error


def beside(file: Path) -> Path:
    """The file with its digest, as sha256sum writes it."""
    return file.parent / f"{file.name}.sha256"


def _pack(root: Path, to: IO[bytes]) -> None:
    from skylift.client.errors import RunError
    from skylift.cloud.compute.image.packed import pack_command
    from skylift.cloud.state.program import apt_environment
    from skylift.place.privilege import is_root, run_as_root

    if not is_root():
        if code := run_as_root(default_home(), ["image", "export", "-"], stdout=to):
            raise typer.Exit(code)
        return
    command, environment = pack_command(root), apt_environment()
    code = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=to, check=False).returncode
    if code:
        raise RunError(f"tar could not write all of the image, and ended with exit code {code}.")


def open_packed(name: str, digest: str | None) -> PackedImage:
    """The file of an image with the digest that it must have: the one that is given, or the one in the file beside it.
    Raises UsageError."""
    from skylift.client.errors import UsageError
    from skylift.cloud.compute.image.packed import PackedImage

    file = Path(name)
    if name != "-" and not file.exists():
        raise UsageError(f"There is no file {name}.")
    try:
        text = beside(file).read_text(errors="replace")[:100] if digest is None else digest
    except OSError:
        raise UsageError(
            f"There is no digest for {name}: {beside(file)} cannot be read.",
            "`skylift image export` writes both files. Or say which it must have: --digest SHA256",
        ) from None
    found = _DIGEST.match(text.lower())
    if found is None:
        raise UsageError(f"{text[:80]!r} is not a SHA-256 digest: that has 64 hexadecimal digits.")
    try:
        return PackedImage(sys.stdin.buffer if name == "-" else file.open("rb"), found[1])
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}.") from error

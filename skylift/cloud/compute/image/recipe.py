"""The recipe of the default image: the files of `debian13/`, read once."""

from __future__ import annotations

import hashlib
import platform
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from skylift.catalogue.uv import WHEELS, Wheel
from skylift.cloud.state.rootless import STORED

FOLDER = Path(__file__).parent / "debian13"

_ARCHITECTURES: Mapping[str, Literal["x86_64", "arm64"]] = {"x86_64": "x86_64", "aarch64": "arm64"}


class ArchitectureUnknown(Exception):
    """No image can be built for this machine's processor."""


@dataclass(frozen=True)
class RecipeFile:
    """A file of the recipe's folder and its place in the image."""

    source: Path
    path: str
    mode: int


@dataclass(frozen=True)
class ImageRecipe:
    """The parts of an image. `needs_mib` is the free disk space that a build takes at its peak."""

    name: str
    release: str
    description: str
    packages: tuple[str, ...]
    expected: int
    needs_mib: int
    exclude: tuple[str, ...]
    include: tuple[str, ...]
    files: tuple[RecipeFile, ...]
    links: Mapping[str, str]
    folder: Path

    @property
    def architecture(self) -> Literal["x86_64", "arm64"]:
        """EC2's name of the processor."""
        try:
            return _ARCHITECTURES[platform.machine()]
        except KeyError:
            known = " and ".join(_ARCHITECTURES)
            raise ArchitectureUnknown(f"there is no image for {platform.machine()}, only for {known}") from None

    @property
    def uv(self) -> Wheel:
        """It is not in Debian 13; its wheel has one static program."""
        return WHEELS[self.architecture]

    @cached_property
    def digest(self) -> str:
        """The digest of everything that makes the image what it is: each file of the folder, the architecture, its
        owner, and uv's wheel."""
        total = hashlib.sha256(f"{self.architecture}, {STORED}, {self.uv.sha256}".encode())
        for file in sorted(self.folder.iterdir()):
            if file.is_file():
                total.update(f"\0{file.name}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
        return total.hexdigest()

    @property
    def image_id(self) -> str:
        return f"ami-{self.digest[:17]}"

    @property
    def image_name(self) -> str:
        """Unique, as the names of one owner's images are."""
        return f"{self.name}-{self.digest[:8]}"


def read_recipe(folder: Path = FOLDER) -> ImageRecipe:
    text = tomllib.loads((folder / "recipe.toml").read_text())
    return ImageRecipe(
        name=text["name"],
        release=text["release"],
        description=text["description"],
        packages=tuple(text["packages"]),
        expected=text["expected"],
        needs_mib=text["needs_mib"],
        exclude=tuple(text["exclude"]),
        include=tuple(text["include"]),
        files=tuple(RecipeFile(folder / entry["source"], entry["path"], entry["mode"]) for entry in text["file"]),
        links=text["links"],
        folder=folder,
    )

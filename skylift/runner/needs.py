"""What a program needs to have installed, as its own folder or its project says it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skylift.runner.errors import UsageError


@dataclass(frozen=True)
class Needs:
    """`path` is the script, the requirements file or the project's folder that tells."""

    kind: Literal["script", "requirements", "project"]
    path: Path

    @property
    def alone(self) -> list[Path]:
        """What has to go along where no project does."""
        return [self.path] if self.kind == "requirements" else []


def find_needs(folder: Path, project: Path | None) -> Needs | None:
    """The nearest folder that tells decides: beside the script, else further up in its project. In one folder a lock
    comes before a requirements.txt, and that before a project without a lock. A requirements.txt in which nothing is
    required says just that."""
    candidates = [folder]
    if project is not None:
        candidates += [each for each in folder.parents if each.is_relative_to(project)]
    for each in candidates:
        metadata = project is not None and _has_project(each / "pyproject.toml")
        if metadata and (each / "uv.lock").is_file():
            return Needs("project", each)
        requirements = each / "requirements.txt"
        if requirements.is_file():
            return Needs("requirements", requirements) if _requires_any(requirements) else None
        if metadata:
            return Needs("project", each)
    return None


def _requires_any(path: Path) -> bool:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return any(line.strip() and not line.lstrip().startswith("#") for line in lines)


def _has_project(path: Path) -> bool:
    """Whether something is to be installed for it: many a pyproject.toml only sets up tools."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from None
    project = found.get("project", {})
    wants = project.get("dependencies") or project.get("requires-python") or found.get("dependency-groups")
    return bool(project and (wants or "build-system" in found))

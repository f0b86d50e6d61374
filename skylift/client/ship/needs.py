"""Finds the file or folder that lists the packages a program needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skylift.client.errors import UsageError
from skylift.client.text.toml_text import parse_toml, read_text, table_of
from skylift.client.text.visible import shown


@dataclass(frozen=True)
class Needs:
    """`path` is the script, the requirements file or the project folder that names the packages."""

    kind: Literal["script", "requirements", "project"]
    path: Path

    @property
    def alone(self) -> list[Path]:
        """The files that must be sent when no project is sent."""
        return [self.path] if self.kind == "requirements" else []


def find_needs(folder: Path, project: Path | None) -> Needs | None:
    """The nearest folder with requirements decides: the script's own, or one further up in its project. In one folder,
    a project with a lock comes before a requirements.txt, and that before a project without a lock. An empty
    requirements.txt means that nothing is needed."""
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
    lines = read_text(path, errors="replace").split("\n")
    return any(line.strip() and not line.lstrip().startswith("#") for line in lines)


def _has_project(path: Path) -> bool:
    """Whether a pyproject.toml describes a project. Many only configure tools."""
    try:
        found = parse_toml(read_text(path), shown(path))
    except FileNotFoundError:
        return False
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{shown(path)} cannot be read: {error}.") from None
    project = table_of(found, "project")
    wants = project.get("dependencies") or project.get("requires-python") or found.get("dependency-groups")
    return bool(project and (wants or "build-system" in found))

"""Nouns of launch templates: what RunInstances is to be asked for, kept under a name in numbered versions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict


class TemplateName(TypedDict, total=False):
    """A launch template as a request names it: by its id or by its name."""

    LaunchTemplateId: str
    LaunchTemplateName: str


class TemplateSpec(TemplateName, total=False):
    """A launch template and a version: a number, `$Latest` or `$Default`. In the members that EC2 has for it."""

    Version: str


@dataclass(frozen=True)
class LaunchTemplate:
    """`last_number` was given to the newest version there ever was: numbers are not used again."""

    id: str
    name: str
    created: datetime
    created_by: str
    default_number: int = 1
    last_number: int = 1
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LaunchTemplateVersion:
    """`data` has the members of EC2's LaunchTemplateData, as they came."""

    template_id: str
    number: int
    description: str
    created: datetime
    created_by: str
    data: dict[str, Any] = field(default_factory=dict)

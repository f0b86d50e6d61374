"""Nouns of Systems Manager's Parameter Store."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Kind = Literal["String", "StringList"]
Tier = Literal["Standard", "Advanced"]


@dataclass(frozen=True)
class Parameter:
    """The common properties of a parameter's versions; `latest` is the number of the newest."""

    name: str
    latest: int
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ParameterVersion:
    """One value that a parameter has or had. `modified_by` is the ARN of who wrote it."""

    name: str
    number: int
    kind: Kind
    value: str
    modified: datetime
    modified_by: str
    tier: Tier = "Standard"
    data_type: str = "text"
    description: str | None = None
    labels: tuple[str, ...] = ()

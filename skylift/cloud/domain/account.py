"""The noun of the account: its names, and the settings that hold for all of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class MetadataDefaults:
    """Defaults of metadata services, for launches that do not set them. None means no preference.

    `tokens_enforced` is not a default: it forbids instances whose metadata service answers without a token.
    """

    tokens: Literal["required", "optional"] | None = None
    endpoint: Literal["enabled", "disabled"] | None = None
    hop_limit: int | None = None
    tags: Literal["enabled", "disabled"] | None = None
    tokens_enforced: Literal["enabled", "disabled"] | None = None


@dataclass(frozen=True)
class PasswordPolicy:
    """The account's rules for its users' passwords. The defaults are those of an empty policy."""

    length: int = 6
    symbols: bool = False
    numbers: bool = False
    uppercase: bool = False
    lowercase: bool = False
    users_may_change: bool = False
    max_age_days: int | None = None
    reuse_prevented: int | None = None
    hard_expiry: bool = False


@dataclass(frozen=True)
class AccountSettings:
    """One row at most. An account without any settings has none."""

    id: str
    alias: str | None = None
    metadata: MetadataDefaults = MetadataDefaults()
    passwords: PasswordPolicy | None = None


@dataclass(frozen=True)
class RoleDeletion:
    """A service-linked role that was deleted, by the id of the task that did it."""

    id: str
    at: datetime


@dataclass(frozen=True)
class DocumentKey:
    """The certificate and key that sign the identity documents of the account's instances; both as PEM."""

    account: str
    private_key: str = field(repr=False)
    certificate: str
    created: datetime


@dataclass(frozen=True)
class CredentialReport:
    """A line of CSV for the account's root and for each user, as it was then."""

    account: str
    text: str
    generated: datetime

"""Shell completion (`skylift --install-completion`).

It starts nothing and writes nothing. When a list cannot be read, there are no suggestions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skylift.client.remote.account import Account


def job_name(ctx: Any, incomplete: str) -> list[str]:
    """Jobs in the place that the command line names."""
    return _in_account(ctx, lambda account: account.recorded(), incomplete)


def schedule_name(ctx: Any, incomplete: str) -> list[str]:
    """Schedules in the place that the command line names."""
    return _in_account(ctx, lambda account: account.scheduled(), incomplete)


def _in_account(ctx: Any, find: Callable[[Account], Iterable[str]], incomplete: str) -> list[str]:
    from skylift.client.errors import SkyliftError
    from skylift.client.remote.account import open_account
    from skylift.place.settings import settings_of_running

    try:
        settings = settings_of_running(ctx.params.get("on"))
        return [] if settings is None else _beginning(find(open_account(settings)), incomplete)
    except (SkyliftError, OSError):
        return []


def job_place(ctx: Any, incomplete: str) -> list[str]:
    """A job's name and a colon, or a file of this machine: either side of `skylift cp` may be one."""
    if ":" in incomplete:
        return []
    folder, slash, start = incomplete.rpartition("/")
    files: list[str] = []
    with suppress(OSError):
        for path in Path(folder + slash or ".").iterdir():
            if path.name.startswith(start) and (start or not path.name.startswith(".")):
                files.append(f"{folder}{slash}{path.name}{'/' * path.is_dir()}")
    return [*(f"{name}:" for name in job_name(ctx, incomplete)), *sorted(files)]


def instance_type(incomplete: str) -> list[str]:
    from skylift import catalogue

    return _beginning(catalogue.types(), incomplete)


def region(incomplete: str) -> list[str]:
    from skylift import catalogue

    return _beginning(catalogue.priced_regions(), incomplete)


def image(incomplete: str) -> list[str]:
    from skylift.client.job.image_choice import PUBLISHED

    return _beginning(PUBLISHED, incomplete)


def place(incomplete: str) -> list[str]:
    return _beginning(("local", "aws"), incomplete)


def architecture(incomplete: str) -> list[str]:
    return _beginning(("x86_64", "arm64"), incomplete)


def overlap(incomplete: str) -> list[str]:
    return _beginning(("skip", "queue", "allow"), incomplete)


def state(incomplete: str) -> list[str]:
    from skylift.contract.states import LISTED

    return _beginning(LISTED, incomplete)


def _beginning(words: Iterable[str], incomplete: str) -> list[str]:
    return sorted(word for word in words if word.startswith(incomplete))

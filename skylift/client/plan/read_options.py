"""Reads a run's options into their types, whether they were given on the command line or in Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from skylift.client.errors import UsageError
from skylift.client.job.image_choice import read_image
from skylift.client.job.job import Program
from skylift.client.job.requirements import read_requirements
from skylift.client.job.retry import read_retry
from skylift.client.job.run_options import OPTIONS, SharedOptions
from skylift.client.job.settings import Access, ImageChoice, Settings
from skylift.client.job.spot import read_spot
from skylift.client.plan.plan_job import LONGEST, Order, read_servers
from skylift.client.text.duration import parse_duration
from skylift.contract.record import Terminal

_ENDLESS = frozenset({"none", "0", "inf", "infinity", "infinite", "never", "unlimited"})
"""What asks for a run without an end."""


@dataclass(frozen=True)
class ParsedOptions:
    """What to run, and where: `on` is the place, `image` the image of its servers; None if not given. With
    `plain_image`, servers start from that image, not from one that has the environment."""

    order: Order
    access: Access
    on: str | None
    image: ImageChoice | None
    trust_project: bool
    plain_image: bool = False

    def apply_to(self, settings: Settings) -> Settings:
        chosen = settings if self.image is None else replace(settings, image=self.image)
        plain = self.plain_image or self.image is not None
        return replace(chosen, environment_images=False) if plain else chosen


def read_options(
    options: SharedOptions, program: Program, terminal: Terminal | None = None, *, spares_tracked: bool = False
) -> ParsedOptions:
    """`terminal` is what an interactive program has; `spares_tracked` is as in Job. Raises UsageError."""
    given: Mapping[str, Any] = options
    cpu, gpu = _text(given, "cpu"), _text(given, "gpu")
    spot = read_spot(
        spot=bool(given.get("spot")),
        max_price=given.get("max_price"),
        checkpoint=_text(given, "checkpoint"),
        or_on_demand=bool(given.get("or_on_demand")),
    )
    order = Order(
        program=program,
        inputs=_list(given.get("in_")),
        outputs=_list(given.get("out")),
        env=_env(given.get("env")),
        instance_type=given.get("type"),
        max_time=_seconds(given, "max_time"),
        keep=_seconds(given, "keep"),
        name=given.get("name"),
        max_cost=given.get("max_cost"),
        idle=_seconds(given, "idle"),
        sync_every=_seconds(given, "sync_every"),
        python=given.get("python"),
        fresh=bool(given.get("fresh")),
        reuse=given.get("reuse") or "",
        terminal=terminal if given.get("interactive") else None,
        wanted=read_requirements(cpu=cpu, memory=given.get("memory"), arch=given.get("arch"), gpu=gpu),
        spot=spot,
        servers=read_servers(_text(given, "servers")),
        spares_tracked=spares_tracked,
        retry=read_retry(given.get("retries"), given.get("retry_on"), interactive=bool(given.get("interactive"))),
    )
    groups = tuple(_list(given.get("security_group")))
    access = Access(bool(given.get("private")), given.get("ssh_from"), given.get("subnet"), groups)
    image = read_image(given["image"]) if given.get("image") else None
    trusted, plain = bool(given.get("trust_project")), bool(given.get("plain_image"))
    return ParsedOptions(order, access, given.get("on"), image, trust_project=trusted, plain_image=plain)


def _text(given: Mapping[str, Any], name: str) -> str | None:
    """Of a number or a path, too."""
    value = given.get(name)
    return None if value is None else str(value)


def _list(value: Any) -> list[str]:
    if value is None:
        return []
    return [os.fspath(each) for each in ([value] if isinstance(value, str | os.PathLike) else value)]


def _env(value: Any) -> list[str]:
    return [f"{name}={each}" for name, each in value.items()] if isinstance(value, Mapping) else _list(value)


def _seconds(given: Mapping[str, Any], name: str) -> int:
    """Zero if the option has neither a value nor a default."""
    value = given.get(name)
    if value is None or value == "":
        value = OPTIONS[name].default
    if value is None:
        return 0
    if name == "max_time" and str(value).strip().lower() in _ENDLESS:
        raise UsageError(
            f"--max-time {str(value)!r} is refused: a server that nobody ends costs money for ever.",
            f"The longest is {LONGEST // 86400}d, and --keep counts towards it.",
        )
    if isinstance(value, float) and not abs(value) < float("inf"):
        raise UsageError(f"--{name.replace('_', '-')} {value} is not a number of seconds.")
    return parse_duration(value if isinstance(value, str) else str(round(value)), f"--{name.replace('_', '-')}")

"""Reads a run's options into their types, whether they were given on the command line or in Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from skylift.runner.errors import UsageError
from skylift.runner.job.image_choice import read_image
from skylift.runner.job.job import Program, Terminal
from skylift.runner.job.requirements import read_requirements
from skylift.runner.job.retry import read_retry
from skylift.runner.job.run_options import OPTIONS, RunOptions
from skylift.runner.job.settings import Access, ImageChoice, Settings
from skylift.runner.job.spot import read_spot
from skylift.runner.plan.plan_job import Order
from skylift.runner.text.duration import parse_duration


@dataclass(frozen=True)
class Asked:
    """What to run, and where: `on` is the place, `image` the image of its servers; None if not given."""

    order: Order
    access: Access
    on: str | None
    image: ImageChoice | None
    trust_project: bool

    def dress(self, settings: Settings) -> Settings:
        return settings if self.image is None else replace(settings, image=self.image, environment_images=False)


def read_options(options: RunOptions, program: Program, terminal: Terminal | None = None) -> Asked:
    """`terminal` is what an interactive program has. Raises UsageError."""
    said: Mapping[str, Any] = options
    cpu, gpu = _text(said, "cpu"), _text(said, "gpu")
    spot = read_spot(
        spot=bool(said.get("spot")),
        max_price=said.get("max_price"),
        checkpoint=_text(said, "checkpoint"),
        or_on_demand=bool(said.get("or_on_demand")),
    )
    order = Order(
        program=program,
        inputs=_list(said.get("in_")),
        outputs=_list(said.get("out")),
        env=_env(said.get("env")),
        instance_type=said.get("type"),
        max_time=_seconds(said, "max_time"),
        keep=_seconds(said, "keep"),
        name=said.get("name"),
        max_cost=said.get("max_cost"),
        idle=_seconds(said, "idle"),
        sync_every=_seconds(said, "sync_every"),
        python=said.get("python"),
        fresh=bool(said.get("fresh")),
        terminal=terminal if said.get("interactive") else None,
        wanted=read_requirements(cpu=cpu, memory=said.get("memory"), arch=said.get("arch"), gpu=gpu),
        spot=spot,
        retry=read_retry(said.get("retries"), said.get("retry_on"), interactive=bool(said.get("interactive"))),
    )
    groups = tuple(_list(said.get("security_group")))
    access = Access(bool(said.get("private")), said.get("ssh_from"), said.get("subnet"), groups)
    image = read_image(said["image"]) if said.get("image") else None
    return Asked(order, access, said.get("on"), image, bool(said.get("trust_project")))


def _text(said: Mapping[str, Any], name: str) -> str | None:
    """Of a number or a path, too."""
    value = said.get(name)
    return None if value is None else str(value)


def _list(value: Any) -> list[str]:
    if value is None:
        return []
    return [os.fspath(each) for each in ([value] if isinstance(value, str | os.PathLike) else value)]


def _env(value: Any) -> list[str]:
    return [f"{name}={each}" for name, each in value.items()] if isinstance(value, Mapping) else _list(value)


def _seconds(said: Mapping[str, Any], name: str) -> int:
    """Zero if the option has neither a value nor a default."""
    value = said.get(name)
    if value is None or value == "":
        value = OPTIONS[name].default
    if value is None:
        return 0
    if isinstance(value, float) and not abs(value) < float("inf"):
        raise UsageError(f"--{name.replace('_', '-')} {value} is not a number of seconds.")
    return parse_duration(value if isinstance(value, str) else str(round(value)), f"--{name.replace('_', '-')}")

"""Decides which figures of types and prices count: the user's own, from AWS, or else the package's."""

from __future__ import annotations

from pathlib import Path

from skylift import catalogue
from skylift.cloud.state.home import default_home


def own_figures() -> Path:
    """The folder of `skylift types --refresh`; it may not be there."""
    return catalogue.refreshed_folder(default_home().path / "cache")


def use_own_figures() -> None:
    catalogue.use(own_figures())

"""The world that the loaded modules are in, whose turn it is, and the shape of a module of the model's own."""

from __future__ import annotations

from typing import Any

from life_clock import World

OWN_DESCRIPTORS = 1_000_000
"""Descriptors from here on are the model's own: pipes, and what stands for a process."""


class Stage:
    """Which world the loaded modules are in at the moment."""

    world: World
    number = OWN_DESCRIPTORS


def world() -> World:
    return Stage.world


def me() -> Any:
    """The process whose turn it is."""
    task = Stage.world.current
    assert task is not None, "outside of any process"
    return task.process


class Module:
    """The real module, but for what is overridden; `refused` is what the model does not know."""

    real: Any
    refused: frozenset[str] = frozenset()

    def __getattr__(self, name: str) -> Any:
        if name in self.refused:
            raise NotImplementedError(f"the model does not know {self.real.__name__}.{name}")
        return getattr(self.real, name)

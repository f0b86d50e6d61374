"""Logs an error with one request, group or alarm, and goes on with the others."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from skylift.cloud.store.database import StoreError

log = logging.getLogger(__name__)

T = TypeVar("T")


def guarded(what: str, act: Callable[[], T]) -> T | None:
    """The result of `act`; None if it failed. The caller tries again with its next step.

    `what` begins the line in the log (`fleet fleet-1`).
    """
    try:
        return act()
    except StoreError as error:
        # The disk is full. The others may have less to write.
        log.error("%s: %s", what, error)
    except Exception:
        log.exception("%s: unexpected failure", what)
    return None


def named(act: Callable[[], object]) -> str:
    """What a step is called in the log: a function or method by its name, anything else as it shows itself."""
    return getattr(act, "__qualname__", None) or repr(act)

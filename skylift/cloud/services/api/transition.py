"""Whether an answer shows a resource that is changing its state, for clients that wait for the change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from skylift.cloud.services.api.operation import Answer, Params, Unsettled


def in_transition(ids: str, *moving: tuple[str, ...]) -> Unsettled:
    """For a Describe whose parameter `ids` names the resources that are asked for. Each of `moving` is a dotted path to
    a state, through lists as well, and the states that do not last.

    A request for all resources is answered at once: something always moves.
    """
    looks = [(path.split("."), frozenset(states)) for path, *states in moving]

    def unsettled(params: Params, answer: Answer) -> bool:
        return bool(params.get(ids)) and any(
            state in states for members, states in looks for state in _found(answer, members)
        )

    return unsettled


def _found(value: Any, members: list[str]) -> Iterator[object]:
    if isinstance(value, list | tuple):
        for each in value:
            yield from _found(each, members)
    elif not members:
        yield value
    elif isinstance(value, Mapping) and members[0] in value:
        yield from _found(value[members[0]], members[1:])

"""Tags as they are edited on a page: what is wrong with them, and the calls that change what is different."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

from skylift.client.errors import UsageError
from skylift.console import call as calls
from skylift.console.call import Call

MOST = 50
_LONGEST_KEY, _LONGEST_VALUE = 128, 256
RESERVED = "aws:"
"""Tags whose keys begin with it are AWS's own: they are shown, and cannot be changed."""

Pairs = Sequence[tuple[str, str]]


def read_tags(pairs: Iterable[tuple[str, str]], before: Container[str] = ()) -> dict[str, str]:
    """What was typed, a pair after the other; one without key and value is none. Spaces around a key are taken away,
    but for one of those that were there `before`. Raises UsageError."""
    found: dict[str, str] = {}
    for typed, value in pairs:
        key = typed if typed in before else typed.strip()
        if not key and not value:
            continue
        if not key:
            raise UsageError(f"The value {value!r} has no key.", "Give it one, or take the tag away.")
        if key.lower().startswith(RESERVED):
            raise UsageError(f"{key!r} begins with {RESERVED}, as AWS's own tags do.", "Choose another key.")
        if key in found:
            raise UsageError(f"There are two tags with the key {key!r}.", "Take one of them away.")
        if len(key) > _LONGEST_KEY or len(value) > _LONGEST_VALUE:
            raise UsageError(f"A key has {_LONGEST_KEY} letters at most, and a value {_LONGEST_VALUE}.")
        found[key] = value
    if len(found) > MOST:
        raise UsageError(f"A resource has {MOST} tags at most.")
    return found


def change_tags(resources: Sequence[str], before: Mapping[str, str], typed: Pairs) -> list[Call]:
    """Those that are new or have another value, and then those that are gone; the other way round where there is no
    room for all of them at once. Nothing where all is as it was. Raises UsageError."""
    wanted = read_tags(typed, before)
    new = [(key, value) for key, value in wanted.items() if before.get(key) != value]
    gone = [key for key in before if key not in wanted and not key.startswith(RESERVED)]
    made = [
        *([calls.create_tags(resources, new)] if new else []),
        *([calls.delete_tags(resources, gone)] if gone else []),
    ]
    # AWS's own are not counted.
    most = sum(not key.startswith(RESERVED) for key in {**before, **wanted})
    return made if most <= MOST else made[::-1]


def specification(kind: str, pairs: Pairs) -> list[dict[str, object]]:
    """TagSpecifications of what is about to be made; none without tags. Raises UsageError."""
    wanted = read_tags(pairs)
    tags = [{"Key": key, "Value": value} for key, value in wanted.items()]
    return [{"ResourceType": kind, "Tags": tags}] if tags else []

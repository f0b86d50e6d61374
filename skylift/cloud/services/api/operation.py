"""The shape of one row in the table of operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar

from skylift.cloud.domain.identity import Caller
from skylift.cloud.store.database import Tx

Params = Mapping[str, Any]
"""A request of any operation, for code that reads it by the names of its members."""
Answer = Mapping[str, object]
"""The answer of an operation, in the model's member names; each handler names its shape of `aws_shapes`."""
Handler = Callable[[Tx, Caller, Any], Answer]
Unsettled = Callable[[Params, Answer], bool]
Prepare = Callable[[Tx, Caller, Any], Handler | Iterable[Handler]]
Item = TypeVar("Item")


class Outdated(Exception):
    """What was prepared is not what the transaction finds any more: the request has to be prepared anew."""


class Nothing(TypedDict):
    """The answer of an operation without a result."""


@dataclass(frozen=True)
class Check:
    """One question to the policy evaluator: may the caller do `action` on `resource`, in this context?"""

    action: str
    resource: str
    context: Mapping[str, str | tuple[str, ...]] | None = None


Checks = Callable[[Tx, Caller, Any], Iterable[Check]]
"""The permissions that the caller needs for one request."""


@dataclass(frozen=True)
class Operation:
    """One operation that this cloud carries out.

    `takes` are the parameters it honours, dotted below the top (`BlockDeviceMappings.Ebs.VolumeSize`); any other
    parameter of the model is refused by name before the handler runs. `checks` says what the caller must be allowed
    to do; it runs in a read transaction, before `handler`. `writes` decides which kind of transaction `handler` gets.
    `prepare` reads and works out, before the write transaction, what takes long, and returns the handler that has it:
    the one writer is not held up by it. That handler raises Outdated if what it has is not true any more. Of several
    handlers each has a transaction of its own, and the last one answers.
    `unsettled` says that something in a Describe's answer moves to another state, where it was
    asked for by its id: such an answer may wait a moment.
    An operation that is `unsigned` needs no credentials: it decides itself whom it answers.
    """

    service: str
    name: str
    handler: Handler
    takes: frozenset[str]
    checks: Checks
    writes: bool
    prepare: Prepare | None = None
    unsettled: Unsettled | None = None
    unsigned: bool = False

    def prepared(self, tx: Tx, caller: Caller, params: Params) -> Iterable[Handler]:
        """The handlers, with what `prepare` found for this request; in the transaction of `checks`."""
        found = self.handler if self.prepare is None else self.prepare(tx, caller, params)
        return (found,) if callable(found) else found

    def unsupported(self, params: Params) -> list[str]:
        """The dotted names in `params` that this operation would have to ignore."""
        return [name for name in _leaves(params, "") if not self._honours(name)]

    def _honours(self, name: str) -> bool:
        """A parameter is honoured when it, or a structure around it, is listed whole.

        An empty list or structure asks for nothing; it is honoured where something below it would be.
        """
        if name in self.takes:
            return True
        parts = name.split(".")
        listed = any(".".join(parts[: length + 1]) in self.takes for length in range(len(parts)))
        return listed or any(taken.startswith(f"{name}.") for taken in self.takes)


def in_turns(items: Iterable[tuple[Item, int]], most: int) -> list[list[Item]]:
    """Items with their weights, in lists each of at most `most` together; a heavier one is alone."""
    turns: list[list[Item]] = [[]]
    left = most
    for item, weight in items:
        if weight > left and turns[-1]:
            turns.append([])
            left = most
        turns[-1].append(item)
        left -= weight
    return turns


def unprepared(_tx: Tx, _caller: Caller, _params: Params) -> Answer:
    """The handler of an operation whose `prepare` returns what is to be done."""
    raise AssertionError("`prepare` comes first")


def below(structure: str, names: str) -> str:
    """The members of a structure as an operation takes them: `A.B A.C` for B and C below A."""
    return " ".join(f"{structure}.{name}" for name in names.split())


def on_all(action: str) -> Checks:
    """Of an operation that AWS does not authorise by resource."""
    return lambda _tx, _caller, _params: [Check(action, "*")]


@dataclass(frozen=True)
class Rows:
    """How rows of a service are made whose actions begin with `prefix`. Without `checks` it is not authorised by
    resource."""

    service: str
    prefix: str

    def reads(self, name: str, handler: Handler, takes: str = "", checks: Checks | None = None) -> Operation:
        checks = checks or on_all(f"{self.prefix}:{name}")
        return Operation(self.service, name, handler, frozenset(takes.split()), checks, writes=False)

    def writes(
        self,
        name: str,
        handler: Handler,
        takes: str = "",
        checks: Checks | None = None,
        *,
        prepare: Prepare | None = None,
    ) -> Operation:
        checks = checks or on_all(f"{self.prefix}:{name}")
        return Operation(self.service, name, handler, frozenset(takes.split()), checks, writes=True, prepare=prepare)


def _leaves(value: Any, prefix: str) -> list[str]:
    if isinstance(value, Mapping) and value:
        return [leaf for key, item in value.items() for leaf in _leaves(item, f"{prefix}.{key}" if prefix else key)]
    if isinstance(value, list) and value:
        return list(dict.fromkeys(leaf for item in value for leaf in _leaves(item, prefix)))
    return [prefix] if prefix else []

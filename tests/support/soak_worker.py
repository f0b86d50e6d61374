"""A client that knows what it was promised: it notes what each answer of 200 said, and compares after a kill.

What is known is a mapping of facts. Each change is written down before it is asked for; when no answer comes, it may
have happened or not, but wholly: what is found then has to be the facts before it or the facts after it.
"""

from __future__ import annotations

import random
import string
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError

from support.real_server import until

T = TypeVar("T")

Fact = tuple[str, ...]
"""The kind of a thing, and its name."""
Facts = dict[Fact, Any]


class Cut(Exception):
    """The cloud went away before it had answered."""


class Lost(AssertionError):
    """What was found is neither what was promised nor what was asked for."""


class Worker(ABC):
    """One client with things of its own, which nobody else touches. `act` makes one change, `observe` looks."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(f"{seed} {type(self).__name__}")
        self.facts: Facts = {}
        self.maybe: Facts | None = None
        """The change that was not answered."""
        self.acknowledged = 0
        self.happened = 0
        """Of the changes without an answer, those that were found done."""
        self._names = 0

    @property
    @abstractmethod
    def acts(self) -> Sequence[Callable[[], None]]:
        """What there is to be done. Each may find that it cannot be done now, and return."""

    @abstractmethod
    def observe(self) -> Facts:
        """Ask the cloud for everything that this worker has."""

    def act(self) -> None:
        """Do one thing; raises Cut when the cloud goes away in the middle of it."""
        try:
            self.random.choice(self.acts)()
        except BotoCoreError as error:
            raise Cut(str(error)) from error

    def change(self, change: Facts, call: Callable[..., T], **parameters: Any) -> T:
        """Ask for a change. A value of None means that the thing is gone then."""
        self.maybe = change
        answer = call(**parameters)
        self.facts = applied(self.facts, change)
        self.maybe = None
        self.acknowledged += 1
        return answer

    def verify(self) -> None:
        """Raises Lost."""
        found = self.observe()
        if self.maybe is not None and found != self.facts and found == applied(self.facts, self.maybe):
            self.facts = found
            self.happened += 1
        if found != self.facts:
            raise Lost("\n".join([f"{type(self).__name__}, unanswered: {self.maybe}", *difference(self.facts, found)]))
        self.maybe = None

    def name(self, stem: str) -> str:
        self._names += 1
        return f"{stem}-{self._names}"

    def word(self) -> str:
        return "".join(self.random.choices(string.ascii_lowercase, k=8))

    def has(self, kind: str) -> list[Fact]:
        return [fact for fact in self.facts if fact[0] == kind]

    def one(self, kind: str) -> Fact | None:
        there = self.has(kind)
        return self.random.choice(there) if there else None


def attempt(look: Callable[[], bool], what: str, patience: float, concerned: Callable[[], Iterable[object]]) -> None:
    """Who waits in vain tells what there is to be said of those that it `concerned`."""
    try:
        until(look, what, patience)
    except AssertionError as error:
        raise Lost("\n".join([str(error), *(str(one) for one in concerned())])) from None


def applied(facts: Facts, change: Facts) -> Facts:
    return {fact: value for fact, value in {**facts, **change}.items() if value is not None}


def difference(wanted: Facts, found: Facts) -> list[str]:
    return [
        f"{fact}: {wanted.get(fact)!r} was promised, {found.get(fact)!r} is there"
        for fact in sorted({*wanted, *found})
        if wanted.get(fact) != found.get(fact)
    ]


def tag_set(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tags_of(described: dict[str, Any], key: str = "Tags") -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in described.get(key, [])}

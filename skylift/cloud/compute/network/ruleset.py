"""An nft table as a value, and the script that turns the kernel's table from one such value into another.

The kernel takes a millisecond for elements of sets and maps, and waits 15 ms for every processor when a rule goes. So
what changes often is kept in elements, and only what has changed is sent. Each script is one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Collection:
    """A set (every element's value is empty) or a map. `kind` is nft's type, and what else nft has to know of
    it: `ipv4_addr`, `ifname : verdict`, `ifname; flags dynamic`."""

    word: Literal["set", "map"]
    kind: str
    elements: Mapping[str, str]

    @classmethod
    def set(cls, kind: str, elements: Iterable[str]) -> Collection:
        return cls("set", kind, dict.fromkeys(elements, ""))

    @classmethod
    def map(cls, kind: str, elements: Mapping[str, str]) -> Collection:
        return cls("map", kind, elements)

    def listed(self, keys: Iterable[str]) -> str:
        return ", ".join(f"{key} : {self.elements[key]}" if self.elements[key] else key for key in sorted(keys))


@dataclass(frozen=True)
class Ruleset:
    """A table of family inet. A chain whose first line begins with `type` is a base chain; that line is its hook."""

    table: str
    collections: Mapping[str, Collection]
    chains: Mapping[str, tuple[str, ...]]

    def script(self) -> str:
        """Replace whatever the table was."""
        lines = [f"table inet {self.table}", f"delete table inet {self.table}", f"table inet {self.table} {{"]
        for name, collection in self.collections.items():
            lines += [f"  {collection.word} {name} {{", f"    type {collection.kind}"]
            if collection.elements:
                lines.append(f"    elements = {{ {collection.listed(collection.elements)} }}")
            lines.append("  }")
        for name, rules in self.chains.items():
            lines += [f"  chain {name} {{", *(f"    {rule}" for rule in rules), "  }"]
        return "\n".join([*lines, "}", ""])

    def change_from(self, old: Ruleset) -> str:
        """Turn the table that `old` made into this one; empty when they are the same.

        Base chains must be the same in both: their hooks stay where they are.
        """
        new_sets, gone_sets = _apart(self.collections, old.collections)
        new_chains, gone_chains = _apart(self.chains, old.chains)
        changed = [name for name in self.chains if name not in new_chains and self.chains[name] != old.chains[name]]
        # A rule that refers to a set is removed before that set, and added after it.
        return "".join(
            f"{line}\n"
            for line in [
                *(self._add_collection(name) for name in new_sets),
                *(f"add chain inet {self.table} {name}" for name in new_chains),
                *self._remove_elements(old),
                *(f"flush chain inet {self.table} {name}" for name in [*gone_chains, *changed]),
                *self._add_rules([*new_chains, *changed]),
                *self._add_elements(old),
                *(f"delete chain inet {self.table} {name}" for name in gone_chains),
                *(f"delete {old.collections[name].word} inet {self.table} {name}" for name in gone_sets),
            ]
        )

    def _add_collection(self, name: str) -> str:
        collection = self.collections[name]
        return f"add {collection.word} inet {self.table} {name} {{ type {collection.kind}; }}"

    def _add_rules(self, names: Iterable[str]) -> list[str]:
        return [
            f"add rule inet {self.table} {name} {rule}"
            for name in names
            for rule in self.chains[name]
            if not rule.startswith("type ")
        ]

    def _remove_elements(self, old: Ruleset) -> list[str]:
        lines = []
        for name, collection in old.collections.items():
            now = self.collections[name].elements if name in self.collections else {}
            gone = [key for key, value in collection.elements.items() if now.get(key) != value]
            if gone:
                lines.append(f"delete element inet {self.table} {name} {{ {', '.join(sorted(gone))} }}")
        return lines

    def _add_elements(self, old: Ruleset) -> list[str]:
        lines = []
        for name, collection in self.collections.items():
            before = old.collections[name].elements if name in old.collections else {}
            new = [key for key, value in collection.elements.items() if before.get(key) != value]
            if new:
                lines.append(f"add element inet {self.table} {name} {{ {collection.listed(new)} }}")
        return lines


def _apart(now: Iterable[str], before: Iterable[str]) -> tuple[list[str], list[str]]:
    """The elements to add and those to remove, in order."""
    now, before = list(now), list(before)
    return [name for name in now if name not in set(before)], [name for name in before if name not in set(now)]

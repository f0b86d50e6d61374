"""Where parameters are kept, and walks over them in the order of their names."""

from __future__ import annotations

from collections.abc import Iterator

from skylift.cloud.domain.parameter import Parameter, ParameterVersion
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import mapped, table

table(Parameter, "parameters", key=("name",))
table(ParameterVersion, "parameter_versions", key=("name", "number"))

LAST = chr(0x10FFFF)


def newest(tx: Tx, *, after: str = "", prefix: str = "") -> Iterator[ParameterVersion]:
    """The newest version of each parameter whose name begins with `prefix` and comes after `after`, one at a time."""
    versions = mapped(ParameterVersion)
    current = "(SELECT latest FROM parameters WHERE parameters.name = parameter_versions.name)"
    condition = f"WHERE name > ? AND name >= ? AND name < ? AND number = {current} ORDER BY name"
    rows = tx.execute(f"{versions.select} {condition}", after, prefix, prefix + LAST)
    return (versions.decode(row) for row in rows)


def parameter_named(tx: Tx, name: str) -> Parameter | None:
    """The parameter of this name. At the root `NAME` and `/NAME` are one: it is found by either."""
    found = tx.get(Parameter, name=name)
    if found is None and "/" not in name.removeprefix("/"):
        found = tx.get(Parameter, name=name.removeprefix("/") if name.startswith("/") else f"/{name}")
    return found


def labelled(tx: Tx, name: str, label: str) -> ParameterVersion | None:
    """The version of a parameter that has this label; one has it at most."""
    return next((version for version in tx.find(ParameterVersion, name=name) if label in version.labels), None)


def history(tx: Tx, name: str, after: int, limit: int) -> list[ParameterVersion]:
    return tx.select(ParameterVersion, "WHERE name = ? AND number > ? ORDER BY number LIMIT ?", name, after, limit)


def forget_version(tx: Tx, name: str, up_to: int) -> None:
    """Drop the versions of a parameter up to a number."""
    tx.execute("DELETE FROM parameter_versions WHERE name = ? AND number <= ?", name, up_to)


def count(tx: Tx, tier: str) -> int:
    """How many parameters are of this tier now."""
    (found,) = tx.execute(
        "SELECT count(*) FROM parameters JOIN parameter_versions USING (name) WHERE number = latest AND tier = ?", tier
    ).fetchone()
    return int(found)

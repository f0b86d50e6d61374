"""Writes what `table.py` and `price.py` read."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from skylift.catalogue.folder import TYPES
from skylift.catalogue.instance_type import InstanceType
from skylift.catalogue.price import Figures, Kind, prices_of
from skylift.catalogue.source import Source
from skylift.catalogue.table import COLUMNS, FLAGS


def write_types(folder: Path, source: Source, kinds: Iterable[InstanceType]) -> None:
    ordered = sorted(kinds, key=lambda kind: kind.name)
    _write(folder / TYPES, [(source.date, source.name), COLUMNS, *_rows(ordered)])


def _rows(kinds: Iterable[InstanceType]) -> Iterator[tuple[object, ...]]:
    for kind in kinds:
        disks, chips = kind.disks, kind.accelerators
        yield (
            kind.name,
            kind.vcpus,
            kind.cores,
            kind.memory_mib,
            " ".join(kind.architectures),
            "" if kind.clock_ghz is None else f"{kind.clock_ghz:g}",
            kind.manufacturer,
            kind.network,
            f"{kind.baseline_gbps:g}",
            f"{kind.peak_gbps:g}",
            f"{disks.count} {disks.size_gb} {disks.kind}" if disks else "",
            f"{chips.count} {chips.memory_mib} {chips.kind} {chips.manufacturer} {chips.name}" if chips else "",
            kind.hypervisor or "",
            kind.interfaces,
            kind.addresses,
            "".join("y" if getattr(kind, flag) else "n" for flag in FLAGS),
        )


def write_prices(folder: Path, region: str, known: Mapping[Kind, Figures]) -> None:
    names = sorted({name for each in known.values() for name in each.prices})
    head = [
        ("kind", *known),
        ("date", *(each.source.date for each in known.values())),
        ("source", *(each.source.name for each in known.values())),
    ]
    body = [(name, *(_spelled(each.prices.get(name)) for each in known.values())) for name in names]
    _write(folder / prices_of(region), [*head, *body])


def _spelled(price: float | None) -> str:
    return "" if price is None else f"{price:.8g}"


def _write(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Whole or not at all: others may be reading it."""
    for each in reversed(path.parents):
        each.mkdir(mode=0o700, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise

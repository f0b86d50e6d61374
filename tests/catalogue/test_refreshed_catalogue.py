"""Figures of the user's own, which come before the package's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from skylift import catalogue
from skylift.catalogue import Source
from skylift.catalogue.price import Figures
from skylift.catalogue.writing import write_prices, write_types


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield catalogue.refreshed_folder(tmp_path)
    catalogue.use(None)


def test_what_was_written_is_read_the_same(folder: Path) -> None:
    """Every type of the package, with all that it has."""
    packaged = dict(catalogue.types())
    today = Source("2026-11-25", 'AWS, "today"')
    write_types(folder, today, packaged.values())
    write_prices(
        folder, "us-east-1", {"spot": Figures(today, {"m7i.large": 0.0312345}), "on-demand": Figures(today, {})}
    )
    catalogue.use(folder)
    assert catalogue.types() == packaged
    assert catalogue.sources()["", "types"] == today
    assert catalogue.spot("m7i.large", "us-east-1") == 0.0312345
    assert catalogue.sources()["us-east-1", "spot"] == today


def test_the_user_s_figures_come_first_and_the_package_s_where_there_are_none(folder: Path) -> None:
    known = catalogue.on_demand("m7i.xlarge", "eu-west-1")
    today = Source("2026-11-25", "AWS")
    write_prices(folder, "us-east-1", {"on-demand": Figures(today, {"m7i.large": 0.5})})
    write_prices(folder, "sa-east-1", {"on-demand": Figures(today, {"m7i.large": 0.7})})
    catalogue.use(folder)
    assert catalogue.on_demand("m7i.large", "us-east-1") == 0.5
    assert catalogue.on_demand("m7i.large", "sa-east-1") == 0.7
    assert catalogue.on_demand("m7i.xlarge", "eu-west-1") == known
    assert known is not None
    assert catalogue.on_demand("c7i.large", "us-east-1") is None, "a region's figures are of one day, not mixed"
    assert {"us-east-1", "sa-east-1", "eu-west-1"} <= set(catalogue.priced_regions())
    assert catalogue.sources()["us-east-1", "on-demand"].date == "2026-11-25"
    assert len(catalogue.types()) > 1000


def test_a_folder_that_is_not_there_is_the_package(folder: Path) -> None:
    packaged = catalogue.on_demand("m7i.large", "us-east-1")
    catalogue.use(folder)
    assert catalogue.on_demand("m7i.large", "us-east-1") == packaged
    assert "m7i.large" in catalogue.types()


def test_one_below_a_file_is_the_package(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    packaged = dict(catalogue.types())
    catalogue.use(catalogue.refreshed_folder(tmp_path / "file"))
    assert catalogue.types() == packaged
    assert "us-east-1" in catalogue.priced_regions()


def test_a_type_that_is_new_is_there_after_it_was_written(folder: Path) -> None:
    new = replace(catalogue.types()["m7i.large"], name="m99i.large")
    write_types(folder, Source("2026-11-25", "AWS"), [*catalogue.types().values(), new])
    catalogue.use(folder)
    assert catalogue.types()["m99i.large"] == new


@pytest.mark.parametrize(
    "damaged", [b"", b"garbage\n", b"\x00\xff\xfe", b"kind,on-demand\ndate,2026-11-25\nsource,AWS\nm7i.large,0.1,0.2\n"]
)
def test_a_file_that_was_damaged_is_none(folder: Path, damaged: bytes) -> None:
    """Its disk was full, or the power went: every command reads these files."""
    packaged = catalogue.on_demand("m7i.large", "us-east-1")
    (folder / "prices").mkdir(parents=True)
    (folder / "types.csv").write_bytes(damaged)
    for region in ("us-east-1", "sa-east-1"):
        (folder / "prices" / f"{region}.csv").write_bytes(damaged)
    catalogue.use(folder)
    assert catalogue.on_demand("m7i.large", "us-east-1") == packaged
    assert catalogue.on_demand("m7i.large", "sa-east-1") is None
    assert "m7i.large" in catalogue.types()


def test_a_file_that_was_cut_off_is_none(folder: Path) -> None:
    packaged = catalogue.types()
    write_types(folder, Source("2026-11-25", "AWS"), packaged.values())
    whole = (folder / "types.csv").read_bytes()
    (folder / "types.csv").write_bytes(whole[: len(whole) // 2].rstrip(b"\n") + b",")
    catalogue.use(folder)
    assert catalogue.types() == packaged

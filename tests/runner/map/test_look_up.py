"""What a run's coordinator finds at the places of its schedule's map: each page of the list, once for the whole run."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from skylift.runner.map.looked_up import FOUND, list_keys
from skylift.runner.map.main import PrefixStore, _look_up
from skylift.runner.map.spec import MapInput, MapSpec, Place
from skylift.runner.server.aws import Aws, Refused, Unreachable

PLACE = Place("days", "eu-west-1", "in/*.csv")
SPEC = MapSpec(("python", "job.py"), True, (), (MapInput(0, "a", "a"),), total=1, places=(PLACE,))


class Pages:
    """S3, as Aws asks it: a list of pages of keys."""

    def __init__(self, *pages: list[str], region: str = "us-east-1") -> None:
        self.pages, self.region, self.asked = pages, region, list[dict[str, list[str]]]()

    def in_region(self, region: str) -> Pages:
        self.region = region
        return self

    def url(self, service: str, bucket: str = "") -> str:
        return f"https://{bucket}.{service}.{self.region}"

    def send(self, _service: str, method: str, url: str, *_: Any) -> tuple[int, dict[str, str], bytes]:
        query = parse_qs(urlsplit(url).query)
        self.asked.append(query)
        assert (method, query["prefix"], query["list-type"]) == ("GET", ["in/"], ["2"])
        if not self.pages:
            return 404, {}, b""
        number = int(query.get("continuation-token", ["0"])[0])
        keys = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in self.pages[number])
        more = f"<NextContinuationToken>{number + 1}</NextContinuationToken>" if number + 1 < len(self.pages) else ""
        return 200, {}, f'<ListBucketResult xmlns="http://s3/doc/">{keys}{more}</ListBucketResult>'.encode()


class Kept:
    """A run's prefix."""

    def __init__(self, there: bytes | None = None, *, denied: bool = False) -> None:
        self.objects, self.denied = {} if there is None else {FOUND: there}, denied

    def create(self, key: str, body: bytes) -> bool:
        return self.objects.setdefault(key, body) is body

    def read(self, key: str) -> bytes | None:
        return None if self.denied else self.objects.get(key)


def look_up(pages: Pages, kept: Kept) -> MapSpec:
    return _look_up(SPEC, cast(Aws, pages), cast(PrefixStore, kept))


def test_all_pages_are_read_in_the_buckets_region() -> None:
    pages = Pages(["in/a+one.csv", "in/b%2Bc.csv"], ["in/d.txt", "in/%C3%A4.csv"])
    assert list_keys(cast(Aws, pages), PLACE) == ["in/a one.csv", "in/b+c.csv", "in/d.txt", "in/ä.csv"]
    assert (pages.region, len(pages.asked)) == ("eu-west-1", 2)


def test_a_bucket_that_is_gone() -> None:
    with pytest.raises(Refused, match="there is no bucket days"):
        list_keys(cast(Aws, Pages()), PLACE)


def test_an_answer_that_is_no_list() -> None:
    with pytest.raises(Unreachable, match="the list of s3://days"):
        list_keys(cast(Aws, Pages(["<"])), PLACE)


def test_the_first_coordinator_of_a_run_decides() -> None:
    kept = Kept()
    first = look_up(Pages(["in/a.csv"]), kept)
    assert [each.text for each in first.inputs] == ["a", "s3://days/in/a.csv"]
    assert look_up(Pages(["in/a.csv", "in/b.csv"]), kept) == first


def test_a_list_that_cannot_be_read_is_not_replaced_by_another() -> None:
    with pytest.raises(Unreachable, match=r"found\.json cannot be read"):
        look_up(Pages(["in/b.csv"]), Kept(b"{}", denied=True))


def test_a_map_without_places_asks_nothing() -> None:
    spec = MapSpec(("python", "job.py"), True, (), (MapInput(0, "a", "a"),))
    assert _look_up(spec, cast(Aws, None), cast(PrefixStore, None)) is spec

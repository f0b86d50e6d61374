"""What a run's coordinator finds at the places of its schedule's map: each page of the list, once for the whole run."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from support.agent_bench import Metadata

from skylift.agent.remote.aws import Aws, Refused, Unreachable
from skylift.client.map.log_writer import LogWriter
from skylift.client.map.looked_up import FOUND, list_keys
from skylift.client.map.main import PrefixStore, _look_up, begun_since
from skylift.client.map.outcome import entry_key
from skylift.contract.map_spec import InputPlace, MapInput, MapSpec

PLACE = InputPlace("days", "eu-west-1", "in/*.csv")
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


DUE = datetime(2026, 11, 29, 6, 22, tzinfo=UTC)


class Written:
    """A run's prefix in which everything was written at one time, as S3 answers for it."""

    def __init__(self, when: float) -> None:
        self.when = format_datetime(datetime.fromtimestamp(when, UTC), usegmt=True)
        self.objects = {FOUND: b'{"found": [[]]}', entry_key(0): b"planted"}

    def request(self, method: str, key: str) -> tuple[int, dict[str, str], bytes]:
        assert method == "GET"
        return 200, {"last-modified": self.when}, self.objects[key]

    def put(self, key: str, body: bytes, first: bool = False) -> bool:
        assert first
        return self.objects.setdefault(key, body) is body


def test_what_an_earlier_run_has_written_where_this_one_would_is_not_believed() -> None:
    """It may write into all runs of its schedule: that there is no input, or that all have succeeded."""
    planted = PrefixStore(cast(Any, Written(DUE.timestamp() - 1)), DUE.timestamp() + 0.9)
    with pytest.raises(Refused, match=r"server/map/found\.json was written before this run began"):
        _look_up(SPEC, cast(Aws, Pages(["in/a.csv"])), planted)
    with pytest.raises(Refused, match="server/map/log/00000000 was written before this run began"):
        LogWriter(planted, "i-1").begin()
    own = PrefixStore(cast(Any, Written(DUE.timestamp())), DUE.timestamp() + 0.9)
    assert [each.text for each in _look_up(SPEC, cast(Aws, Pages(["in/a.csv"])), own).inputs] == ["a"]


def test_when_a_run_has_begun() -> None:
    """Another map's coordinator reads on what was written on a server that is gone."""
    settings = {"prefix": "jobs/daily-20261129-0622", "source": "schedules/daily"}
    with Metadata() as metadata:
        settings["imds"] = metadata.url
        for started, begun in (("06:22:40", DUE), ("06:21:50", DUE.replace(minute=21, second=50))):
            document = f'{{"pendingTime": "2026-11-29T{started}Z"}}'
            metadata.more["/latest/dynamic/instance-identity/document"] = document.encode()
            assert begun_since(settings) == begun.timestamp()
        metadata.more["/latest/dynamic/instance-identity/document"] = b'{"pendingTime": "2026-11-29T06:30:00Z"}'
        assert begun_since({**settings, "prefix": "jobs/daily-20261129-062205"}) == DUE.timestamp() + 5
    assert begun_since({**settings, "source": "jobs/daily-20261129-0622"}) == 0
    assert begun_since({**settings, "prefix": "jobs/m", "source": "jobs/m"}) == 0

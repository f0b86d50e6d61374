"""When an environment in the bucket is whole, and how large it is."""

from __future__ import annotations

import json

from support.shipped_job import Shipped

from skylift.client.job.record import bucket_name
from skylift.client.job.settings import Settings
from skylift.client.remote.api import Api
from skylift.client.ship.prebuilt import EnvironmentPlace, stored_environment

PLACE = "envs/recipe/ami-1/0001"


def test_it_is_whole_with_its_index_and_its_pins(shipped: Shipped, api: Api, settings: Settings) -> None:
    bucket = bucket_name(str(settings.account), settings.region)
    shipped.put(f"{PLACE}/pack-00000", bytes(3))
    shipped.put(f"{PLACE}/pack-00001", bytes(4))
    shipped.put(f"{PLACE}1/index.json", b"another place")
    assert stored_environment(api, bucket, PLACE) is None
    shipped.put(f"{PLACE}/index.json", b"{}")
    assert stored_environment(api, bucket, PLACE) is None
    own, proven = (json.dumps({"sha256": each * 64}).encode() for each in "ab")
    shipped.put(f"{PLACE}/pin.json", own)
    assert stored_environment(api, bucket, PLACE) is None, "whether anything is proven is not decided"
    shipped.put(f"{PLACE}/proven.json", b"{}")
    assert stored_environment(api, bucket, PLACE) == (EnvironmentPlace(PLACE, "a" * 64), 7)
    shipped.put(f"{PLACE}/proven.json", proven)
    assert stored_environment(api, bucket, PLACE) == (EnvironmentPlace(PLACE, "b" * 64, proven=True), 7)

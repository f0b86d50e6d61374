"""Parts of objects in S3 (`--split`) that no server can fetch any more, as the object was changed after the split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice

from skylift.client.errors import Refused, SkyliftError
from skylift.client.remote.account import Account
from skylift.client.remote.api import Api
from skylift.client.text.visible import shown
from skylift.client.waiting import Threads
from skylift.contract.map_spec import MapInput, ObjectRange

ADVICE = "A new map splits what is there now: start it by its own command."
_AT_A_TIME = 8
_GONE = frozenset({"404", "NoSuchKey", "NoSuchBucket"})


def changed_parts(account: Account, inputs: Iterable[MapInput], most: int | None = None) -> tuple[MapInput, ...]:
    """Those of the inputs that would fail if they ran now. All their objects are looked at, or the first `most`. Of one
    that is not, or that cannot be asked for, nothing is known: its parts are none of them."""
    parts = [(each, each.part) for each in inputs if each.part is not None]
    objects = {(part.bucket, part.key): part for _, part in parts}
    if not objects:
        return ()
    asked = dict(islice(objects.items(), most))
    with Threads(min(_AT_A_TIME, len(asked))) as pool:
        found = pool.map(partial(_has_changed, account.api), asked.values())
        changed = {each for each, is_so in zip(asked, found, strict=True) if is_so}
    return tuple(each for each, part in parts if (part.bucket, part.key) in changed)


def _has_changed(api: Api, part: ObjectRange) -> bool:
    try:
        return str(api.call("s3", "head_object", Bucket=part.bucket, Key=part.key)["ETag"]) != part.etag
    except Refused as error:
        return error.code in _GONE
    except SkyliftError:
        return False


def tell_changed(parts: Sequence[MapInput]) -> str:
    """One sentence on `changed_parts`, where there are any."""
    objects = list(dict.fromkeys((each.part.bucket, each.part.key) for each in parts if each.part is not None))
    first = shown("s3://{}/{}".format(*objects[0]))
    if len(objects) == 1:
        what, which = f"{first} has changed since it was split", "of it"
    else:
        more = len(objects) - 1
        what = f"{first} and {more:,} other object{'s' * (more > 1)} have changed since they were split"
        which = "of them"
    return f"{what}: {len(parts):,} part{'s' * (len(parts) > 1)} {which} cannot run any more."

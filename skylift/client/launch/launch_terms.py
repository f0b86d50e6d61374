"""How a map's server is started, in the tags of the map's role: what another client needs to start one more.

IAM keeps them, where neither a job's role nor a right to the bucket reaches. So whoever can write any object of a map
can still not decide what a client that watches it starts.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skylift.client.errors import UsageError
from skylift.client.job import commands
from skylift.client.job.record import JobKeys
from skylift.client.job.settings import Access
from skylift.client.launch.network import OWN
from skylift.client.launch.stages import Checked
from skylift.client.remote.account import Account
from skylift.client.ship.archive import boot_archive
from skylift.client.text.json_object import given
from skylift.contract.document import Malformed

TAG_LAUNCH = "skylift:launch"
TAG_ACCESS = "skylift:access"
_MOST = 256
"""Characters of a tag's value in IAM."""
_ACCESS_TAGS = (TAG_ACCESS, *(f"{TAG_ACCESS}-{number}" for number in range(2, 5)))
"""More than one where a server is in many security groups: AWS allows 5, and up to 16 to who asks for it."""
_LAUNCH = re.compile(
    r"(?P<type>[a-z0-9-]{1,32}\.[a-z0-9-]{1,32}) (?P<image>ami-[0-9a-z]{1,32}) (?P<base>ami-[0-9a-z]{1,32})"
    r" (?P<user>[a-z_][a-z0-9_-]{0,31}) (?P<deadline>[0-9]{1,11}) (?P<supervisor>[0-9a-f]{64})"
)
_OWN, _PRIVATE = "own", "private"


@dataclass(frozen=True)
class LaunchTerms:
    """`supervisor` is the digest of the archive that the server downloads, `base` the image that is taken when the
    other one is gone, `user` who programs run as, and `deadline` in seconds since the epoch."""

    instance_type: str
    image: str
    base: str
    user: str
    deadline: int
    supervisor: str
    access: Access = OWN

    def tags(self) -> list[dict[str, str]]:
        """Empty when they do not fit into tags, because of a long name, say. Then no client starts another server."""
        words = (self.instance_type, self.image, self.base, self.user, str(self.deadline), self.supervisor)
        places = (self.access.subnet or _OWN, *self.access.groups, *((_PRIVATE,) if self.access.private else ()))
        lines = textwrap.wrap(" ".join(places), _MOST, break_long_words=False, break_on_hyphens=False)
        tags = {TAG_LAUNCH: " ".join(words), **dict(zip(_ACCESS_TAGS, lines, strict=False))}
        try:
            if parse_terms(tags) != self:
                return []
        except Malformed:
            return []
        return [{"Key": key, "Value": value} for key, value in tags.items()]

    def boot_script(self, account: Account, job: str) -> str:
        """The user data of a job's server."""
        settings = account.settings
        where = account.bucket, JobKeys(job).base, settings.region
        argv = commands.boot_argv(*where, self.deadline, self.user, self.supervisor)
        return commands.boot_script(boot_archive(settings.cache), argv, self.deadline)


def terms_of(checked: Checked) -> LaunchTerms:
    settings, shipment = checked.account.settings, checked.shipment
    access = Access(settings.access.private, None, settings.access.subnet, settings.access.groups)
    digest = shipment.supervisor(settings.cache)
    more = (settings.login_user, shipment.deadline, digest, access)
    return LaunchTerms(checked.job.instance_type, checked.image, checked.base or checked.image, *more)


def parse_terms(tags: Mapping[str, str]) -> LaunchTerms | None:
    """None where there are none. Raises Malformed."""
    launch, access = tags.get(TAG_LAUNCH), [tags[each] for each in _ACCESS_TAGS if each in tags]
    if launch is None:
        return None
    given(tags.get(TAG_ACCESS), TAG_ACCESS)
    found = _LAUNCH.fullmatch(launch) if len(launch) <= _MOST else None
    if found is None:
        raise Malformed(f"`{TAG_LAUNCH}` is not as a client writes it")
    return LaunchTerms(
        instance_type=found["type"],
        image=found["image"],
        base=found["base"],
        user=found["user"],
        deadline=int(found["deadline"]),
        supervisor=found["supervisor"],
        access=_access(access),
    )


def _access(values: Sequence[str]) -> Access:
    place, *groups = " ".join(values).split(" ") if all(len(each) <= _MOST for each in values) else [""]
    private = groups[-1:] == [_PRIVATE]
    try:
        return Access(private, None, None if place == _OWN else place, tuple(groups[: len(groups) - private]))
    except UsageError:
        raise Malformed(f"`{TAG_ACCESS}` is not as a client writes it") from None

"""Facts about the machine that services need and cannot observe."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CloudFacts:
    """One row. `loopback_net` is the N of the 127.N.0.0/16 that this cloud has taken.

    `endpoint` is `host:port` as clients on the host reach it. `reserved_uids` are ranges of host uids, `FIRST-LAST`,
    that no server may have. `public_ips_given` counts on, so that an address is not soon given to another server:
    SSH clients remember the host key they saw at it. `allowed` are openings (see opening.py) that the
    cloud's owner asked for.
    """

    account: str
    region: str
    loopback_net: int
    endpoint: str = ""
    reserved_uids: tuple[str, ...] = ()
    public_ips_given: int = 0
    allowed: tuple[str, ...] = ()

"""Gives the loop of the spot market AWS's rules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.market import spot_market
from skylift.cloud.store.database import Tx


class SpotMarketRules:
    """The rules, with the account itself as the caller: who made a request was asked for permission then."""

    def __init__(self, account: str, region: str) -> None:
        self._caller = Caller(
            kind="root",
            account=account,
            region=region,
            arn=f"arn:aws:iam::{account}:role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot",
            user_id=account,
            access_key_id="",
            source_ip="spot.amazonaws.com",
            request_id="",
        )

    def plan(self, tx: Tx) -> Sequence[spot_market.MarketChange]:
        return spot_market.plan(tx, self._caller)

    def carry_out(self, tx: Tx, step: spot_market.MarketChange) -> None:
        spot_market.carry_out(tx, self._caller, step)

    def put_off(self, tx: Tx, step: spot_market.MarketChange, error: ServiceError) -> None:
        spot_market.put_off(tx, step, error)

    def next_moment(self, tx: Tx) -> datetime | None:
        return spot_market.next_moment(tx)

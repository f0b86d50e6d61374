"""A market that is cut off anywhere, and goes on: no request ever has two instances, none is forgotten."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress

import pytest
from ec2_fixtures import Cloud
from market_scene import STOPS, Scene

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.spot import SpotRequest
from skylift.cloud.loops.market.spot import SpotLoop
from skylift.cloud.services.market.spot_market import MarketChange
from skylift.cloud.store.database import Tx
from skylift.cloud.wiring.spot import SpotMarketRules

ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")


class Weather:
    """Random things that happen to a market."""

    def __init__(self, cloud: Cloud, seed: int) -> None:
        self.cloud = cloud
        self.scene = Scene(cloud)
        self.chance = random.Random(seed)
        self.market = SpotMarketRules(cloud.caller.account, cloud.caller.region)

    def change(self) -> None:
        what = self.chance.choice(
            (self.ask, self.ask, self.launch, self.price, self.room, self.interrupt, self.terminate, self.cancel)
        )
        what()

    def ask(self) -> None:
        self.scene.ask(self.chance.randint(1, 2), Type=self.chance.choice(("one-time", "persistent")))

    def launch(self) -> None:
        """Refused where the market is against it."""
        try:
            self.cloud.run(InstanceMarketOptions=STOPS)
        except ServiceError as error:
            assert error.code in ("SpotMaxPriceTooLow", "InsufficientInstanceCapacity")

    def price(self) -> None:
        self.scene.price(self.chance.choice(("0.004", "0.5")), AvailabilityZone=self.chance.choice(ZONES))

    def room(self) -> None:
        zone, count = self.chance.choice(ZONES), self.chance.choice((0, 1, 3))
        self.cloud.control("PutCapacity", InstanceType="t3.micro", AvailabilityZone=zone, InstanceCount=count)

    def interrupt(self) -> None:
        for one in self.some():
            if one.state in ("pending", "running"):
                self.cloud.control("InterruptInstance", InstanceId=one.id, Seconds=self.chance.choice((0, 30)))

    def terminate(self) -> None:
        for one in self.some():
            self.cloud.call("TerminateInstances", InstanceIds=[one.id])

    def cancel(self) -> None:
        with self.cloud.database.read() as tx:
            known = [one.id for one in tx.find(SpotRequest)]
        if known:
            self.cloud.call("CancelSpotInstanceRequests", SpotInstanceRequestIds=[self.chance.choice(known)])

    def some(self) -> list[Instance]:
        found = [one for one in self.instances() if one.state != "terminated"]
        return self.chance.sample(found, min(1, len(found)))

    def instances(self) -> list[Instance]:
        with self.cloud.database.read() as tx:
            return tx.find(Instance)

    def servers_follow(self) -> None:
        """What the loop of instances would write down, of some of them."""
        arrived = {"pending": "running", "stopping": "stopped", "shutting-down": "terminated"}
        for one in self.instances():
            if one.state in arrived and self.chance.random() < 0.7:
                self.cloud.observe(one.id, arrived[one.state])

    def die_midway(self) -> None:
        """The steps that had been worked out are carried out up to some point, by a process that then is gone."""
        with self.cloud.database.read() as tx:
            steps = self.market.plan(tx)
        for step in steps[: self.chance.randint(0, len(steps))]:
            # One of two requests for the last room is refused, and its transaction undone.
            with suppress(ServiceError), self.cloud.database.write() as tx:
                self.market.carry_out(tx, step)

    def check(self) -> None:
        """Each request has at most one instance that is not at its end."""
        alive = Counter(one.spot_request_id for one in self.instances() if one.state != "terminated")
        assert max(alive.values(), default=0) <= 1

    def clear_up(self) -> None:
        """Good weather, and all that is on its way arrives."""
        self.cloud.control("ResetCapacity", InstanceType="t3.micro")
        self.cloud.control("ResetSpotPrice", InstanceType="t3.micro")
        for _ in range(4):
            self.scene.settle()
            self.cloud.clock.forward(minutes=3)
            for _ in range(8):
                self.servers_follow()
        self.scene.settle()


def test_a_request_that_cannot_be_served_does_not_keep_the_others_from_it(cloud: Cloud) -> None:
    scene = Scene(cloud)
    broken, sound = scene.ask(2)

    class Forgetful(SpotMarketRules):
        def carry_out(self, tx: Tx, step: MarketChange) -> None:
            super().carry_out(tx, step)
            if step.id == broken:
                raise LookupError("what nobody has thought of")

    again: list[str] = []
    loop = SpotLoop(
        cloud.database,
        Forgetful(cloud.caller.account, cloud.caller.region),
        lambda: again.append("soon"),
        lambda _: None,
    )
    loop.step()
    assert (scene.state(sound)[0], scene.state(broken)[0], again) == ("active", "open", ["soon"])
    loop.step()
    assert again == ["soon"], "nothing has come of it: there is no hurry"
    scene.settle()
    assert scene.state(broken)[0] == "active"


@pytest.mark.parametrize("seed", range(5))
def test_each_request_has_one_instance_whatever_happens(cloud: Cloud, seed: int) -> None:
    weather = Weather(cloud, seed)
    for _ in range(25):
        weather.change()
        if weather.chance.random() < 0.5:
            weather.die_midway()
        else:
            weather.scene.settle()
        weather.servers_follow()
        cloud.clock.forward(seconds=weather.chance.choice((0, 40)))
        weather.check()
    weather.clear_up()
    weather.check()
    with cloud.database.read() as tx:
        requests = tx.find(SpotRequest)
        alive = {one.id: one for one in tx.find(Instance) if one.state != "terminated"}
    assert requests
    wanting = [one for one in requests if one.type == "persistent" and one.state not in ("cancelled", "disabled")]
    assert {one.state for one in wanting} <= {"active"}
    assert all(one.instance_id in alive for one in requests if one.state == "active")
    served = {one.instance_id for one in requests if one.state in ("active", "disabled", "cancelled")}
    assert set(alive) <= served

"""A cloud whose market acts when it is told to, as its loop would."""

from __future__ import annotations

from typing import Any

from ec2_fixtures import Cloud

from skylift.cloud.loops.market.spot import SpotLoop
from skylift.cloud.wiring.spot import SpotMarketRules

SPOT = {"MarketType": "spot"}
STOPS = {
    "MarketType": "spot",
    "SpotOptions": {"SpotInstanceType": "persistent", "InstanceInterruptionBehavior": "stop"},
}


class Scene:
    """`woken` are the seconds after which the loop wants to be called again."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.woken: list[float] = []
        self._again = False
        market = SpotMarketRules(cloud.caller.account, cloud.caller.region)
        self._loop = SpotLoop(cloud.database, market, self._wake, self.woken.append)

    def _wake(self) -> None:
        self._again = True

    def step(self) -> None:
        """One look."""
        self._loop.step()

    def settle(self) -> None:
        """Let the market act until it has nothing more to do."""
        for _ in range(10):
            self._again = False
            self.woken.clear()
            self._loop.step()
            if not self._again:
                return
        raise AssertionError("the market does not come to rest")

    def launch(self, **options: Any) -> str:
        """A spot instance that runs."""
        found: str = self.cloud.run(InstanceMarketOptions=SPOT, **options)["InstanceId"]
        self.cloud.observe(found, "running")
        return found

    def price(self, price: str, **more: Any) -> None:
        self.cloud.control("PutSpotPrice", InstanceType="t3.micro", SpotPrice=price, **more)

    def request(self, request_id: str) -> dict[str, Any]:
        found: dict[str, Any]
        (found,) = self.cloud.call("DescribeSpotInstanceRequests", SpotInstanceRequestIds=[request_id])[
            "SpotInstanceRequests"
        ]
        return found

    def of(self, instance_id: str) -> dict[str, Any]:
        """The request that an instance came by."""
        return self.request(self.cloud.instance(instance_id)["SpotInstanceRequestId"])

    def ask(self, count: int = 1, **more: Any) -> list[str]:
        """The ids of requests."""
        specification = {"ImageId": self.cloud.image_id, "InstanceType": "t3.micro", **more.pop("launch", {})}
        made = self.cloud.call("RequestSpotInstances", LaunchSpecification=specification, InstanceCount=count, **more)
        return [one["SpotInstanceRequestId"] for one in made["SpotInstanceRequests"]]

    def state(self, request_id: str) -> tuple[str, str]:
        found = self.request(request_id)
        return found["State"], found["Status"]["Code"]

    def live(self) -> list[str]:
        """Instances that have not ended, or are about to."""
        found = self.cloud.call("DescribeInstances")["Reservations"]
        return [
            one["InstanceId"]
            for reservation in found
            for one in reservation["Instances"]
            if one["State"]["Name"] not in ("shutting-down", "terminated")
        ]

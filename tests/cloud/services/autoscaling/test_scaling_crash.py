"""Whatever ends the loop between two commits, or just before or after one: the group has what it wants in the end, and
never more than its most."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from ec2_fixtures import open_cloud
from hypothesis import given, settings
from hypothesis import strategies as st
from scaling_scene import Scene
from support.fresh_state import quick_directory

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.spot import SpotNotice
from skylift.cloud.store.database import Database, Tx


class Killed(BaseException):
    """What no program can catch."""


class Mortal:
    """The database of a process that dies at its `lives`-th commit: before it is made, or when it has been."""

    def __init__(self, scene: Scene, lives: int, *, before: bool) -> None:
        self._scene = scene
        self._database: Database = scene.database
        self._lives = lives
        self._before = before
        self.read = self._database.read

    @contextmanager
    def write(self) -> Iterator[Tx]:
        self._lives -= 1
        with self._database.write() as tx:
            yield tx
            self._scene.check_in(tx)
            if not self._lives and self._before:
                raise Killed
        self._scene.check()
        if not self._lives:
            raise Killed


Kind = Literal["alike", "mixed", "weighted"]

EVENTS = st.one_of(
    st.tuples(st.just("desired"), st.integers(0, 4)),
    st.tuples(st.just("most"), st.integers(1, 4)),
    st.tuples(
        st.sampled_from(["die", "terminate", "standby", "back", "detach", "unhealthy", "warn", "boot"]),
        st.integers(0, 3),
    ),
)


def happen(scene: Scene, what: str, number: int) -> None:
    """Something that a user or a server does; what the group's state does not allow now is refused, as it should be."""
    members = scene.group["Instances"]
    chosen = members[number % len(members)]["InstanceId"] if members else None
    one: dict[str, object] = {"InstanceIds": [chosen], "ShouldDecrementDesiredCapacity": bool(number % 2)}
    try:
        if what == "desired":
            scene.on("SetDesiredCapacity", DesiredCapacity=number)
        elif what == "most":
            scene.on("UpdateAutoScalingGroup", MaxSize=number)
        elif what == "boot":
            scene.boot()
        elif chosen is None:
            return
        elif what == "die":
            scene.die(chosen)
        elif what == "terminate":
            scene.call(
                "TerminateInstanceInAutoScalingGroup",
                InstanceId=chosen,
                ShouldDecrementDesiredCapacity=bool(number % 2),
            )
        elif what == "standby":
            scene.on("EnterStandby", **one)
        elif what == "back":
            scene.on("ExitStandby", InstanceIds=[chosen])
        elif what == "detach":
            scene.on("DetachInstances", **one)
        elif what == "warn":
            warn(scene, chosen)
        elif what == "unhealthy":
            scene.call("SetInstanceHealth", InstanceId=chosen, HealthStatus="Unhealthy")
    except ServiceError as error:
        assert error.code in ("ValidationError", "ScalingActivityInProgress")


def policy(scene: Scene, kind: Kind) -> dict[str, object]:
    """One on demand, the others on the spot market."""
    template = {"LaunchTemplateId": scene.template, "Version": "$Latest"}
    overrides = [{"InstanceType": "t3.micro"}]
    if kind == "weighted":
        weights = {"t3.small": "3", "t3.micro": "2"}
        overrides = [{"InstanceType": name, "WeightedCapacity": weight} for name, weight in weights.items()]
    return {
        "LaunchTemplate": {"LaunchTemplateSpecification": template, "Overrides": overrides},
        "InstancesDistribution": {"OnDemandBaseCapacity": 1, "OnDemandPercentageAboveBaseCapacity": 0},
    }


def warn(scene: Scene, instance_id: str) -> None:
    with scene.database.write() as tx:
        if tx.get(SpotNotice, instance_id=instance_id) is None:
            tx.add(SpotNotice(instance_id, rebalance=tx.now))


@settings(max_examples=60)
@given(st.sampled_from(get_args(Kind)), st.lists(st.tuples(EVENTS, st.integers(1, 4), st.booleans()), max_size=8))
def test_a_group_survives_its_loop(kind: Kind, story: list[tuple[tuple[str, int], int, bool]]) -> None:
    with quick_directory() as directory:
        cloud = open_cloud(directory)
        try:
            scene = Scene(cloud)
            if kind == "alike":
                scene.create(0, 4, 2)
            else:
                several = {"MixedInstancesPolicy": policy(scene, kind), "CapacityRebalance": True}
                scene.create(0, 4, 2, LaunchTemplate=None, **several)
            for (what, number), lives, before in story:
                loop = scene.new_loop(Mortal(scene, lives, before=before))
                try:
                    loop.step()
                except Killed:
                    # The next process begins with what is written down, as each of these does.
                    scene.check()
                happen(scene, what, number)
                scene.check()
                cloud.clock.forward(seconds=2)
            for _ in range(3):
                scene.settle()
                cloud.clock.forward(minutes=6)
            scene.settle()
            group = scene.group
            there = sum(
                int(one.get("WeightedCapacity", 1)) for one in group["Instances"] if one["InstanceId"] in scene.ids
            )
            assert group["DesiredCapacity"] <= there <= group["DesiredCapacity"] + (2 if kind == "weighted" else 0)
            assert group["DesiredCapacity"] <= group["MaxSize"]
            assert set(scene.states) <= {"InService", "Standby"}
            assert {one["StatusCode"] for one in scene.activities} <= {"Successful", "Cancelled", "Failed"}
        finally:
            cloud.database.close()

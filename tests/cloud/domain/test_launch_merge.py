"""A launch over its template's: what each has, and which one counts."""

from __future__ import annotations

from skylift.cloud.domain.launch_request import (
    DeviceRequest,
    InterfaceRequest,
    LaunchRequest,
    PlacementRequest,
    TagPair,
    TagRequest,
    VolumeRequest,
)


def test_a_request_takes_the_place_of_its_template() -> None:
    template = LaunchRequest(image="ami-1", type="t3.micro", key_name="theirs", stop_protected=True)
    asked = LaunchRequest(template={"LaunchTemplateId": "lt-1"}, type="t3.large", key_name="", stop_protected=False)
    assert asked.over(template) == LaunchRequest(image="ami-1", type="t3.large", key_name="", stop_protected=False)


def test_a_placement_is_taken_as_a_whole() -> None:
    template = LaunchRequest(placement=PlacementRequest(zone="a", tenancy="host"))
    assert LaunchRequest().over(template).placement == template.placement
    own = PlacementRequest(zone="b")
    assert LaunchRequest(placement=own).over(template).placement == own


def test_interfaces_and_devices_are_merged_one_by_one() -> None:
    small, large = VolumeRequest(8), VolumeRequest(9)
    template = LaunchRequest(
        interfaces=(InterfaceRequest(0, subnet_id="subnet-1", group_ids=("sg-1",)), InterfaceRequest(1)),
        devices=(
            DeviceRequest("/dev/sdf", volume=VolumeRequest(8)),
            DeviceRequest("/dev/sdg", volume=VolumeRequest(9)),
        ),
    )
    asked = LaunchRequest(
        interfaces=(InterfaceRequest(0, subnet_id="subnet-2"), InterfaceRequest(2)),
        devices=(DeviceRequest("/dev/sdg", left_out=True), DeviceRequest("/dev/sdh")),
    )
    merged = asked.over(template)
    assert merged.interfaces == (
        InterfaceRequest(0, subnet_id="subnet-2", group_ids=("sg-1",)),
        InterfaceRequest(1),
        InterfaceRequest(2),
    )
    assert merged.devices == (
        DeviceRequest("/dev/sdf", volume=small),
        DeviceRequest("/dev/sdg", left_out=True, volume=large),
        DeviceRequest("/dev/sdh"),
    )


def test_tags_are_merged_by_resource_and_key() -> None:
    template = LaunchRequest(tags=(TagRequest("instance", (TagPair("a", "1"), TagPair("b", "1"))),))
    asked = LaunchRequest(
        tags=(TagRequest("instance", (TagPair("b", "2"),)), TagRequest("volume", (TagPair("c", "3"),)))
    )
    assert asked.over(template).tags == (
        TagRequest("instance", (TagPair("a", "1"), TagPair("b", "2"))),
        TagRequest("volume", (TagPair("c", "3"),)),
    )

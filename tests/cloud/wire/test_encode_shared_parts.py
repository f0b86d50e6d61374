"""Parts that many answers share are written as any other structure is, from what was kept of them."""

from __future__ import annotations

from typing import Any

from skylift.cloud.domain.shared_part import SharedPart
from skylift.cloud.wire.codecs import codecs_for
from skylift.cloud.wire.encode_xml import MOST_KNOWN


def documents() -> Any:
    """Writes DescribeInstances of instances with these members, as the text between its first and last element."""
    codec = next(codec for codec in codecs_for("ec2") if codec.service.protocol == "ec2")
    operation = codec.service.operation("DescribeInstances")

    def document(*instances: dict[str, Any]) -> str:
        result = {"Reservations": [{"Instances": list(instances)}]}
        return str(codec.encode(operation, result, "request").body.decode())

    return document


def test_a_part_is_written_like_any_structure() -> None:
    document = documents()
    operator = {"Managed": True, "Principal": "a & b <\r\x00>"}
    part = SharedPart(operator)
    for _ in range(2):
        assert document({"Operator": part}) == document({"Operator": operator})
    assert "<operator><managed>true</managed><principal>a &amp; b &lt;&#xD;\ufffd&gt;</principal>" in document(
        {"Operator": part}
    )


def test_one_part_in_two_elements_is_written_as_each_of_them() -> None:
    document, part = documents(), SharedPart({"Managed": False})
    shown = document({"Operator": part, "NetworkInterfaces": [{"Operator": part, "Groups": [], "Status": "in-use"}]})
    plain = {"Managed": False}
    assert shown == document(
        {"Operator": plain, "NetworkInterfaces": [{"Operator": plain, "Groups": [], "Status": "in-use"}]}
    )


def test_parts_within_a_part_are_written() -> None:
    document = documents()
    members = {"State": "applied", "HttpTokens": None, "HttpPutResponseHopLimit": 2}
    whole = SharedPart({"InstanceId": "i-1", "MetadataOptions": members})
    for _ in range(2):
        assert document(whole) == document({"InstanceId": "i-1", "MetadataOptions": members})


def test_a_part_that_comes_when_another_is_gone_has_its_own_text() -> None:
    """Objects that are gone leave their address to others: what is kept of a part must not be found by that alone."""
    document = documents()
    for number in range(3 * MOST_KNOWN):
        assert f"<principal>{number}</principal>" in document({"Operator": SharedPart({"Principal": f"{number}"})})

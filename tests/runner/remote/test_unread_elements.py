"""What is taken out of an answer before it is parsed, and what never is."""

from __future__ import annotations

from skylift.runner.remote.unread_elements import cut_out, unread_elements

SHAPES = {
    "Answer": {"type": "structure", "members": {"Servers": {"shape": "Servers", "locationName": "serverSet"}}},
    "Servers": {"type": "list", "member": {"shape": "Server", "locationName": "item"}},
    "Server": {
        "type": "structure",
        "members": {
            "Id": {"shape": "Text", "locationName": "id"},
            "Disks": {"shape": "Disks", "locationName": "diskSet"},
            "Tags": {"shape": "Tags", "locationName": "tagSet"},
            "Parent": {"shape": "Parent", "locationName": "parent"},
            "Place": {"shape": "Place"},
        },
    },
    "Disks": {"type": "list", "member": {"shape": "Disk", "locationName": "item"}},
    "Disk": {"type": "structure", "members": {"Tags": {"shape": "Tags", "locationName": "tagSet"}}},
    "Tags": {"type": "list", "member": {"shape": "Text", "locationName": "item"}},
    "Parent": {"type": "structure", "members": {"Parent": {"shape": "Parent", "locationName": "parent"}}},
    "Place": {"type": "structure", "members": {"Zone": {"shape": "Text", "locationName": "zone"}}},
    "Text": {"type": "string"},
}


def narrowed(*members: str) -> dict[str, object]:
    server = SHAPES["Server"]
    assert isinstance(server["members"], dict)
    return {**SHAPES, "Server": {**server, "members": {each: server["members"][each] for each in members}}}


def test_what_is_read_nowhere_is_left_out_and_what_may_stand_in_itself_is_not() -> None:
    assert unread_elements(SHAPES, narrowed("Id"), "Answer") == (b"diskSet", b"tagSet", b"Place")
    assert unread_elements(SHAPES, narrowed("Id", "Tags"), "Answer") == (b"diskSet", b"Place")
    assert unread_elements(SHAPES, SHAPES, "Answer") == ()


def test_elements_go_with_all_that_is_in_them() -> None:
    body = (
        b"<item><id>a</id><diskSet><item><tagSet><item>of a disk</item></tagSet></item></diskSet>"
        b"<tagSet><item>&lt;diskSet&gt;</item></tagSet></item><item><id>b</id><diskSet/></item>"
        b"<item><diskSet></diskSet><id>c</id></item>"
    )
    assert cut_out(body, [b"diskSet"]) == (
        b"<item><id>a</id><tagSet><item>&lt;diskSet&gt;</item></tagSet></item><item><id>b</id><diskSet/></item>"
        b"<item><id>c</id></item>"
    )
    assert cut_out(body, []) == body


def test_an_answer_whose_texts_may_look_like_elements_stays_as_it_is() -> None:
    body = b"<id><![CDATA[<diskSet>]]></id><diskSet></diskSet>"
    assert cut_out(body, [b"diskSet"]) == body

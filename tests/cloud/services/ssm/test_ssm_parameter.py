from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from identity_fixtures import ACCOUNT, START, Account, allow, deny, refused

from skylift.cloud.domain.instance import Image
from skylift.cloud.services.ec2.image import register_image
from skylift.cloud.services.table import TABLE

AL2023 = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"


def arn(name: str, account: str = ACCOUNT) -> str:
    return f"arn:aws:ssm:us-east-1:{account}:parameter/{name}"


def put(account: Account, name: str, value: str = "v", **more: Any) -> dict[str, Any]:
    kind = {} if more.get("Overwrite") else {"Type": "String"}
    return account.ssm("PutParameter", **{"Name": name, "Value": value, **kind, **more})


def names(answer: dict[str, Any]) -> list[str]:
    return [parameter["Name"] for parameter in answer["Parameters"]]


def add_image(account: Account, image_id: str, days: int = 0, architecture: Any = "x86_64") -> None:
    created = START + timedelta(days=days)
    with account.database.write() as tx:
        register_image(tx, Image(image_id, image_id, "Debian, a stand-in", "/nowhere", 8, created, architecture))


def test_a_parameter_that_was_put_is_answered(account: Account) -> None:
    assert put(account, "/app/url", "http://x") == {"Version": 1, "Tier": "Standard"}
    assert account.ssm("GetParameter", Name="/app/url", WithDecryption=True)["Parameter"] == {
        "Name": "/app/url",
        "Type": "String",
        "Value": "http://x",
        "Version": 1,
        "LastModifiedDate": START,
        "ARN": arn("app/url"),
        "DataType": "text",
    }
    assert account.ssm("GetParameter", Name=arn("app/url"))["Parameter"]["Value"] == "http://x"
    put(account, "plain")
    assert account.ssm("GetParameter", Name=arn("plain"))["Parameter"]["ARN"] == arn("plain")


def test_versions(account: Account) -> None:
    put(account, "a", "1", Description="first")
    with refused("ParameterAlreadyExists", "overwrite"):
        put(account, "a", "2")
    account.pass_time(hours=1)
    assert put(account, "a", "2", Overwrite=True)["Version"] == 2
    newest = account.ssm("GetParameter", Name="a")["Parameter"]
    assert (newest["Value"], newest["LastModifiedDate"]) == ("2", START + timedelta(hours=1))
    old = account.ssm("GetParameter", Name="a:1")["Parameter"]
    assert (old["Value"], old["Version"], old["Selector"]) == ("1", 1, ":1")
    with refused("ParameterVersionNotFound", "version 3 of a"):
        account.ssm("GetParameter", Name="a:3")
    with refused("ParameterVersionNotFound", "label prod of a"):
        account.ssm("GetParameter", Name="a:prod")
    with refused("ValidationException", "correct syntax"):
        account.ssm("GetParameter", Name="a:1:2")
    history = account.ssm("GetParameterHistory", Name="a")["Parameters"]
    assert [(one["Version"], one["Value"], one["Description"]) for one in history] == [
        (1, "1", "first"),
        (2, "2", "first"),
    ]


def test_the_oldest_of_more_than_a_hundred_versions_goes(account: Account) -> None:
    put(account, "a", "1")
    for number in range(2, 102):
        put(account, "a", str(number), Overwrite=True)
    first = account.ssm("GetParameterHistory", Name="a", MaxResults=50)
    assert [one["Version"] for one in first["Parameters"]] == list(range(2, 52))
    second = account.ssm("GetParameterHistory", Name="a", MaxResults=50, NextToken=first["NextToken"])
    assert [one["Version"] for one in second["Parameters"]] == list(range(52, 102))
    assert "NextToken" not in second


@pytest.mark.parametrize(
    ("params", "code", "words"),
    [
        ({"Name": "aws-x"}, "ValidationException", 'prefixed with "aws" or "ssm"'),
        ({"Name": "/SSM/x"}, "ValidationException", 'prefixed with "ssm"'),
        ({"Name": "/aws/x"}, "AccessDenied", "reserved"),
        ({"Name": "a/b"}, "ValidationException", "fully qualified"),
        ({"Name": "/a b"}, "ValidationException", "sub-path"),
        ({"Name": "/a/"}, "ValidationException", "sub-path"),
        ({"Name": "/a" * 16}, "HierarchyLevelLimitExceededException", "15"),
        ({"Name": "x" * 1000}, "ValidationException", "1011"),
        ({"Value": ""}, "ValidationException", "'value'"),
        ({"Value": "a {{b}}"}, "ValidationException", "nest"),
        ({"Value": "x" * 4097}, "ValidationException", "4096"),
        ({"Value": "x" * 8193, "Tier": "Advanced"}, "ValidationException", "8192"),
        ({"Type": "SecureString"}, "UnsupportedParameterType", "SecureString"),
        ({"Type": "Text"}, "ValidationException", "'type'"),
        ({"Tier": "Golden"}, "ValidationException", "'tier'"),
        ({"DataType": "aws:ec2:image"}, "ValidationException", "aws:ec2:image"),
        ({"DataType": "Text"}, "ValidationException", "lowercase"),
        ({"Overwrite": True, "Tags": [{"Key": "k", "Value": "v"}]}, "ValidationException", "together"),
        ({"Tags": [{"Key": "aws:k", "Value": "v"}]}, "ValidationException", "reserved"),
        ({"Tags": [{"Key": f"k{n}", "Value": "v"} for n in range(51)]}, "TooManyTagsError", "50"),
    ],
)
def test_what_cannot_be_put(account: Account, params: dict[str, Any], code: str, words: str) -> None:
    with refused(code, words):
        account.ssm("PutParameter", **{"Name": "/a", "Value": "v", "Type": "String", **params})
    assert account.ssm("DescribeParameters")["Parameters"] == []


def test_a_new_parameter_needs_a_type_and_an_old_one_keeps_it(account: Account) -> None:
    with refused("ValidationException", "type is required"):
        account.ssm("PutParameter", Name="a", Value="v")
    account.ssm("PutParameter", Name="a", Value="x,y", Type="StringList")
    with refused("HierarchyTypeMismatchException", "StringList"):
        account.ssm("PutParameter", Name="a", Value="v", Type="String", Overwrite=True)
    account.ssm("PutParameter", Name="a", Value="z", Overwrite=True)
    assert account.ssm("GetParameter", Name="a")["Parameter"]["Type"] == "StringList"


def test_tiers(account: Account) -> None:
    assert put(account, "small", "x", Tier="Intelligent-Tiering")["Tier"] == "Standard"
    assert put(account, "large", "x" * 4097, Tier="Intelligent-Tiering")["Tier"] == "Advanced"
    assert put(account, "large", "x", Overwrite=True)["Tier"] == "Advanced"
    with refused("ValidationException", "downgrade"):
        put(account, "large", "x", Overwrite=True, Tier="Standard")
    assert put(account, "small", "x", Overwrite=True, Tier="Advanced")["Tier"] == "Advanced"


def test_several_at_once(account: Account) -> None:
    put(account, "a")
    put(account, "b")
    answer = account.ssm("GetParameters", Names=["b", "none", "a:1", "a:7", "b"])
    assert names(answer) == ["b", "a"]
    assert answer["InvalidParameters"] == ["none", "a:7"]


def test_deleting(account: Account) -> None:
    for name in ("a", "b", "c"):
        put(account, name)
    with refused("ParameterNotFound"):
        account.ssm("DeleteParameter", Name="a:1")
    account.ssm("DeleteParameter", Name="a")
    with refused("ParameterNotFound"):
        account.ssm("DeleteParameter", Name="a")
    with refused("ParameterNotFound"):
        account.ssm("GetParameter", Name="a")
    assert account.ssm("DeleteParameters", Names=["a", "b"]) == {"DeletedParameters": ["b"], "InvalidParameters": ["a"]}
    assert put(account, "a", "new")["Version"] == 1
    assert len(account.ssm("GetParameterHistory", Name="a")["Parameters"]) == 1


def test_by_path(account: Account) -> None:
    for name in ("/app/a", "/app/b", "/app/deep/c", "/apple/d", "/app0", "top"):
        put(account, name)
    account.ssm("PutParameter", Name="/app/list", Value="x,y", Type="StringList")
    assert names(account.ssm("GetParametersByPath", Path="/app")) == ["/app/a", "/app/b", "/app/list"]
    whole = ["/app/a", "/app/b", "/app/deep/c", "/app/list"]
    assert names(account.ssm("GetParametersByPath", Path="/app/", Recursive=True)) == whole
    assert names(account.ssm("GetParametersByPath", Path="/")) == ["/app0", "top"]
    assert len(account.ssm("GetParametersByPath", Path="/", Recursive=True)["Parameters"]) == 7
    lists = [{"Key": "Type", "Values": ["StringList"]}]
    assert names(account.ssm("GetParametersByPath", Path="/app", ParameterFilters=lists)) == ["/app/list"]
    with refused("InvalidFilterKey", "Name"):
        account.ssm("GetParametersByPath", Path="/app", ParameterFilters=[{"Key": "Name", "Values": ["a"]}])
    with refused("ValidationException", "forward slash"):
        account.ssm("GetParametersByPath", Path="app")


def test_pages_lose_and_repeat_nothing(account: Account) -> None:
    for number in range(25):
        put(account, f"/p/{number:02d}")
    seen: list[str] = []
    token: dict[str, str] = {}
    while True:
        answer = account.ssm("GetParametersByPath", Path="/p", **token)
        assert len(answer["Parameters"]) <= 10
        seen += names(answer)
        if "NextToken" not in answer:
            break
        # What comes and goes meanwhile does not move the others.
        account.ssm("DeleteParameter", Name=seen[0])
        put(account, seen[0])
        token = {"NextToken": answer["NextToken"]}
    assert seen == [f"/p/{number:02d}" for number in range(25)]
    for token_text in ("nonsense", "W10="):
        with refused("InvalidNextToken"):
            account.ssm("DescribeParameters", NextToken=token_text)


def test_describing(account: Account) -> None:
    put(account, "/app/a", Description="an a", Tags=[{"Key": "stage", "Value": "prod"}])
    put(account, "/app/deep/b", Tier="Advanced")
    put(account, "c")
    assert account.ssm("DescribeParameters", MaxResults=1)["Parameters"] == [
        {
            "Name": "/app/a",
            "ARN": arn("app/a"),
            "Type": "String",
            "LastModifiedDate": START,
            "LastModifiedUser": f"arn:aws:iam::{ACCOUNT}:root",
            "Description": "an a",
            "Version": 1,
            "Tier": "Standard",
            "Policies": [],
            "DataType": "text",
        }
    ]

    def found(*filters: dict[str, Any]) -> list[str]:
        return names(account.ssm("DescribeParameters", ParameterFilters=list(filters)))

    assert found({"Key": "Name", "Values": ["c"]}) == ["c"]
    assert found({"Key": "Name", "Option": "BeginsWith", "Values": ["/app/d", "c"]}) == ["/app/deep/b", "c"]
    assert found({"Key": "Name", "Option": "Contains", "Values": ["deep"]}) == ["/app/deep/b"]
    assert found({"Key": "Path", "Values": ["/app"]}) == ["/app/a"]
    assert found({"Key": "Path", "Option": "Recursive", "Values": ["/app"]}) == ["/app/a", "/app/deep/b"]
    assert found({"Key": "Tier", "Values": ["Advanced"]}) == ["/app/deep/b"]
    assert found({"Key": "tag:stage", "Values": ["prod", "test"]}) == ["/app/a"]
    assert found({"Key": "tag:stage"}) == ["/app/a"]
    assert found({"Key": "tag:other"}) == []
    assert found({"Key": "Tier", "Values": ["Standard"]}, {"Key": "Path", "Values": ["/app"]}) == ["/app/a"]
    assert names(account.ssm("DescribeParameters", Filters=[{"Key": "Name", "Values": ["/app/"]}])) == [
        "/app/a",
        "/app/deep/b",
    ]


@pytest.mark.parametrize(
    ("filters", "code"),
    [
        ([{"Key": "Label", "Values": ["x"]}], "InvalidFilterKey"),
        ([{"Key": "Name", "Values": ["x"]}, {"Key": "Name", "Values": ["y"]}], "InvalidFilterKey"),
        ([{"Key": "Name", "Option": "Recursive", "Values": ["x"]}], "InvalidFilterOption"),
        ([{"Key": "Path", "Option": "Equals", "Values": ["/x"]}], "InvalidFilterOption"),
        ([{"Key": "Name"}], "InvalidFilterValue"),
        ([{"Key": "Type", "Values": ["Number"]}], "InvalidFilterValue"),
        ([{"Key": "Path", "Values": ["/aws/service"]}], "ValidationException"),
        ([{"Key": "Path", "Values": ["x"]}], "ValidationException"),
    ],
)
def test_filters_that_make_no_sense(account: Account, filters: list[dict[str, Any]], code: str) -> None:
    with refused(code):
        account.ssm("DescribeParameters", ParameterFilters=filters)


def test_tags(account: Account) -> None:
    put(account, "a", Tags=[{"Key": "k", "Value": "1"}])
    on_a = {"ResourceType": "Parameter", "ResourceId": "a"}
    account.ssm("AddTagsToResource", **on_a, Tags=[{"Key": "k", "Value": "2"}, {"Key": "l", "Value": ""}])
    assert account.ssm("ListTagsForResource", **on_a)["TagList"] == [
        {"Key": "k", "Value": "2"},
        {"Key": "l", "Value": ""},
    ]
    account.ssm("RemoveTagsFromResource", **on_a, TagKeys=["k", "none"])
    assert account.ssm("ListTagsForResource", **on_a)["TagList"] == [{"Key": "l", "Value": ""}]
    with refused("InvalidResourceId", "none"):
        account.ssm("ListTagsForResource", ResourceType="Parameter", ResourceId="none")
    with refused("InvalidResourceType"):
        account.ssm("ListTagsForResource", ResourceType="Document", ResourceId="a")


def test_public_parameters_name_the_newest_image(account: Account) -> None:
    with refused("ParameterNotFound"):
        account.ssm("GetParameter", Name=AL2023)
    add_image(account, "ami-00000000000000002", days=2)
    add_image(account, "ami-00000000000000001", days=1)
    add_image(account, "ami-0000000000000000a", days=3, architecture="arm64")
    found = account.ssm("GetParameter", Name=AL2023)["Parameter"]
    assert (found["Value"], found["Version"]) == ("ami-00000000000000002", 2)
    assert found["ARN"] == arn(AL2023.removeprefix("/"), account="")
    others = [
        "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64",
        "/aws/service/debian/release/13/latest/amd64",
        "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id",
    ]
    answer = account.ssm("GetParameters", Names=[*others, "/aws/service/none"])
    assert [one["Value"][-1] for one in answer["Parameters"]] == ["a", "2", "2"]
    assert answer["InvalidParameters"] == ["/aws/service/none"]
    listed = account.ssm("GetParametersByPath", Path="/aws/service/ami-amazon-linux-latest")
    assert AL2023 in names(listed)
    assert "NextToken" in listed
    assert account.ssm("DescribeParameters")["Parameters"] == []
    with refused("ParameterNotFound"):
        account.ssm("DeleteParameter", Name=AL2023)


def test_an_image_parameter_holds_an_image(account: Account) -> None:
    add_image(account, "ami-00000000000000001")
    put(account, "golden", "ami-00000000000000001", DataType="aws:ec2:image")
    with refused("ValidationException", "ami-9"):
        put(account, "golden", "ami-9", Overwrite=True)
    assert account.ssm("GetParameter", Name="golden")["Parameter"]["DataType"] == "aws:ec2:image"


@pytest.mark.parametrize("path", ["/", "/app", "/app/"])
@pytest.mark.parametrize("resource", [arn("*"), f"{arn('')[:-1]}*", "*"])
def test_no_path_escapes_a_deny_on_all_parameters(account: Account, path: str, resource: str) -> None:
    put(account, "/app/secret")
    reader = account.role("reader", allow("ssm:*"), deny("ssm:*", resource))
    with refused("AccessDenied", "explicit deny"):
        account.ssm("GetParametersByPath", Path=path, Recursive=True, caller=reader)


@pytest.mark.parametrize("path", ["/aws", "/aws/", "/aws/service"])
def test_nor_one_on_those_that_aws_publishes(account: Account, path: str) -> None:
    add_image(account, "ami-00000000000000001")
    reader = account.role("reader", allow("ssm:*"), deny("ssm:*", arn("*", account="")))
    with refused("AccessDenied", "explicit deny"):
        account.ssm("GetParametersByPath", Path=path, Recursive=True, caller=reader)


def test_permissions_are_by_name_path_and_tag(account: Account) -> None:
    put(account, "/app/a", Tags=[{"Key": "stage", "Value": "prod"}])
    put(account, "/other")
    reader = account.role(
        "reader",
        allow(["ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"], arn("app*")),
        allow("ssm:GetParameter", arn("aws/service/*", account="")),
        allow("ssm:DeleteParameter", Condition={"StringEquals": {"aws:ResourceTag/stage": "prod"}}),
        allow("ssm:PutParameter"),
        deny("ssm:PutParameter", Condition={"StringEquals": {"ssm:Overwrite": "true"}}),
    )
    account.ssm("GetParameter", Name="/app/a", caller=reader)
    account.ssm("GetParametersByPath", Path="/app", caller=reader)
    with refused("AccessDenied", "ssm:GetParameters", arn("other")):
        account.ssm("GetParameters", Names=["/app/a", "/other"], caller=reader)
    with refused("AccessDenied"):
        account.ssm("GetParametersByPath", Path="/", caller=reader)
    with refused("AccessDenied", f"arn:aws:ssm:us-east-1:{ACCOUNT}:*"):
        account.ssm("DescribeParameters", caller=reader)
    with refused("ParameterNotFound"):
        account.ssm("GetParameter", Name=AL2023, caller=reader)
    account.ssm("PutParameter", Name="/new", Value="v", Type="String", caller=reader)
    with refused("AccessDenied", "ssm:AddTagsToResource"):
        account.ssm(
            "PutParameter", Name="/b", Value="v", Type="String", Tags=[{"Key": "k", "Value": "v"}], caller=reader
        )
    with refused("AccessDenied", "explicit deny"):
        account.ssm("PutParameter", Name="/new", Value="w", Overwrite=True, caller=reader)
    with refused("AccessDenied"):
        account.ssm("DeleteParameter", Name="/other", caller=reader)
    account.ssm("DeleteParameter", Name="/app/a", caller=reader)


def test_what_is_not_carried_out_is_refused_by_name() -> None:
    params = {"Name": "a", "Value": "v", "KeyId": "k", "AllowedPattern": "x", "Policies": "[]"}
    assert TABLE["ssm", "PutParameter"].unsupported(params) == ["KeyId", "AllowedPattern", "Policies"]


def test_at_the_root_a_name_has_a_slash_or_none(account: Account) -> None:
    """LocalStack's test_put_parameters, which was validated against AWS, reads one parameter by both names, and is
    answered the one that it asked for."""
    put(account, "plain", "1")
    put(account, "/rooted", "2")
    for name, value in (("plain", "1"), ("/plain", "1"), ("rooted", "2"), ("/rooted", "2")):
        found = account.ssm("GetParameter", Name=name)["Parameter"]
        assert (found["Name"], found["Value"]) == (name, value)
        assert account.ssm("GetParameters", Names=[f"{name}:1"])["Parameters"][0]["Name"] == name
    assert account.ssm("GetParameter", Name=arn("rooted"))["Parameter"]["Value"] == "2"
    with refused("ParameterAlreadyExists"):
        put(account, "/plain")
    assert put(account, "rooted", "3", Overwrite=True)["Version"] == 2
    assert names(account.ssm("DescribeParameters")) == ["/rooted", "plain"]
    account.ssm("AddTagsToResource", ResourceType="Parameter", ResourceId="/plain", Tags=[{"Key": "k", "Value": "v"}])
    assert account.ssm("ListTagsForResource", ResourceType="Parameter", ResourceId="plain")["TagList"]
    account.ssm("DeleteParameter", Name="/plain")
    assert account.ssm("DeleteParameters", Names=["rooted"])["DeletedParameters"] == ["rooted"]
    assert account.ssm("DescribeParameters")["Parameters"] == []
    put(account, "/deep/name")
    with refused("ParameterNotFound"):
        account.ssm("GetParameter", Name="name")


@pytest.mark.parametrize("name", ["/a//b//c", "a/b/c"])
def test_a_path_that_cannot_be_is_refused_in_reading(account: Account, name: str) -> None:
    """LocalStack's test_hierarchical_parameter, validated against AWS."""
    put(account, "/a/b/c")
    for operation, params in (("GetParameter", {"Name": name}), ("GetParameters", {"Names": [name]})):
        with refused("ValidationException", "sub-paths divided by slash symbol"):
            account.ssm(operation, **params)


def test_labels(account: Account) -> None:
    put(account, "a", "1")
    put(account, "a", "2", Overwrite=True)
    answer = account.ssm("LabelParameterVersion", Name="a", ParameterVersion=1, Labels=["live", "x.y_z-1", "live"])
    assert answer == {"InvalidLabels": [], "ParameterVersion": 1}
    # Of those that cannot be: LabelParameterVersion in the API reference.
    bad = ["1st", "AWS-x", "ssmx", "a b", "a/b"]
    answer = account.ssm("LabelParameterVersion", Name="a", Labels=[*bad, "next"])
    assert answer == {"InvalidLabels": bad, "ParameterVersion": 2}
    found = account.ssm("GetParameter", Name="a:live")["Parameter"]
    assert (found["Value"], found["Version"], found["Selector"]) == ("1", 1, ":live")
    account.ssm("LabelParameterVersion", Name="/a", ParameterVersion=2, Labels=["live"])
    assert account.ssm("GetParameter", Name=f"{arn('a')}:live")["Parameter"]["Value"] == "2"
    history = account.ssm("GetParameterHistory", Name="a")["Parameters"]
    assert [one["Labels"] for one in history] == [["x.y_z-1"], ["next", "live"]]
    put(account, "a", "3", Overwrite=True)
    assert account.ssm("GetParameterHistory", Name="a")["Parameters"][-1]["Labels"] == []
    answer = account.ssm("UnlabelParameterVersion", Name="a", ParameterVersion=2, Labels=["live", "x.y_z-1"])
    assert answer == {"RemovedLabels": ["live"], "InvalidLabels": ["x.y_z-1"]}
    with refused("ParameterVersionNotFound", "label live of a"):
        account.ssm("GetParameter", Name="a:live")


def test_labels_that_cannot_be_given(account: Account) -> None:
    put(account, "a")
    with refused("ParameterNotFound"):
        account.ssm("LabelParameterVersion", Name="b", Labels=["x"])
    with refused("ParameterVersionNotFound", "version 7 of a"):
        account.ssm("LabelParameterVersion", Name="a", ParameterVersion=7, Labels=["x"])
    account.ssm("LabelParameterVersion", Name="a", Labels=[f"l{number}" for number in range(10)])
    account.ssm("LabelParameterVersion", Name="a", Labels=["l0"])
    with refused("ParameterVersionLabelLimitExceeded", "maximum 10"):
        account.ssm("LabelParameterVersion", Name="a", Labels=["one-more"])


def test_the_oldest_version_stays_as_long_as_it_has_a_label(account: Account) -> None:
    put(account, "a", "1")
    account.ssm("LabelParameterVersion", Name="a", Labels=["first"])
    for number in range(2, 101):
        put(account, "a", str(number), Overwrite=True)
    with refused("ParameterMaxVersionLimitExceeded", "Version 1, the oldest"):
        put(account, "a", "101", Overwrite=True)
    account.ssm("LabelParameterVersion", Name="a", Labels=["first"])
    assert put(account, "a", "101", Overwrite=True)["Version"] == 101


def test_by_path_and_label(account: Account) -> None:
    """LocalStack's test_get_parameters_by_path_and_filter_by_labels, validated against AWS."""
    put(account, "/p/a", "1")
    put(account, "/p/a", "2", Overwrite=True)
    put(account, "/p/b")
    account.ssm("LabelParameterVersion", Name="/p/a", ParameterVersion=1, Labels=["latest"])

    def found(**label: Any) -> list[tuple[str, int]]:
        answer = account.ssm("GetParametersByPath", Path="/p", ParameterFilters=[{"Key": "Label", **label}])
        return [(one["Name"], one["Version"]) for one in answer["Parameters"]]

    assert found(Values=["latest"]) == found(Option="BeginsWith", Values=["late"]) == [("/p/a", 1)]
    assert found(Values=["late"]) == []


def test_pages_are_as_long_as_on_aws(account: Account) -> None:
    for number in range(12):
        put(account, f"/p/{number:02d}")
    assert len(account.ssm("DescribeParameters")["Parameters"]) == 10
    assert len(account.ssm("DescribeParameters", MaxResults=50)["Parameters"]) == 12
    assert len(account.ssm("GetParametersByPath", Path="/p")["Parameters"]) == 10

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from skylift.cloud.compute.network.metadata import InstanceFacts, InterfaceFacts, MetadataService, RoleCredentials

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CREDENTIALS = RoleCredentials("ASIAEXAMPLE", "secret", "token", NOW, NOW + timedelta(hours=6))

FACTS = InstanceFacts(
    instance_id="i-0123456789abcdef0",
    image_id="ami-0123456789abcdef0",
    instance_type="t3.micro",
    reservation_id="r-1",
    launch_index=0,
    launched=NOW,
    account="123456789012",
    region="us-east-1",
    zone="us-east-1a",
    zone_id="use1-az1",
    architecture="x86_64",
    hostname="ip-10-0-1-5.ec2.internal",
    interfaces=(
        InterfaceFacts(
            id="eni-1",
            mac="02:00:00:00:00:01",
            addresses=(("10.0.1.5", "127.40.1.1"),),
            index=0,
            subnet_id="subnet-1",
            subnet_cidr="10.0.1.0/24",
            vpc_id="vpc-1",
            vpc_cidr="10.0.0.0/16",
            vpc_cidrs=("10.0.0.0/16",),
            groups={"sg-1": "web", "sg-2": "db"},
        ),
    ),
    public_key="ssh-ed25519 AAAA me",
    key_name="mine",
    user_data=b"#!/bin/sh\n\xff",
    profile_arn="arn:aws:iam::123456789012:instance-profile/p",
    profile_id="AIPA1",
    role="r",
    credentials=lambda _: CREDENTIALS,
)


class Metadata:
    """A service with one instance, and a clock to turn."""

    def __init__(self, facts: InstanceFacts | None = FACTS) -> None:
        self.facts = facts
        self.now = NOW
        self.service = MetadataService(self.find, lambda form, document: f"{form} of {len(document)}", lambda: self.now)

    def find(self, vpc_id: str, address: str) -> InstanceFacts | None:
        return self.facts if (vpc_id, address) == ("vpc-1", "10.0.1.5") else None

    def ask(self, method: str, path: str, source: str = "10.0.1.5", **headers: str) -> tuple[int, str]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.service.answer(method, path, named, "vpc-1", source)
        return answer.status, answer.body.decode(errors="surrogateescape")

    def token(self, seconds: str = "60") -> str:
        status, token = self.ask("PUT", "/latest/api/token", x_aws_ec2_metadata_token_ttl_seconds=seconds)
        assert status == 200
        return token

    def get(self, path: str) -> tuple[int, str]:
        return self.ask("GET", path, x_aws_ec2_metadata_token=self.token())


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/latest/meta-data/instance-id", "i-0123456789abcdef0"),
        ("/2021-07-15/meta-data/instance-type", "t3.micro"),
        ("/latest/meta-data/placement/region", "us-east-1"),
        ("/latest/meta-data/public-ipv4", "127.40.1.1"),
        ("/latest/meta-data/public-keys/", "0=mine"),
        ("/latest/meta-data/public-keys/0/openssh-key", "ssh-ed25519 AAAA me"),
        ("/latest/meta-data/iam/security-credentials/", "r"),
        ("/latest/meta-data/network/interfaces/macs/", "02:00:00:00:00:01/"),
        ("/latest/meta-data/network/interfaces/macs/02:00:00:00:00:01/subnet-id", "subnet-1"),
        ("/latest/meta-data/security-groups", "web\ndb"),
        ("/latest/user-data", "#!/bin/sh\n\udcff"),
        ("/latest/", "dynamic/\nmeta-data/\nuser-data"),
        ("/latest/dynamic/", "fws/\ninstance-identity/"),
        ("/latest/dynamic/instance-identity/", "document\npkcs7\nrsa2048\nsignature"),
        ("/latest/dynamic/fws/instance-monitoring", "disabled"),
        ("/latest/meta-data/system", "nitro"),
        ("/latest/meta-data/network/interfaces/macs/02:00:00:00:00:01/network-card", "0"),
    ],
)
def test_documented_paths(path: str, answer: str) -> None:
    assert Metadata().get(path) == (200, answer)


def test_a_dedicated_host_is_told_where_there_is_one() -> None:
    on_one = Metadata(replace(FACTS, host_id="h-0123456789abcdef0"))
    assert on_one.get("/latest/meta-data/placement/host-id") == (200, "h-0123456789abcdef0")
    assert Metadata().get("/latest/meta-data/placement/host-id")[0] == 404


def test_detailed_monitoring_is_told() -> None:
    detailed = Metadata(replace(FACTS, detailed_monitoring=True))
    assert detailed.get("/latest/dynamic/fws/instance-monitoring") == (200, "enabled")


def test_keys_of_instance_connect_are_by_login_name() -> None:
    keys = {"ec2-user": ("ssh-rsa AAAA", "ssh-ed25519 BBBB"), "admin": ("ssh-rsa CCCC",)}
    metadata = Metadata(replace(FACTS, session_keys=keys))
    assert metadata.get("/latest/meta-data/managed-ssh-keys/active-keys/") == (200, "admin\nec2-user")
    own = metadata.get("/latest/meta-data/managed-ssh-keys/active-keys/ec2-user")
    assert own == (200, "ssh-rsa AAAA\nssh-ed25519 BBBB\n")
    assert metadata.get("/latest/meta-data/managed-ssh-keys/active-keys/root")[0] == 404
    assert Metadata().get("/latest/meta-data/managed-ssh-keys/active-keys/ec2-user")[0] == 404


def test_role_credentials_have_the_documented_members() -> None:
    status, body = Metadata().get("/latest/meta-data/iam/security-credentials/r")
    assert status == 200
    assert json.loads(body) == {
        "Code": "Success",
        "LastUpdated": "2026-01-02T03:04:05Z",
        "Type": "AWS-HMAC",
        "AccessKeyId": "ASIAEXAMPLE",
        "SecretAccessKey": "secret",
        "Token": "token",
        "Expiration": "2026-01-02T09:04:05Z",
    }


def test_identity_document_names_account_and_instance() -> None:
    _, body = Metadata().get("/latest/dynamic/instance-identity/document")
    document = json.loads(body)
    assert (document["accountId"], document["instanceId"]) == ("123456789012", "i-0123456789abcdef0")


def test_the_document_that_is_vouched_for_is_the_one_that_is_shown() -> None:
    metadata = Metadata()
    _, document = metadata.get("/latest/dynamic/instance-identity/document")
    for form in ("pkcs7", "rsa2048", "signature"):
        assert metadata.get(f"/latest/dynamic/instance-identity/{form}") == (200, f"{form} of {len(document)}")


def test_without_a_token_only_where_version_1_is_allowed() -> None:
    assert Metadata().ask("GET", "/latest/meta-data/instance-id")[0] == 401
    optional = Metadata(replace(FACTS, tokens_required=False))
    assert optional.ask("GET", "/latest/meta-data/instance-id") == (200, "i-0123456789abcdef0")
    assert optional.ask("GET", "/latest/meta-data/instance-id", x_aws_ec2_metadata_token="wrong")[0] == 401


def test_a_token_ends_with_its_time_and_belongs_to_one_instance() -> None:
    metadata = Metadata()
    token = metadata.token("60")
    metadata.now += timedelta(seconds=59)
    assert metadata.ask("GET", "/latest/meta-data/instance-id", x_aws_ec2_metadata_token=token)[0] == 200
    metadata.facts = replace(FACTS, instance_id="i-other")
    assert metadata.ask("GET", "/latest/meta-data/instance-id", x_aws_ec2_metadata_token=token)[0] == 401
    metadata.facts = FACTS
    metadata.now += timedelta(seconds=2)
    assert metadata.ask("GET", "/latest/meta-data/instance-id", x_aws_ec2_metadata_token=token)[0] == 401


@pytest.mark.parametrize("seconds", ["", "0", "21601", "-1", "ten"])
def test_a_token_lasts_from_one_second_to_six_hours(seconds: str) -> None:
    metadata = Metadata()
    assert metadata.ask("PUT", "/latest/api/token", x_aws_ec2_metadata_token_ttl_seconds=seconds)[0] == 400


def test_requests_that_are_refused() -> None:
    metadata = Metadata()
    headers = {"x_aws_ec2_metadata_token_ttl_seconds": "60"}
    assert metadata.ask("PUT", "/latest/api/token", x_forwarded_for="1.2.3.4", **headers)[0] == 403
    assert metadata.ask("GET", "/latest/meta-data/instance-id", source="10.0.1.6")[0] == 403
    assert metadata.ask("POST", "/latest/meta-data/instance-id")[0] == 405
    assert metadata.get("/latest/meta-data/nothing-here")[0] == 404
    assert Metadata(replace(FACTS, enabled=False)).ask("GET", "/latest/meta-data/")[0] == 403


def test_what_an_instance_does_not_have_is_not_listed() -> None:
    bare = replace(FACTS, user_data=None, profile_arn=None, public_key=None, tags=None)
    bare = replace(bare, interfaces=(replace(FACTS.interfaces[0], addresses=(("10.0.1.5", None),)),))
    metadata = Metadata(bare)
    _, listing = metadata.get("/latest/meta-data/")
    assert not {"iam/", "public-keys/", "public-ipv4", "tags/"} & set(listing.splitlines())
    assert metadata.get("/latest/user-data")[0] == 404
    assert metadata.get("/latest/meta-data/public-ipv4")[0] == 404


def test_a_notice_is_there_from_when_it_is_given() -> None:
    metadata = Metadata()
    paths = ("spot/instance-action", "spot/termination-time", "events/recommendations/rebalance")
    assert [metadata.get(f"/latest/meta-data/{path}")[0] for path in paths] == [404, 404, 404]
    assert metadata.get("/latest/meta-data/instance-life-cycle") == (200, "on-demand")
    when = NOW + timedelta(minutes=2)
    metadata.facts = replace(FACTS, spot=True, rebalance=NOW, interruption=("terminate", when))
    assert metadata.get("/latest/meta-data/instance-life-cycle") == (200, "spot")
    action, time, rebalance = (metadata.get(f"/latest/meta-data/{path}")[1] for path in paths)
    assert json.loads(action) == {"action": "terminate", "time": f"{when:%Y-%m-%dT%H:%M:%SZ}"}
    assert time == f"{when:%Y-%m-%dT%H:%M:%SZ}"
    assert json.loads(rebalance) == {"noticeTime": f"{NOW:%Y-%m-%dT%H:%M:%SZ}"}
    metadata.facts = replace(FACTS, spot=True, interruption=("stop", when))
    assert [metadata.get(f"/latest/meta-data/{path}")[0] for path in paths] == [200, 404, 404]


def test_only_the_answer_with_a_token_is_bound_by_the_hop_limit() -> None:
    metadata = Metadata(replace(FACTS, hop_limit=3))
    ttl = {"x-aws-ec2-metadata-token-ttl-seconds": "60"}
    issued = metadata.service.answer("PUT", "/latest/api/token", ttl, "vpc-1", "10.0.1.5")
    assert (issued.status, issued.hops) == (200, 3)
    token = {"x-aws-ec2-metadata-token": issued.body.decode()}
    assert metadata.service.answer("GET", "/latest/meta-data/", token, "vpc-1", "10.0.1.5").hops is None


def test_an_answer_says_how_long_its_token_is_still_good() -> None:
    metadata = Metadata()
    token = metadata.token("60")
    metadata.now += timedelta(seconds=20)
    headers = {"x-aws-ec2-metadata-token": token}
    answer = metadata.service.answer("GET", "/latest/meta-data/mac", headers, "vpc-1", "10.0.1.5")
    assert answer.headers["X-Aws-Ec2-Metadata-Token-Ttl-Seconds"] == "40"


@pytest.mark.parametrize("token", ["", "x", "é-é", "\udcff-\udcff", "1-2-3"])
def test_nonsense_is_no_token(token: str) -> None:
    assert Metadata().ask("GET", "/latest/meta-data/mac", x_aws_ec2_metadata_token=token)[0] == 401


@pytest.mark.parametrize("seconds", ["²", "١", "+5", "", "9" * 5000])
def test_a_length_has_to_be_written_in_digits(seconds: str) -> None:
    assert Metadata().ask("PUT", "/latest/api/token", x_aws_ec2_metadata_token_ttl_seconds=seconds)[0] == 400


def test_credentials_are_asked_for_in_the_name_of_the_version_that_is_used() -> None:
    asked: list[str] = []

    def credentials(version: str) -> RoleCredentials:
        asked.append(version)
        return CREDENTIALS

    metadata = Metadata(replace(FACTS, credentials=credentials, tokens_required=False))
    path = "/latest/meta-data/iam/security-credentials/r"
    assert metadata.ask("GET", path)[0] == 200
    assert metadata.get(path)[0] == 200
    assert asked == ["1.0", "2.0"]

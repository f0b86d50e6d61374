from __future__ import annotations

import base64
import hashlib
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    SSHPublicKeyTypes,
)
from ec2_fixtures import Cloud, filters, tagged


def colons(digits: str) -> str:
    return ":".join(digits[start : start + 2] for start in range(0, len(digits), 2))


def line(public: SSHPublicKeyTypes) -> bytes:
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def test_rsa_is_made(cloud: Cloud) -> None:
    made = cloud.call("CreateKeyPair", KeyName="mine", TagSpecifications=tagged("key-pair", Name="x"))
    private = serialization.load_pem_private_key(made["KeyMaterial"].encode(), None)
    assert made["KeyMaterial"].startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    assert isinstance(private, rsa.RSAPrivateKey)
    pkcs8 = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert made["KeyFingerprint"] == colons(hashlib.sha1(pkcs8).hexdigest())
    (shown,) = cloud.call("DescribeKeyPairs", KeyNames=["mine"], IncludePublicKey=True)["KeyPairs"]
    assert shown["PublicKey"] == f"{line(private.public_key()).decode()} mine"
    assert (shown["KeyType"], shown["Tags"]) == ("rsa", [{"Key": "Name", "Value": "x"}])
    assert "PublicKey" not in cloud.call("DescribeKeyPairs")["KeyPairs"][0]


def test_ed25519_is_made(cloud: Cloud) -> None:
    made = cloud.call("CreateKeyPair", KeyName="mine", KeyType="ed25519")
    private = serialization.load_ssh_private_key(made["KeyMaterial"].encode(), None)
    assert isinstance(private, ed25519.Ed25519PrivateKey)
    blob = base64.b64decode(line(private.public_key()).split()[1])
    assert made["KeyFingerprint"] == base64.b64encode(hashlib.sha256(blob).digest()).decode()


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_openssh_takes_the_private_key(cloud: Cloud, tmp_path: Path, kind: str) -> None:
    made = cloud.call("CreateKeyPair", KeyName="mine", KeyType=kind)
    file = tmp_path / "key.pem"
    file.write_text(made["KeyMaterial"])
    file.chmod(0o600)
    told = subprocess.run(["ssh-keygen", "-y", "-f", file], capture_output=True, text=True, check=True).stdout
    (shown,) = cloud.call("DescribeKeyPairs", IncludePublicKey=True)["KeyPairs"]
    assert told.split()[:2] == shown["PublicKey"].split()[:2]


def test_rsa_is_imported(cloud: Cloud) -> None:
    public = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    blob = line(public).split()[1]
    ssh2 = b'---- BEGIN SSH2 PUBLIC KEY ----\r\nComment: "a\\\r\nb"\r\n' + blob[:70] + b"\r\n" + blob[70:]
    ssh2 += b"\r\n---- END SSH2 PUBLIC KEY ----\r\n"
    forms = {"line": line(public) + b" me@here\n", "der": base64.b64encode(der), "ssh2": ssh2}
    for name, material in forms.items():
        made = cloud.call("ImportKeyPair", KeyName=name, PublicKeyMaterial=material)
        assert made["KeyFingerprint"] == colons(hashlib.md5(der).hexdigest())
        (shown,) = cloud.call("DescribeKeyPairs", KeyNames=[name], IncludePublicKey=True)["KeyPairs"]
        assert shown["PublicKey"] == f"{line(public).decode()} {name}"


def test_ed25519_is_imported(cloud: Cloud) -> None:
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    made = cloud.call("ImportKeyPair", KeyName="mine", PublicKeyMaterial=line(public))
    blob = base64.b64decode(line(public).split()[1])
    assert made["KeyFingerprint"] == base64.b64encode(hashlib.sha256(blob).digest()).decode()


@pytest.mark.parametrize(
    "material",
    [
        b"",
        b"ssh-rsa nonsense",
        b'command="id" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJJJJJJJJJJJJJJJJJJJJJJJJJJJJJJJJJJJJJJJJJJJ',
        b"ecdsa-sha2-nistp256 AAAA",
        b"---- BEGIN SSH2 PUBLIC KEY ----\n!!\n---- END SSH2 PUBLIC KEY ----",
        b"\xff\xfe",
    ],
)
def test_what_is_no_key(cloud: Cloud, material: bytes) -> None:
    assert cloud.code("ImportKeyPair", KeyName="mine", PublicKeyMaterial=material) == "InvalidKey.Format"


@pytest.mark.parametrize("name", ["a\nssh-rsa AAAA", " a", "a ", "", "é", "x" * 256])
def test_names_are_one_line_of_ascii(cloud: Cloud, name: str) -> None:
    assert cloud.code("CreateKeyPair", KeyName=name) == "InvalidParameterValue"


def test_names_are_unique_and_deleting_is_forgiving(cloud: Cloud) -> None:
    made = cloud.call("CreateKeyPair", KeyName="mine", KeyType="ed25519")
    assert cloud.code("CreateKeyPair", KeyName="mine") == "InvalidKeyPair.Duplicate"
    assert cloud.code("DescribeKeyPairs", KeyNames=["other"]) == "InvalidKeyPair.NotFound"
    found = cloud.call("DescribeKeyPairs", Filters=filters(fingerprint=made["KeyFingerprint"].replace("*", "\\*")))
    assert [pair["KeyName"] for pair in found["KeyPairs"]] == ["mine"]
    gone = cloud.call("DeleteKeyPair", KeyPairId=made["KeyPairId"])
    assert gone == {"Return": True, "KeyPairId": made["KeyPairId"]}
    assert cloud.call("DeleteKeyPair", KeyName="mine") == {"Return": True}
    assert cloud.code("DeleteKeyPair") == "MissingParameter"


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_puttys_format(cloud: Cloud, kind: str) -> None:
    """Its public half is the key that is kept; test_ec2_putty.py holds the whole file against PuTTY's own."""
    made = cloud.call("CreateKeyPair", KeyName="mine", KeyType=kind, KeyFormat="ppk")
    lines = made["KeyMaterial"].splitlines()
    assert lines[0] == f"PuTTY-User-Key-File-2: ssh-{kind}"
    count = int(lines[3].removeprefix("Public-Lines: "))
    (shown,) = cloud.call("DescribeKeyPairs", IncludePublicKey=True)["KeyPairs"]
    assert "".join(lines[4 : 4 + count]) == shown["PublicKey"].split()[1]
    assert cloud.code("CreateKeyPair", KeyName="other", KeyFormat="der") == "InvalidParameterValue"

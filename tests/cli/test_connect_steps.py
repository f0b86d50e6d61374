"""What `skylift cloud connect` prints; that it works is shown with real servers."""

from __future__ import annotations

from skylift.cli.connect import SshTarget, steps


def test_with_a_key_pair() -> None:
    target = SshTarget("i-1", "web", "127.7.1.1", "my key", "SHA256:abc")
    assert steps(target, "ec2-user") == (
        "1. Find your private key file. i-1 (web) was launched with the key pair my key.\n"
        "2. Make sure that nobody else can read it, or ssh will not take it:\n"
        "\n     chmod 400 'my key.pem'\n\n"
        "3. Connect to the instance at its public address:\n"
        "\n     ssh -i 'my key.pem' ec2-user@127.7.1.1\n\n"
        "4. At the first connection, compare the ED25519 fingerprint: SHA256:abc\n"
    )


def test_without_one_a_key_is_sent() -> None:
    printed = steps(SshTarget("i-1", "", "127.7.1.1", None, None), "ec2-user")
    assert printed.startswith("1. i-1 was launched without a key pair.")
    assert "send-ssh-public-key --instance-id i-1 --instance-os-user ec2-user --ssh-public-key file://" in printed
    assert printed.rstrip().endswith("ec2-user@127.7.1.1")

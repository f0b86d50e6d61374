"""What can go wrong between a plan and the kernel's network, each with what the user can do.

NetworkError
+-- NoRangeFree     every address range of this machine belongs to a cloud
+-- KernelRefused       the process is not root, or is root without the rights a host gives it
+-- ProgramMissing     nft, pasta, setpriv or unshare is not installed
+-- NamespaceError     a network namespace could not be made, entered or removed
+-- NetlinkRefused     the kernel refused one request about links, addresses, routes or rules
+-- SysctlRefused      a setting of one of our own namespaces or links could not be written
+-- RulesetRefused     nft would not load a ruleset
+-- UplinkRefused      pasta did not start; servers work, but do not reach the internet
+-- ServerGone         the process to attach the network to has ended
+-- UnknownVpc         the VPC is in no plan that was applied
+-- RouterBehind       the router of the VPC is not as its plan has it
+-- ListenRefused      a socket could not be opened in a router
"""

from __future__ import annotations

import os

from skylift.cloud.compute.error import ComputeError


class NetworkError(ComputeError):
    """The kernel's network could not be made to agree with a plan."""


class NoRangeFree(NetworkError):
    """Every loopback range of this machine belongs to a cloud."""


class KernelRefused(NetworkError):
    """The kernel says no to this user."""


class ProgramMissing(NetworkError):
    """A program that the network is made with is not installed."""

    def __init__(self, program: str, package: str) -> None:
        super().__init__(f"{program} is not installed; `skylift setup` installs it (package {package})")


class NamespaceError(NetworkError):
    """A network namespace could not be made, entered or removed."""


class NetlinkRefused(NetworkError):
    """The kernel refused a netlink request; `code` is its errno."""

    def __init__(self, request: str, code: int, detail: str = "") -> None:
        reason = f"{os.strerror(code)}: {detail}" if detail else os.strerror(code)
        super().__init__(f"{request}: {reason}")
        self.code = code


class SysctlRefused(NetworkError):
    """A setting could not be written."""


class RulesetRefused(NetworkError):
    """nft would not load a ruleset."""


class UplinkRefused(NetworkError):
    """pasta would not start."""


class ServerGone(NetworkError):
    """The process to attach a network to has ended."""


class UnknownVpc(NetworkError):
    """No applied plan has this VPC."""


class RouterBehind(NetworkError):
    """The last plan could not be applied to the VPC's router."""


class ListenRefused(NetworkError):
    """A socket could not be opened in a router."""

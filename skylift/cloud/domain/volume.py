"""Nouns of disks: the volume, what a modification makes of it, the snapshot, and the mapping that a launch asks for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

VolumeState = Literal["creating", "available", "in-use", "deleting", "error"]
AttachmentState = Literal["attaching", "attached", "detaching", "busy"]


@dataclass(frozen=True)
class Modification:
    """The last request of ModifyVolume. The volume's own fields change once it is done."""

    size_gib: int
    type: str
    iops: int | None
    throughput: int | None
    original_size_gib: int
    original_type: str
    original_iops: int | None
    original_throughput: int | None
    started: datetime
    state: Literal["modifying", "completed", "failed"] = "modifying"
    ended: datetime | None = None
    message: str = ""


@dataclass(frozen=True)
class Volume:
    """A disk: a file-system image. Of a `root` one it has what the instance has written.

    The fields from `instance_id` on are its one attachment. `device` is the name that block device mappings give it.
    `forced` says that a detachment does not wait for the server's programs to let go. `error` is why it could not be
    made.
    """

    id: str
    size_gib: int
    zone: str
    created: datetime
    type: str = "gp3"
    iops: int | None = 3000
    throughput: int | None = 125
    snapshot_id: str | None = None
    state: VolumeState = "creating"
    error: str = ""
    root: bool = False
    auto_enable_io: bool = False
    instance_id: str | None = None
    device: str | None = None
    attachment: AttachmentState | None = None
    attached: datetime | None = None
    delete_on_termination: bool = False
    forced: bool = False
    modification: Modification | None = None
    tags: dict[str, str] = field(default_factory=dict)

    def free(self) -> Volume:
        """The same volume, attached to nothing."""
        return replace(
            self,
            state="available",
            instance_id=None,
            device=None,
            attachment=None,
            attached=None,
            delete_on_termination=False,
            forced=False,
        )


@dataclass(frozen=True)
class Snapshot:
    """A volume as it was at one moment; it never changes.

    A data volume's snapshot is a separate file-system image. A root volume's snapshot is the directory `root`, which
    images made of it share. `root` is empty until it is made; `of_root` tells the two kinds apart before that.
    `image_id` is the image that it was made for. Snapshots with one `set_id` are of the same moment. `users` may make
    volumes of it, everybody if it is `public`.
    """

    id: str
    volume_id: str
    size_gib: int
    started: datetime
    description: str = ""
    state: Literal["pending", "completed", "error"] = "pending"
    message: str = ""
    completed: datetime | None = None
    of_root: bool = False
    root: str = ""
    source_id: str | None = None
    image_id: str | None = None
    users: tuple[str, ...] = ()
    public: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    set_id: str | None = None


@dataclass(frozen=True)
class BlockDevice:
    """One line of a block device mapping: the volume that a launch makes, and under which name."""

    device: str
    size_gib: int
    type: str = "gp3"
    iops: int | None = 3000
    throughput: int | None = 125
    snapshot_id: str | None = None
    delete_on_termination: bool = True

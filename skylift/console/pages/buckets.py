"""S3: buckets, and what is in one, by folder. Files are dropped in, looked at, downloaded, shared and deleted."""

from __future__ import annotations

import csv
import io
from functools import partial
from urllib.parse import urlencode

from skylift.client.errors import UsageError
from skylift.console import call as calls
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.port import FolderPage
from skylift.console.widgets.chart import spell
from skylift.console.widgets.dialog import Dialog, TypedCommand
from skylift.console.widgets.element import box, button, command_line, copyable, go_to, link, on_news, tag
from skylift.console.widgets.field import Field
from skylift.console.widgets.frame import head
from skylift.console.widgets.grid import Column, listed
from skylift.console.widgets.small_table import small_table, table_row
from skylift.console.widgets.tabs import in_thread
from skylift.console.widgets.trouble import trouble_in

COLUMNS = (Column("id", "Bucket", leads="/s3/"), Column("created", "Created", 180))
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp")
_PREVIEWED = 1 << 16
_ROWS, _CELLS = 100, 50
_LINK_SECONDS = 3600


class BucketsPage:
    def __init__(self, view: CloudView) -> None:
        self._view = view
        with head("S3 buckets"):
            button("Create bucket", self._create, "primary")
        listed(view.buckets, COLUMNS, label="Buckets", empty=self._say_empty, command="aws s3 ls")

    def _say_empty(self) -> None:
        tag("h2", "There are no buckets yet.")
        tag("p", "The first job makes one for what it leaves, or make one yourself:")
        button("Create bucket", self._create)

    def _create(self) -> None:
        region = self._view.port.settings.region
        dialog = Dialog("Create bucket")
        with dialog:
            name = Field(
                "Name", lambda _: command.show(), placeholder="my-results", spellcheck="false", autofocus="autofocus"
            )
            tag("p", "On AWS, no other account in the world may have a bucket of this name.", "empty-line")
            command = TypedCommand(lambda: calls.create_bucket(name.value.strip() or "NAME", region).command)

        def work() -> None:
            if not name.value.strip():
                raise UsageError("The bucket needs a name.")
            self._view.perform(calls.create_bucket(name.value.strip(), region))

        def done() -> None:
            self._view.buckets.look_soon()
            go_to(_path(name.value.strip(), ""))

        dialog.buttons("Create", work, done=done)
        dialog.open()


class BucketPage:
    def __init__(self, view: CloudView, bucket: str, prefix: str) -> None:
        self._view, self._bucket, self._prefix = view, bucket, prefix

    async def show(self) -> None:
        with head(self._bucket):
            button("Delete bucket", self._delete, "danger")
        self._show_path()
        with box("drop", data_bucket=self._bucket, data_prefix=self._prefix) as drop:
            with box("bar"):
                tag("p", "Drop files here to upload them into this folder, or choose them:", "empty-line")
                tag("input", type="file", multiple="multiple", aria_label="Choose files to upload")
            self._place = box()
        on_news(drop, "uploaded", self._list)
        command_line(calls.list_objects(self._bucket, self._prefix).command)
        await self._list()

    def _show_path(self) -> None:
        with box("bar crumbs"):
            link("All buckets", "/s3")
            whole = ""
            link(self._bucket, _path(self._bucket, ""))
            for part in self._prefix.split("/")[:-1]:
                whole += f"{part}/"
                link(part or "/", _path(self._bucket, whole))

    def _delete(self) -> None:
        def done() -> None:
            self._view.buckets.look_soon()
            go_to("/s3")

        self._view.confirm(
            "Delete this bucket?",
            [self._bucket, "S3 deletes a bucket with nothing in it, and no other one."],
            "Delete",
            Call("s3", "delete_bucket", {"Bucket": self._bucket}),
            done=done,
        )

    async def _list(self) -> None:
        with trouble_in(self._place):
            found = await in_thread(self._view.port.objects, self._bucket, self._prefix)
            with self._place.clear():
                if not found.folders and not found.files:
                    tag("p", "Nothing is in this folder.", "empty-line")
                    return
                with small_table("Name", "Size", "Changed", "Actions", classes="small files") as self._rows:
                    pass
                self._further = box()
                self._add(found)

    def _add(self, found: FolderPage) -> None:
        """A part of the folder, and the way to the next one."""
        with self._rows:
            for prefix in found.folders:
                name = prefix[len(self._prefix) :]
                table_row(partial(link, name, _path(self._bucket, prefix)), "folder", "", "")
            for key, size, changed in found.files:
                actions = partial(self._actions, key, size)
                table_row(self._called(key), spell(size, "bytes"), changed, actions=actions)
        with self._further.clear():
            if found.more:
                button("Show more", lambda: self._list_more(found.more))

    async def _list_more(self, token: str) -> None:
        self._add(await in_thread(self._view.port.objects, self._bucket, self._prefix, token))

    def _called(self, key: str) -> str:
        return key[len(self._prefix) :] or key

    def _actions(self, key: str, size: int) -> None:
        name = self._called(key)
        button("Preview", lambda: self._preview(key, size), "quiet", aria_label=f"Preview {name}")
        tag(
            "a",
            "Download",
            "button quiet",
            href=_content(self._bucket, key),
            download=key.rpartition("/")[2],
            aria_label=f"Download {name}",
        )
        button("Share", lambda: self._share(key), "quiet", aria_label=f"Share {name}")
        button(
            "Delete",
            lambda: self._view.confirm(
                "Delete this object?",
                [f"{key}, {spell(size, 'bytes')}"],
                "Delete",
                Call("s3", "delete_object", {"Bucket": self._bucket, "Key": key}),
                done=self._list,
            ),
            "quiet",
            aria_label=f"Delete {name}",
        )

    async def _preview(self, key: str, size: int) -> None:
        is_picture = key.lower().endswith(PICTURES)
        text = "" if is_picture else await in_thread(self._view.port.beginning, self._bucket, key, _PREVIEWED)
        dialog = Dialog(key, wide=True)
        with dialog:
            if is_picture:
                tag("img", "", "picture", src=_content(self._bucket, key), alt=key)
            else:
                _show_text(key, text, whole=size <= _PREVIEWED)
        dialog.close_button()
        dialog.open()

    async def _share(self, key: str) -> None:
        shared = await in_thread(self._view.port.presigned, self._bucket, key, _LINK_SECONDS)
        dialog = Dialog("Share for an hour")
        with dialog:
            tag("p", f"Whoever has this link can read {key} for an hour.")
            copyable(shared)
        dialog.close_button()
        dialog.open()


def _show_text(key: str, text: str, *, whole: bool) -> None:
    rest = "" if whole else f"This is the beginning, {spell(_PREVIEWED, 'bytes')} of it. Download it to see the rest."
    if key.lower().endswith(".csv"):
        rows = list(csv.reader(io.StringIO(text, newline="")))
        if len(rows) > _ROWS or any(len(row) > _CELLS for row in rows):
            rest = f"These are the first {_ROWS} rows, and {_CELLS} columns. Download it to see the rest."
        with box("preview-table", tabindex="0", role="group", aria_label=key), small_table():
            for row in rows[:_ROWS]:
                table_row(*row[:_CELLS])
    else:
        tag("pre", text or "It is empty.", "output", tabindex="0", aria_label=key)
    if rest:
        tag("p", rest, "empty-line")


def _path(bucket: str, prefix: str) -> str:
    return f"/s3/{bucket}" + (f"?{urlencode({'prefix': prefix})}" if prefix else "")


def _content(bucket: str, key: str) -> str:
    return f"/object?{urlencode({'bucket': bucket, 'key': key})}"

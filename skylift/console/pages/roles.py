"""Roles: all of them, and one with its policies, its trust, and the instances that have it."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote

from skylift.client.errors import UsageError
from skylift.console import identity
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.identity import SERVICES, Holder, Identities, RoleDetail, Use, reflow
from skylift.console.pages.policies import PoliciesTab
from skylift.console.pages.simulator import Simulator
from skylift.console.policy_check import check_policy
from skylift.console.port import Port
from skylift.console.rows import InstanceRow
from skylift.console.stale_edit import EditedText
from skylift.console.widgets.dialog import Dialog, TypedCommand, confirm
from skylift.console.widgets.editor import Editor
from skylift.console.widgets.element import box, button, command_line, copyable, facts, go_to, link, tag
from skylift.console.widgets.field import Field, Select
from skylift.console.widgets.frame import head
from skylift.console.widgets.grid import Column, listed
from skylift.console.widgets.small_table import small_table, table_row
from skylift.console.widgets.tabs import Tabs, in_thread
from skylift.console.widgets.trouble import panel, trouble_in

COLUMNS = (
    Column("id", "Role", leads="/roles/"),
    Column("trusts", "Who may take it"),
    Column("path", "Path", 190, kind="code"),
    Column("created", "Created", 160),
    Column("description", "Description"),
)


class RolesPage:
    def __init__(self, view: CloudView) -> None:
        self._view = view
        with head("Roles"):
            button("Create role", self._create, "primary")
        listed(view.roles, COLUMNS, label="Roles", empty=self._say_empty, command=Call("iam", "list_roles").command)

    def _say_empty(self) -> None:
        tag("h2", "There are no roles yet.")
        tag("p", "A role says what a program may do, and servers that have it need no keys. Each job gets one.")
        button("Create role", self._create)

    def _create(self) -> None:
        dialog = Dialog("Create role")
        with dialog:
            name = Field(
                "Name", lambda _: command.show(), placeholder="reads-results", spellcheck="false", autofocus="autofocus"
            )
            service = Select("For", dict(SERVICES), lambda _: command.show())
            command = TypedCommand(
                lambda: "\n".join(each.command for each in identity.create_role(name.value or "NAME", service.value))
            )

        def work() -> None:
            if not name.value.strip():
                raise UsageError("The role needs a name.")
            Identities(self._view.port).create_role(name.value.strip(), service.value)

        dialog.buttons("Create", work, done=lambda: go_to(f"/roles/{quote(name.value.strip(), safe='')}"))
        dialog.open()


class RolePage:
    def __init__(self, view: CloudView, name: str) -> None:
        self._view, self._holder = view, Holder("role", name)
        self._identities = Identities(view.port)

    async def show(self) -> None:
        name = self._holder.name
        with panel("All roles", "/roles"):
            role = await in_thread(self._identities.role, name)
            with head(name):
                link("All roles", "/roles", "button")
                button("Delete role", self._delete, "danger")
            tabs = Tabs(
                {
                    "Policies": PoliciesTab(self._view, self._holder).show,
                    "Who may take it": self._trust,
                    "Instances": self._instances,
                    "Simulator": lambda: Simulator(self._view, lambda: role.arn),
                    "Details": self._details,
                }
            )
            command_line(self._holder.call("get_{}").command)
            tabs.begin()

    async def _details(self) -> None:
        role = await in_thread(self._identities.role, self._holder.name)
        facts((*role.details, ("Instance profiles", ", ".join(role.profiles))))

    async def _trust(self) -> None:
        name = self._holder.name
        shown = await in_thread(self._identities.trust, name)
        edited = EditedText("The trust policy", shown, partial(self._identities.trust, name))

        def save(text: str) -> None:
            edited.replace(reflow(text), lambda: self._view.perform(identity.put_trust(name, text)))

        Editor(
            "Trust policy (JSON)",
            shown,
            partial(check_policy, trust=True),
            save,
            show=lambda text: copyable(identity.put_trust(name, text).command),
        )

    async def _instances(self) -> None:
        self._place = box("panel")
        await self._fill()

    async def _fill(self) -> None:
        with trouble_in(self._place):
            role, uses, instances = await in_thread(_uses, self._view.port, self._holder.name)
            with self._place.clear():
                if not role.profiles:
                    self._say_no_profile()
                    return
                self._show_uses(role, uses, instances)

    def _say_no_profile(self) -> None:
        calls = identity.create_profile(self._holder.name)
        tag("p", "It has no instance profile, by which servers get a role.", "empty-line")
        button(
            "Make one",
            lambda: confirm(
                "Make an instance profile?",
                [f"It is called {self._holder.name}, like the role."],
                "\n".join(each.command for each in calls),
                "Make",
                lambda: self._identities.perform_all(calls),
                dangerous=False,
                done=self._fill,
            ),
            "primary",
        )

    def _show_uses(self, role: RoleDetail, uses: list[Use], instances: list[InstanceRow]) -> None:
        there = {each.id: each for each in instances if each.state not in ("terminated", "shutting-down")}
        if not uses:
            tag("p", "No instance has this role.", "empty-line")
        else:
            with small_table("Instance", "Name", "State", "Actions", aria_label="Instances"):
                for use in uses:
                    self._show_use(use, there[use.instance].name if use.instance in there else "")
        free = {key: f"{row.name} {key}".strip() for key, row in there.items() if key not in {u.instance for u in uses}}
        if free:
            with box("bar rule-form"):
                chosen = Select("Instance", dict(free))
                button("Attach to it", lambda: self._attach(chosen.value, role.profiles[0]), "primary")
        elif not uses:
            link("Launch an instance", "/launch")

    def _show_use(self, use: Use, name: str) -> None:
        label = f"Take away from {use.instance}"
        table_row(
            partial(link, use.instance, f"/instances/{use.instance}"),
            name,
            use.state,
            actions=partial(button, "Take away", partial(self._detach, use), "quiet", aria_label=label),
        )

    async def _attach(self, instance: str, profile: str) -> None:
        has = await in_thread(self._identities.association, instance)
        self._view.confirm(
            "Attach the role to this instance?",
            [
                instance,
                "It takes the place of the role that the instance has."
                if has
                else "Programs there get its permissions within seconds.",
            ],
            "Attach",
            identity.attach_profile(instance, profile, has),
            dangerous=bool(has),
            done=self._fill,
        )

    def _detach(self, use: Use) -> None:
        self._view.confirm(
            "Take the role away?",
            [use.instance, "Programs there may no longer do what it allows."],
            "Take away",
            Call("ec2", "disassociate_iam_instance_profile", {"AssociationId": use.association}),
            done=self._fill,
        )

    async def _delete(self) -> None:
        policies = await in_thread(self._identities.policies, self._holder)
        role, uses, _ = await in_thread(_uses, self._view.port, self._holder.name)
        calls = identity.delete_role(self._holder.name, policies, role.profiles)
        lines = [self._holder.name, *(f"The policy {each} is deleted with it." for each in policies.inline)]
        lines += [f"{each.instance} loses its permissions." for each in uses]
        confirm(
            "Delete this role?",
            lines,
            "\n".join(each.command for each in calls),
            "Delete",
            lambda: self._identities.perform_all(calls),
            done=lambda: go_to("/roles"),
        )


def _uses(port: Port, name: str) -> tuple[RoleDetail, list[Use], list[InstanceRow]]:
    identities = Identities(port)
    role = identities.role(name)
    return role, identities.uses(role.profiles), port.instances()

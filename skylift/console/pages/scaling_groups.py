"""Auto Scaling groups: all of them, and one with its activities, capacity, policies and their alarms."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from skylift.console import scaling
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.poller import Change
from skylift.console.scaling import METRICS, Activity, GroupAlarm, Policy, Scaling, ShownGroup
from skylift.console.widgets.dialog import ask
from skylift.console.widgets.element import box, button, command_line, copyable, facts, go_to, link, tag
from skylift.console.widgets.field import Field, Select
from skylift.console.widgets.frame import head
from skylift.console.widgets.grid import Column, listed
from skylift.console.widgets.plot import Plot, Series
from skylift.console.widgets.small_table import small_table, state, table, table_row
from skylift.console.widgets.tabs import Tabs, in_thread
from skylift.console.widgets.trouble import panel

COLUMNS = (
    Column("id", "Group", leads="/scaling/"),
    Column("state", "State", 112, kind="state"),
    Column("desired", "Desired", 84, kind="number"),
    Column("running", "In service", 108, kind="number"),
    Column("least", "Least", 72, kind="number"),
    Column("most", "Most", 72, kind="number"),
    Column("template", "Launch template"),
    Column("zones", "Zones"),
    Column("tags", "Tags"),
)
_INSTANCE = re.compile(r"i-[0-9a-f]{8,17}", re.ASCII)
_STATUS = {"Successful": "succeeded", "Failed": "failed", "Cancelled": "lost"}
_ALARM = {"OK": "succeeded", "ALARM": "failed"}


class ScalingGroupsPage:
    def __init__(self, view: CloudView) -> None:
        head("Auto Scaling groups")
        listed(
            view.scaling_groups,
            COLUMNS,
            label="Auto Scaling groups",
            empty=_say_empty,
            command=Call("autoscaling", "describe_auto_scaling_groups").command,
        )


def _say_empty() -> None:
    tag("h2", "There are no Auto Scaling groups yet.")
    tag("p", "A group keeps as many servers as are wanted, of a launch template, and replaces those that fail:")
    copyable(
        "aws ec2 create-launch-template --launch-template-name web --launch-template-data"
        ' \'{"ImageId": "IMAGE", "InstanceType": "t3.micro"}\''
    )
    copyable(
        "aws autoscaling create-auto-scaling-group --auto-scaling-group-name web"
        " --launch-template LaunchTemplateName=web --min-size 0 --max-size 4 --desired-capacity 1"
        " --vpc-zone-identifier SUBNET"
    )


class ScalingGroupPage:
    def __init__(self, view: CloudView, name: str) -> None:
        self._view, self._name = view, name
        self._scaling = Scaling(view.port)

    async def show(self) -> None:
        with panel("All groups", "/scaling"):
            group = await in_thread(self._scaling.group, self._name)
            with head(self._name):
                link("All groups", "/scaling", "button")
                button("Change capacity", self._change, "primary")
                button("Add policy", self._add_policy)
                button("Delete group", self._delete, "danger")
            self._place = box("bar")
            with self._place:
                self._state = tag("span", "", "state")
                self._words = tag("span", "", "count-left")
            self._known = group
            self._dress(group)
            self._tabs = Tabs(
                {
                    "Activity": self._activity,
                    "Instances": self._instances,
                    "Policies and alarms": self._policies,
                    "Details": self._details,
                }
            )
            command_line(scaling.describe_group(self._name).command)
            self._tabs.begin()
            self._view.scaling_groups.listen(self._hear)

    def _dress(self, group: ShownGroup) -> None:
        row = group.row
        self._state.set_text(row.state)
        self._state.classes(replace=f"state state-{'pending' if row.state == 'changing' else row.state.split()[0]}")
        self._words.set_text(f"{row.running} in service, {row.desired} desired, from {row.least} to {row.most}")

    def _hear(self, change: Change) -> bool:
        if self._state.is_deleted:
            return False
        if any(row["id"] == self._name for row in change.updated):
            self._tabs.refresh()
        if self._name in change.removed:
            # Nobody has clicked: which tab is meant, its own element says.
            with self._place:
                go_to("/scaling")
        return True

    async def _look(self) -> ShownGroup:
        self._known = await in_thread(self._scaling.group, self._name)
        self._dress(self._known)
        return self._known

    async def _activity(self) -> None:
        await self._look()
        found = await in_thread(self._scaling.activities, self._name)
        if not found:
            tag("p", "It has done nothing yet. Change its capacity, and what it does is seen here.", "empty-line")
        with tag("ol", "", "timeline", aria_label="Activity, the latest first"):
            for each in found:
                _show_activity(each)
        copyable(scaling.list_activities(self._name).command)

    async def _instances(self) -> None:
        group = await self._look()
        rows = [
            (
                partial(link, each.id, f"/instances/{each.id}"),
                partial(state, each.stage, _stage(each.stage)),
                *(each.health, each.type, each.zone, "yes" if each.protected else "no"),
            )
            for each in group.members
        ]
        empty = "It has no instances. Change its capacity to have some."
        table(("Instance", "Stage", "Health", "Type", "Zone", "Protected"), rows, empty)

    async def _policies(self) -> None:
        found = await in_thread(self._scaling.policies, self._name)
        if not found:
            tag("p", "It has no policies: its capacity changes by hand only.", "empty-line")
            button("Add policy", self._add_policy)
            return
        with small_table("Policy", "What it does", "Kind", "On", "Actions"):
            for policy in found:
                self._show_policy(policy)
        copyable(scaling.list_policies(self._name).command)
        names = list(dict.fromkeys(name for each in found for name in each.alarms))
        for alarm in await in_thread(self._scaling.alarms, names):
            show_alarm(alarm)
        if names:
            copyable(scaling.describe_alarms(names).command)

    def _show_policy(self, policy: Policy) -> None:
        def actions() -> None:
            if policy.kind != "TargetTrackingScaling":
                button("Execute", partial(self._execute, policy), "quiet", aria_label=f"Execute {policy.name}")
            button("Delete", partial(self._delete_policy, policy), "quiet", aria_label=f"Delete {policy.name}")

        table_row(policy.name, policy.does, policy.kind, "yes" if policy.on else "no", actions=actions)

    def _policy_call(self, operation: str, policy: Policy) -> Call:
        return Call("autoscaling", operation, {"AutoScalingGroupName": self._name, "PolicyName": policy.name})

    def _execute(self, policy: Policy) -> None:
        call = self._policy_call("execute_policy", policy)
        self._ask("Execute this policy now?", [f"{policy.name}: {policy.does}"], call, "Execute", dangerous=False)

    def _delete_policy(self, policy: Policy) -> None:
        call = self._policy_call("delete_policy", policy)
        lines = [policy.name, "The capacity stays as it is. Alarms that AWS made for it go with it."]
        self._ask("Delete this policy?", lines, call, "Delete", dangerous=True)

    def _ask(self, title: str, lines: list[str], call: Call, word: str, *, dangerous: bool) -> None:
        def done() -> None:
            self._view.scaling_groups.look_soon()
            self._tabs.refresh()

        self._view.confirm(title, lines, word, call, dangerous=dangerous, done=done)

    async def _details(self) -> None:
        facts((await self._look()).details)

    def _change(self) -> None:
        row, done = self._known.row, self._view.scaling_groups.look_soon

        def fields(changed: Callable[[str], None]) -> Callable[[], Call]:
            desired = Field("Desired", changed, value=str(row.desired), inputmode="numeric")
            least = Field("Least", changed, value=str(row.least), inputmode="numeric")
            most = Field("Most", changed, value=str(row.most), inputmode="numeric")
            return lambda: scaling.read_capacity(row, least.value, desired.value, most.value)

        ask("Change capacity", "Change", fields, self._view.perform, done=done)

    def _add_policy(self) -> None:
        def fields(changed: Callable[[str], None]) -> Callable[[], Call]:
            tag("p", "It keeps a metric at a value, by adding servers and taking some away.", "empty-line")
            name = Field("Name", changed, value="keep-cpu", spellcheck="false")
            metric = Select("Metric", dict(METRICS), changed)
            target = Field("Value", changed, value="60", inputmode="decimal")
            return lambda: scaling.read_policy(self._name, name.value, metric.value, target.value)

        done = partial(self._tabs.open, "Policies and alarms")
        ask("Add a policy", "Add", fields, self._view.perform, done=done)

    def _delete(self) -> None:
        members = [f"{each.id} is terminated with it." for each in self._known.members]
        self._view.confirm(
            "Delete this group?",
            [self._name, *members],
            "Delete",
            scaling.delete_group(self._name),
            done=self._view.scaling_groups.look_soon,
        )


def _show_activity(each: Activity) -> None:
    with tag("li", "", f"state-{_STATUS.get(each.status, 'pending')}"):
        with box("timeline-head"):
            tag("span", each.began, "timeline-when")
            state(each.status, _STATUS.get(each.status, "pending"))
            tag("strong", each.what)
            for instance in dict.fromkeys(_INSTANCE.findall(each.what)):
                link("Show it", f"/instances/{instance}")
        tag("p", each.why + (f" Ended {each.ended}." if each.ended else " It is under way."), "timeline-why")


def show_alarm(alarm: GroupAlarm) -> None:
    with box("alarm"):
        with box("bar"):
            tag("strong", alarm.name)
            state(alarm.state, _ALARM.get(alarm.state, "pending"))
        tag("p", f"{alarm.condition}. {alarm.reason}", "timeline-why")
        if alarm.points:
            last = alarm.points[-1][1]
            label = f"{alarm.metric}, threshold {alarm.threshold:g}, last {last:g}"
            Plot(label, [Series(alarm.metric, alarm.points)], threshold=alarm.threshold)
            tag("p", f"Last value {last:g}, threshold {alarm.threshold:g}; three hours.", "chart-words")
        else:
            tag("p", "No values yet. CloudWatch has the first ones some minutes after the start.", "empty-line")


def _stage(stage: str) -> str:
    return "running" if stage == "InService" else "pending" if "Pending" in stage else "stopping"

"""Meanwhile: what became known while a push waits and writes; nothing that ended meanwhile is begun again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from toolkit.design.sync import is_large
from toolkit.errors import PushRefused
from toolkit.steps.messages import told_since
from toolkit.steps.plan import PushPlan
from toolkit.steps.standing import barred_now, standing_of
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["Meanwhile"]


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """Looks again at what a plan rests on, and takes back from it what holds no longer; it adds nobody.

    Attributes:
        beginning: customers to whom the plan newly offers something, or whose message it releases.
        allowed: how many may lose what they have where that is a large part of the eligible.
        idle: whether nothing is to be done; then nothing is looked at.
    """

    workspace: Workspace
    spec: Spec
    beginning: frozenset[str]
    allowed: int
    idle: bool

    @classmethod
    def of(cls, workspace: Workspace, spec: Spec, plan: PushPlan, allowed: int) -> Meanwhile:
        """Return what looks again for a plan that was just made."""
        planned = plan.attributes(spec.experiment, None)
        added = (change.add for change in plan.sync.changes if not change.holdout)
        beginning = frozenset(planned.announce).union(*added) & plan.offered
        return cls(workspace, spec, beginning, allowed, plan.sync.is_empty and planned.is_empty)

    def barring(self, plan: PushPlan, *, released: bool = False) -> PushPlan:
        """Return `plan` without whom the lake bars by now, and with what Customer.io was told by now.

        `released` says that the plan's messages were released before.

        Raises:
            PushRefused: they are a large part of the eligible, and not allowed.
            DataError, VendorError: a source that must be asked cannot be used or reached.
        """
        if self.idle:
            return plan
        barred = barred_now(self.workspace, self.spec, plan.standing, self.beginning)
        told = told_since(self.workspace, self.spec.experiment, plan.told)
        return self._checked(plan, replace(plan.without(barred), told=told), released=released)

    def renewing(self, plan: PushPlan) -> PushPlan:
        """Return what `plan` has in common with where everybody stands now, all sources looked at again.

        Raises:
            PushRefused: a large part of the eligible would lose what they have, and that is not allowed.
            DataError, VendorError: a source cannot be used or reached.
        """
        return self._checked(plan, plan.renewed(standing_of(self.workspace, self.spec)))

    def _checked(self, before: PushPlan, after: PushPlan, *, released: bool = False) -> PushPlan:
        eligible = before.offered
        leaving = len(eligible - after.offered)
        if is_large(leaving, len(eligible)) and leaving > self.allowed:
            done = (
                "their messages are released by now, and not withdrawn"
                if released
                else "no message was released"
            )
            raise PushRefused(
                f"{self.spec.path}: while the push was under way, {leaving:,} of {len(eligible):,} eligible customers "
                f"came to be such as must not be offered anything; {done}. Plan again"
            )
        return after

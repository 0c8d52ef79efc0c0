"""Where everybody stands now: arm, protection, step of the offer; what a push or a look-up rests on."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from toolkit.design.experiment import Experiment
from toolkit.design.sync import desired_members, offers_end_at
from toolkit.errors import NotBegun, NotEnoughData, SpecError
from toolkit.lake.cohort import customers_of, customers_with
from toolkit.lake.crossings import left_by_webhook
from toolkit.lake.engine import at_micros, connect
from toolkit.lake.enrol import refuse_redraw
from toolkit.lake.escalation import escalated
from toolkit.lake.ledger import open_ledger
from toolkit.lake.memberships import append_protected, protected_now, read_protected
from toolkit.lake.same_people import held_as_another
from toolkit.steps.attributes import trait_attributes
from toolkit.steps.cohort import identifier_of, open_customerio
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["Standing", "barred_now", "keep_released", "standing_of"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of the ledger's customers.

    Attributes:
        arms: customer → arm.
        assigned: customer → when they were assigned, in microseconds since 1970.
        universal: who is in the universal holdout.
        protected: who must not be offered anything.
        released: who must not have been, and may be now.
        before: how many must not have been, when that was last known.
        unknown: treated customers of whom the source never said whether they may be offered anything.
        absent: treated customers whom the source does not name any more; what was last known of them holds.
        left: who has left the cohort, by the word of a webhook.
        escalated: who has reached the second step of an offer.
        held_as_another: treated customers who turned out to be one person with somebody held out, of this or of everything.
        unprofitable: treated customers whom `margin_protection` bars from any offer.
        attributes: customer → the attributes that traits look at.
        over: whether the offers have ended.
    """

    arms: Mapping[str, str]
    assigned: Mapping[str, int]
    universal: AbstractSet[str] = frozenset()
    protected: AbstractSet[str] = frozenset()
    released: AbstractSet[str] = frozenset()
    before: int = 0
    unknown: AbstractSet[str] = frozenset()
    absent: AbstractSet[str] = frozenset()
    left: AbstractSet[str] = frozenset()
    escalated: AbstractSet[str] = frozenset()
    held_as_another: AbstractSet[str] = frozenset()
    unprofitable: AbstractSet[str] = frozenset()
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    over: bool = False

    @property
    def barred(self) -> AbstractSet[str]:
        """Return everybody who is not eligible, whatever their arm."""
        return self._stopped | self.universal

    @property
    def _stopped(self) -> AbstractSet[str]:
        return self.protected | self.unknown | self.left | self.unprofitable | self.held_as_another

    def desired(self, experiment: Experiment) -> dict[str, frozenset[str]]:
        """Return segment → members, holdouts first."""
        return desired_members(
            experiment,
            self.arms,
            do_not_offer=self._stopped,
            universal=self.universal,
            escalated=self.escalated,
            attributes=self.attributes,
            over=self.over,
        )

    def assigned_at(self, customer: str) -> datetime | None:
        """Return when a customer was assigned (UTC)."""
        return at_micros(self.assigned.get(customer))


def standing_of(workspace: Workspace, spec: Spec) -> Standing:
    """Return where everybody stands now.

    What the source says of who must not be offered anything is kept in the lake at once: for those whom it
    names no more later, that word holds. That somebody may be offered something again is kept once it was acted
    upon (`keep_released`): until then every look tells it anew.

    Raises:
        NotEnoughData: nobody is assigned yet.
        LedgerError: seed or shares differ from those of the first enrolment.
        SpecError, DataError: the ledger's file or the cohort's source cannot be used, or lacks the attribute
            of `do_not_offer`.
        VendorError: Customer.io refused or could not be reached.
    """
    experiment = spec.experiment
    arms, assigned = _arms(workspace, spec)
    treated = {customer for customer, arm in arms.items() if arm != experiment.control}
    ends_at = offers_end_at(experiment)
    attributes, guard = trait_attributes(workspace, spec, treated), experiment.margin_protection
    universal = _universal(workspace, experiment)
    return Standing(
        arms,
        assigned,
        universal=universal,
        **_protection(workspace, spec, treated),
        left=left_by_webhook(workspace.lake, experiment.key),
        escalated=escalated(workspace.lake, experiment, spec.path, now=workspace.now()),
        held_as_another=held_as_another(workspace.lake, experiment, arms, universal=universal),
        unprofitable={each for each in treated if guard and guard.protects(attributes.get(each, {}))},
        attributes=attributes,
        over=ends_at is not None and workspace.now() >= ends_at,
    )


def barred_now(
    workspace: Workspace, spec: Spec, standing: Standing, customers: AbstractSet[str]
) -> frozenset[str]:
    """Return who must not be offered anything now, `standing` having been looked at some time ago.

    What other runs and webhooks have brought into the lake meanwhile is known to it. Of those whom `standing`
    releases the lake still says that they are protected, so that the source is asked for them once more; as it
    is for the margins of `customers`, of which the lake keeps nothing.

    Raises:
        DataError: the cohort's source cannot be used.
        VendorError: Customer.io refused or could not be reached.
    """
    experiment, lake, guard = spec.experiment, workspace.lake, spec.experiment.margin_protection
    barred = set(protected_now(lake, experiment.key) - standing.released)
    if standing.released:
        barred |= _protection(workspace, spec, standing.released)["protected"]
    if guard and customers:
        attributes = trait_attributes(workspace, spec, customers)
        barred |= {each for each in customers if guard.protects(attributes.get(each, {}))}
    barred |= left_by_webhook(lake, experiment.key)
    universal = _universal(workspace, experiment)
    return universal | barred | held_as_another(lake, experiment, standing.arms, universal=universal)


def keep_released(workspace: Workspace, experiment: Experiment, standing: Standing) -> None:
    """Keep in the lake that those released may be offered something again, once that was allowed and is so."""
    released = dict.fromkeys(sorted(standing.released), False)
    append_protected(workspace.lake, experiment.key, released, at=workspace.now())


def _arms(workspace: Workspace, spec: Spec) -> tuple[dict[str, str], dict[str, int]]:
    with connect() as con:
        refuse_redraw(con, workspace.lake, spec.experiment, spec.path)
        end = workspace.now() + timedelta(seconds=1)
        open_ledger(con, workspace.lake, spec.experiment, spec.path, as_of_end=end)
        names = list(spec.experiment.arms)
        rows = con.rows("SELECT id, arm, assigned FROM ledger")
    if not rows and workspace.now() < spec.experiment.starts_at:
        raise NotBegun(f"{spec.path}: nobody is assigned yet: enrolment starts on {spec.experiment.start}")
    if not rows:
        raise NotEnoughData(f"{spec.path}: nobody is assigned yet; run `lift assign {spec.path}` first")
    return {row[0]: names[row[1]] for row in rows}, {row[0]: row[2] for row in rows}


def _universal(workspace: Workspace, experiment: Experiment) -> frozenset[str]:
    held = experiment.cohort.universal_holdout if experiment.cohort else None
    if held is None:
        return frozenset()
    rows = workspace.lake.records("assignments", ["id"], experiment=held.key, arm="holdout")
    return frozenset(row["id"] for row in rows)


def _protection(workspace: Workspace, spec: Spec, treated: AbstractSet[str]) -> dict[str, Any]:
    """Return the parts of a `Standing` that say who must not be offered anything, and keep what is new."""
    experiment, lake = spec.experiment, workspace.lake
    if experiment.do_not_offer is None:
        return {}
    if experiment.cohort is None:
        raise SpecError(
            f"{spec.path}: do_not_offer: the file has no `cohort:` to tell who has "
            f"`{experiment.do_not_offer.attribute}`, so nobody would be protected; add one"
        )
    known = read_protected(lake, experiment.key)
    name = experiment.do_not_offer.attribute
    if experiment.cohort.source == "customerio":
        stopped = _stopped_at_customerio(workspace, experiment, name)
        doubtful = {each for each in treated - stopped if known.get(each)}
        free = _free_at_customerio(workspace, experiment, name, doubtful)
        named = treated - (doubtful - free)
    else:
        stopped = customers_with(lake, experiment, spec.path, name)
        named = treated & customers_of(lake, experiment, spec.path)
    now = {customer: customer in stopped for customer in sorted(named)}
    append_protected(
        lake,
        experiment.key,
        {
            customer: is_so
            for customer, is_so in now.items()
            if known.get(customer) is not is_so and (is_so or customer not in known)
        },
        at=workspace.now(),
    )
    latest = {**known, **now}
    return {
        "protected": frozenset(customer for customer in treated if latest.get(customer)),
        "released": frozenset(
            customer for customer in treated if known.get(customer) and not latest[customer]
        ),
        "before": sum(known.get(customer, False) for customer in treated),
        "unknown": treated - latest.keys(),
        "absent": treated - named,
    }


def _stopped_at_customerio(workspace: Workspace, experiment: Experiment, name: str) -> frozenset[str]:
    has = {"attribute": {"field": name, "operator": "exists"}}
    empty = [
        {"not": {"attribute": {"field": name, "operator": "eq", "value": value}}} for value in ("false", "")
    ]
    with open_customerio(workspace) as app:
        found = frozenset(identifier_of(experiment, each) for each in app.search({"and": [has, *empty]}))
    return found - {""}


def _free_at_customerio(
    workspace: Workspace, experiment: Experiment, name: str, customers: AbstractSet[str]
) -> frozenset[str]:
    """Return whom of `customers` it names without the attribute: one who was deleted or merged is not named."""
    if not customers:
        return frozenset()
    with open_customerio(workspace) as app:
        return frozenset(
            identifier_of(experiment, person.identifiers)
            for person in app.attributes(sorted(customers), id_type=experiment.identity.key)
            if str(person.attributes.get(name) or "").strip().lower() in ("", "false")
        )

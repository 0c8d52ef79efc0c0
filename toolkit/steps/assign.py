"""Assign: whoever qualifies and is new gets an arm, once and for ever."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from toolkit.design.experiment import Experiment
from toolkit.errors import SpecError
from toolkit.lake.cohort import attributes_wanted
from toolkit.lake.engine import connect
from toolkit.lake.enrol import (
    Enrolment,
    MatchReport,
    count_assigned,
    enrol,
    find_new,
    refuse_redraw,
    refuse_without_universal,
    report_matches,
)
from toolkit.steps.bulk_attributes import EXPORT_FROM, exported_attributes
from toolkit.steps.cohort import identifier_of, load_cohort, load_customers, open_customerio
from toolkit.steps.neighbours import neighbours_of, refuse_shared_key
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["TOO_LATE", "Assigned", "assign", "ended"]

TOO_LATE = (
    "and nobody is assigned, so there is nothing to measure: set a later `end`, or, where arms were given already, "
    "name the file that says so: `assignment: {source: files, path: …}`"
)


def ended(experiment: Experiment) -> str:
    """Return when enrolment ended."""
    return f"enrolment ended on {experiment.end}"


@dataclass(frozen=True, slots=True)
class Assigned:
    """What an assignment run found and did. `skipped` says why nobody was looked at, if so."""

    matches: MatchReport | None
    enrolment: Enrolment | None
    skipped: str | None = None


def assign(
    workspace: Workspace,
    spec: Spec,
    *,
    customers: Collection[str] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Assigned:
    """Assign the cohort's new customers and append them to the ledger; who is assigned stays so.

    `customers` are those known to qualify newly; None asks the cohort's source for everyone who does. `progress`
    is told (what, done, of).

    Raises:
        LedgerError: seed or shares differ from those of the first enrolment, or its universal holdout is gone.
        SpecError: another file of the folder has the key.
        SpecError, DataError, NotReady, VendorError: the cohort cannot be had.
    """
    experiment, now = spec.experiment, workspace.now()
    if experiment.assignment.source == "files":
        raise SpecError(
            f"{spec.path}: assignment: `source: files` means that someone else assigns; there is nothing to do here"
        )
    with connect() as con:
        refuse_redraw(con, workspace.lake, experiment, spec.path)
        refuse_shared_key(spec)
        if now < experiment.starts_at:
            return Assigned(None, None, f"enrolment starts on {experiment.start}")
        if now > experiment.ends_at:
            taken = count_assigned(con, workspace.lake, experiment.key)
            return Assigned(None, None, ended(experiment) + ("" if taken else f", {TOO_LATE}"))
        refuse_without_universal(con, workspace.lake, experiment, spec.path)
        cohort = experiment.cohort
        if cohort and cohort.entry == "snapshot":
            if customers is not None:
                return Assigned(None, None, "a snapshot enrols nobody who comes later")
            taken = count_assigned(con, workspace.lake, experiment.key)
            if taken:
                return Assigned(None, None, f"the snapshot of {taken:,} customers was taken before")
        if customers is None:
            load_cohort(con, workspace, spec)
        else:
            load_customers(con, customers)
        matches = report_matches(con)
        counts = find_new(con, workspace.lake, experiment, rivals_of(spec), matches.with_key)
        attributes = None
        if cohort and cohort.source == "customerio" and attributes_wanted(experiment):
            fresh = [str(row[0]) for row in con.rows("SELECT id FROM fresh WHERE NOT held ORDER BY id")]
            attributes = _known_of(workspace, spec, fresh, progress)
        enrolment = enrol(con, workspace.lake, experiment, counts, attributes, at=now)
    return Assigned(matches, enrolment)


def rivals_of(spec: Spec) -> list[str]:
    """Return the other experiments beside this one, in its layer, whose enrolment overlaps with its own."""
    experiment = spec.experiment
    layer = experiment.cohort.layer if experiment.cohort else None
    if layer is None:
        return []
    return sorted(
        {
            other.key
            for _, other in neighbours_of(spec)
            if other.cohort
            and other.cohort.layer == layer
            and other.start <= experiment.end
            and experiment.start <= other.end
        }
    )


def _known_of(
    workspace: Workspace, spec: Spec, customers: list[str], progress: Callable[[str, int, int], None] | None
) -> dict[str, dict[str, Any]]:
    """Return customer → the attributes to keep, as Customer.io knows them now."""
    wanted = attributes_wanted(spec.experiment)
    known: dict[str, dict[str, Any]] = {}
    with open_customerio(workspace) as client:
        if len(customers) >= EXPORT_FROM:
            return exported_attributes(client, spec.experiment, customers, wanted, progress=progress)
        for person in client.attributes(customers, id_type=spec.experiment.identity.key):
            identifier = identifier_of(spec.experiment, person.identifiers)
            known[identifier] = {
                name: person.attributes[name] for name in wanted if name in person.attributes
            }
            if progress and len(known) % 100 == 0:
                progress("attributes", len(known), len(customers))
    return known

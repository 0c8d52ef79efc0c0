"""Audit: prove by its rules, and by the vendor's own SDK, that a flag serves a treatment to nobody else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from toolkit.clients.launchdarkly_flags import LaunchDarklyFlags
from toolkit.design.agreement import Agreement, agree
from toolkit.design.audit import audit_flag
from toolkit.design.findings import Finding, Status
from toolkit.design.flag_contract import FlagContract, contracts_of
from toolkit.design.flags import Flag, Segment, read_flag, read_segment
from toolkit.design.probes import Outcome, probes_of, world_of
from toolkit.design.served import Subject
from toolkit.errors import NotFound
from toolkit.lake.engine import connect
from toolkit.lake.ledger import open_ledger
from toolkit.steps.evaluation import offline_sdk, try_probes
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["Audit", "FlagAudit", "audit", "open_flags", "read_subject"]


@dataclass(frozen=True, slots=True)
class FlagAudit:
    """What was found about one flag.

    Attributes:
        findings: of the static checks.
        outcomes: of the probes.
        agreement: of the ledger's customers; None where nobody is assigned, or a big segment hides its members.
    """

    subject: Subject
    findings: tuple[Finding, ...]
    outcomes: tuple[Outcome, ...]
    agreement: Agreement | None

    @property
    def status(self) -> Status:
        """Return the worst of everything found."""
        told = {each.status for each in self.findings} | {each.status for each in self.outcomes}
        told |= {self.agreement.status} if self.agreement else set()
        return "fail" if "fail" in told else "warn" if "warn" in told else "pass"

    @property
    def leaks(self) -> tuple[Outcome, ...]:
        """Return the probes who were served a treatment and must not be."""
        return tuple(each for each in self.outcomes if each.leak)


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found about all flags of an experiment, in the file's order."""

    experiment: str
    project: str
    environment: str
    flags: tuple[FlagAudit, ...]

    @property
    def safe(self) -> bool:
        """Return whether nothing failed; warnings do not count."""
        return all(each.status != "fail" for each in self.flags)


def open_flags(workspace: Workspace, spec: Spec) -> LaunchDarklyFlags:
    """Return the client of LaunchDarkly's flags.

    Raises:
        SettingsError: the token is not set.
    """
    settings = workspace.settings
    return LaunchDarklyFlags(
        settings.secret("launchdarkly_access_token"),
        project=settings.launchdarkly_project,
        environment=settings.launchdarkly_environment,
        base_url=settings.launchdarkly_url,
        context_kind=spec.experiment.identity.context_kind,
    )


def audit(workspace: Workspace, spec: Spec, client: LaunchDarklyFlags) -> Audit:
    """Return what is found about every flag that the spec's traits name; nothing is written.

    Raises:
        SpecError: no trait names a flag.
        NotFound: there is no such flag.
        UnexpectedAnswer: a flag or a segment is not in the vendor's documented shape.
        DataError: the file of assignments cannot be used.
    """
    contracts = contracts_of(spec.experiment, spec.path)
    subjects = [read_subject(client, contract, spec) for contract in contracts]
    customers = _sample(workspace, spec)
    return Audit(
        spec.experiment.key,
        client.project,
        client.environment,
        tuple(
            FlagAudit(
                subject,
                audit_flag(subject),
                try_probes(subject, probes_of(subject)),
                _agreement(subject, customers),
            )
            for subject in subjects
        ),
    )


def read_subject(client: LaunchDarklyFlags, contract: FlagContract, spec: Spec) -> Subject:
    """Return a flag with the segments and the flags that it reads.

    Raises:
        NotFound: there is no such flag.
        UnexpectedAnswer: the flag or a segment is not in the vendor's documented shape.
    """
    told = client.flag_told(contract.flag)
    if told is None:
        raise NotFound(
            f"LaunchDarkly has no flag {contract.flag!r} in {client.project}/{client.environment}, which a trait of"
            f" {spec.path} names: check its key, or make it with `lift audit {spec.path} --scaffold --apply`"
        )
    flag = read_flag(told, client.environment)
    needed = _prerequisites(client, flag)
    first = [*contract.segments, *contract.values, *flag.segments]
    first += [key for other in needed.values() if other for key in other.segments]
    return Subject(flag, contract, _segments(client, first), needed)


def _prerequisites(client: LaunchDarklyFlags, flag: Flag) -> dict[str, Flag | None]:
    """Return the flags that have to be on first, and those before them; None for one that is nowhere."""
    found: dict[str, Flag | None] = {}
    asked = [need.key for need in flag.prerequisites]
    while asked:
        key = asked.pop()
        if key == flag.key or key in found:
            continue
        told = client.flag_told(key)
        other = found[key] = read_flag(told, client.environment) if told else None
        asked += [need.key for need in other.prerequisites] if other else []
    return found


def _segments(client: LaunchDarklyFlags, keys: Iterable[str]) -> dict[str, Segment | None]:
    """Return the segments, and those that their rules ask for; None for one that is nowhere."""
    found: dict[str, Segment | None] = {}
    asked = list(dict.fromkeys(keys))
    while asked:
        key = asked.pop(0)
        if key in found:
            continue
        told = client.segment_told(key)
        segment = found[key] = read_segment(told) if told else None
        asked += segment.segments if segment else ()
    return found


def _sample(workspace: Workspace, spec: Spec) -> dict[str, str | None]:
    """Return customer → arm for 5,000 of the ledger at most, and None for as many of the universal holdout."""
    experiment = spec.experiment
    with connect() as con:
        open_ledger(
            con, workspace.lake, experiment, spec.path, as_of_end=workspace.now() + timedelta(seconds=1)
        )
        arms = list(experiment.arms)
        rows = con.rows("SELECT id, arm FROM ledger ORDER BY md5(id) LIMIT 5000")
    customers: dict[str, str | None] = {str(customer): arms[at] for customer, at in rows}
    held = experiment.cohort.universal_holdout if experiment.cohort else None
    if held:
        known = workspace.lake.records("assignments", ["id", "arm"], experiment=held.key)
        out = sorted(row["id"] for row in known if row["arm"] == "holdout")
        customers |= dict.fromkeys(out[:5000], None)
    return customers


def _agreement(subject: Subject, customers: Mapping[str, str | None]) -> Agreement | None:
    """Return how what customers are served agrees with the ledger, None where that cannot be known from here."""
    hidden = any(segment and segment.unbounded for segment in subject.segments.values())
    if not customers or hidden:
        return None
    flag, segments = world_of("as it is", subject.flag, subject.segments)
    with offline_sdk(flag, segments, subject.prerequisites) as sdk:
        served = sdk.serve(customers, subject.contract.kind)
        return agree(subject, zip(customers, customers.values(), served, strict=True))

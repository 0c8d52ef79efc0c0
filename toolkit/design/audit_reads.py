"""Static checks of what a flag reads and tells: segments, prerequisites, exposures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from toolkit.design.findings import Finding, failed, passed, warned
from toolkit.design.flag_contract import in_json
from toolkit.design.flags import Flag, Rule, Segment
from toolkit.design.served import Subject
from toolkit.design.traits import OWNERSHIP_TAG

__all__ = ["check_prerequisites", "check_segments", "check_tracking"]


def check_segments(subject: Subject) -> Iterator[Finding]:
    """Check that all segments exist, and that the experiment's own hold customers and nobody else."""
    contract, flag = subject.contract, subject.flag
    wanted = dict.fromkeys((*contract.segments, *flag.segments))
    safe = True
    for key in wanted:
        segment = subject.segments.get(key)
        own = key in contract.segments
        asking = next(
            (rule for rule in flag.rules for each in rule.clauses if each.is_segment and key in each.values),
            None,
        )
        findings = (
            [_missing(key, own=own, rule=asking)]
            if segment is None
            else list(_own(subject, segment, held=key in contract.holdouts))
            if own
            else []
        )
        safe = safe and not findings
        yield from findings
    yield from _overlaps(subject)
    if safe:
        yield passed("segments", f"{len(wanted)} segments exist, and those of the experiment hold keys alone")


def check_prerequisites(subject: Subject) -> Iterator[Finding]:
    """Check that the flags which have to be on first exist, do not need each other in a circle, and are on."""
    flag, found = subject.flag, subject.prerequisites
    faults = []
    for need in flag.prerequisites:
        other = found.get(need.key)
        if other is None:
            detail, mend = f"flag {need.key} does not exist", "remove the prerequisite, or make the flag"
            faults.append(failed("prerequisites", f"{detail}: nobody is served a treatment", mend))
        elif not 0 <= need.variation < len(other.variations):
            detail = f"flag {need.key} has no variation {need.variation}: nobody is served a treatment"
            faults.append(failed("prerequisites", detail, "name a variation that it has"))
        elif not other.on:
            detail = f"flag {need.key} is off: nobody is served a treatment until it is on"
            faults.append(warned("prerequisites", detail, f"turn {need.key} on, or remove the prerequisite"))
        elif not _always_serves(other, need.variation):
            value = in_json(other.variations[need.variation].value)
            detail = (
                f"whoever is not served {value} by flag {need.key} gets the off variation, whatever their arm"
            )
            faults.append(warned("prerequisites", detail, "serve it to all while the experiment runs"))
    if circle := _circle(flag, found):
        detail = f"the flags {' → '.join(circle)} need each other: an application gets its own default"
        faults.append(failed("prerequisites", detail, "break the circle"))
    yield from faults
    if not faults:
        yield passed("prerequisites", "no other flag keeps anybody from what their arm is served")


def check_tracking(subject: Subject) -> Iterator[Finding]:
    """Check that exposures are recorded of both arms or, less well, of neither."""
    flag, rules = subject.flag, subject.flag.rules
    held = [rule for rule in rules if any(subject.holds_out(rule, key) for key in subject.contract.holdouts)]
    control = [flag.track_fallthrough, *(_tracks(rule) for rule in held)]
    treatment = [_tracks(rule) for rule in rules if subject.may_treat(rule)]
    if flag.fallthrough.rollout and subject.contract.mode == "rollout":
        treatment.append(flag.track_fallthrough or flag.fallthrough.rollout.experiment)
    if flag.track or (treatment and all((*control, *treatment))):
        yield passed("tracking", "exposures of both arms are recorded")
    elif any((*control, *treatment)):
        yield failed(
            "tracking",
            "exposures are recorded of some rules and not of others, so the arms cannot be compared by them",
            "record events of the flag as a whole (trackEvents), not of single rules",
        )
    else:
        yield warned(
            "tracking",
            "exposures are recorded of neither arm; only an SDK hook would tell who evaluated the flag",
            "record events of the flag (trackEvents)",
        )


def _tracks(rule: Rule) -> bool:
    return rule.track or (rule.serve.rollout is not None and rule.serve.rollout.experiment)


def _missing(key: str, *, own: bool, rule: Rule | None) -> Finding:
    mend = "`lift push SPEC --apply` makes it" if own else "make it, or remove the condition"
    detail = f"segment {key} does not exist: nobody fits a condition on it"
    return failed("segments", detail, mend, rule)


def _own(subject: Subject, segment: Segment, *, held: bool) -> Iterator[Finding]:
    """Yield what is wrong with a segment of the experiment."""
    kind = subject.contract.kind
    if segment.rules:
        detail = f"segment {segment.key} has {len(segment.rules)} rules of its own, which make members that nobody pushed"
        mend = "remove the segment's rules"
        yield warned("segments", detail, mend) if held else failed("segments", detail, mend)
    strange = sorted({each for each, keys in segment.included if keys and each != kind})
    if strange or (segment.unbounded and segment.unbounded_kind != kind):
        kinds = ", ".join(strange) or segment.unbounded_kind
        detail = f"segment {segment.key} holds contexts of kind {kinds}; customers are of kind {kind}"
        mend = f"keep contexts of kind {kind} alone in it"
        yield warned("segments", detail, mend) if held else failed("segments", detail, mend)
    if OWNERSHIP_TAG not in segment.tags:
        yield warned(
            "segments",
            f"segment {segment.key} does not carry the tag `{OWNERSHIP_TAG}`, so `lift push` will not touch it",
            "add the tag if the segment is meant to be managed from here",
        )
    if segment.unbounded:
        yield warned(
            "segments",
            f"segment {segment.key} is a big one: SDKs without a store for big segments see nobody in it",
            "give every server SDK its store (Redis, DynamoDB or the Relay Proxy)",
        )


def _overlaps(subject: Subject) -> Iterator[Finding]:
    """Warn of members of a holdout who are eligible as well: only the order of rules keeps them out."""
    contract = subject.contract
    if contract.mode != "segments":
        return
    held = {key: _members(subject.segments.get(key), contract.kind) for key in contract.holdouts}
    for key in contract.values:
        eligible = _members(subject.segments.get(key), contract.kind)
        for holdout, members in held.items():
            if both := len(eligible & members):
                yield warned(
                    "segments",
                    f"{both:,} customers are in {holdout} and in {key}; only the order of the rules holds them out",
                    "run `lift push SPEC --apply`, which takes them out of the latter",
                )


def _members(segment: Segment | None, kind: str) -> frozenset[str]:
    return dict(segment.included).get(kind, frozenset()) if segment else frozenset()


def _always_serves(flag: Flag, place: int) -> bool:
    """Return whether a flag that is on serves the variation at `place` to everybody."""
    bare = not (flag.rules or flag.targets or flag.prerequisites)
    return bare and flag.fallthrough.variation == place


def _circle(flag: Flag, found: Mapping[str, Flag | None]) -> list[str]:
    """Return the keys of a circle of prerequisites that is reached from `flag`, empty if there is none."""

    def walk(at: Flag, way: list[str]) -> list[str]:
        for need in at.prerequisites:
            if need.key in way:
                return [*way[way.index(need.key) :], need.key]
            other = flag if need.key == flag.key else found.get(need.key)
            if other and (circle := walk(other, [*way, need.key])):
                return circle
        return []

    return walk(flag, [flag.key])

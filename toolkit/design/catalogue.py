"""The traits of several experiments, side by side: one contract per name, and where two of them clash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from toolkit.design.experiment import Experiment
from toolkit.design.traits import TraitContract

__all__ = ["MANY_TRAITS", "Advice", "Entry", "Use", "catalogue_of", "clashes", "conflicts", "shared_segments"]

MANY_TRAITS = 10
"""More traits than this are hard to keep right, in one file and across a folder."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What deserves a second look: file, field, and a sentence that says what is wrong and how to mend it."""

    file: str
    field: str
    text: str

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.file}: {self.field}: {self.text}"


@dataclass(frozen=True, slots=True)
class Use:
    """A trait as one experiment's file contracts it; `place` counts the file's traits from zero."""

    file: str
    experiment: Experiment
    place: int
    trait: TraitContract

    @property
    def field(self) -> str:
        """Return where the trait stands in its file."""
        return f"traits[{self.place}] ({self.trait.name})"

    @property
    def shape(self) -> dict[str, object]:
        """Return what everybody who reads the trait relies on, by the file's own words."""
        trait = self.trait
        return {
            "type": trait.type,
            "values": frozenset(trait.positive_values),
            "default": trait.default,
            "attribute": trait.attribute,
            "bands": tuple(sorted(trait.bands.items(), key=str)),
            "meaning": trait.meaning,
            "flag": trait.flag,
            "identity.key": self.experiment.identity.key,
            "identity.context_kind": self.experiment.identity.context_kind,
        }


@dataclass(frozen=True, slots=True)
class Entry:
    """Every use of one trait name, the newest contract last."""

    name: str
    uses: tuple[Use, ...]

    @property
    def contract(self) -> TraitContract:
        """Return the contract in force: the highest `schema`, of the experiment that began last."""
        return self.uses[-1].trait


def catalogue_of(files: Mapping[str, Experiment]) -> tuple[Entry, ...]:
    """Return the traits of `files` (path → experiment), by name."""
    uses = sorted(_uses(files), key=lambda use: (use.trait.schema_version, use.experiment.start, use.file))
    names = sorted({use.trait.name for use in uses})
    return tuple(Entry(name, tuple(use for use in uses if use.trait.name == name)) for name in names)


def conflicts(files: Mapping[str, Experiment], *, of: str | None = None) -> tuple[Advice, ...]:
    """Return where the experiments of `files` do not go together; with `of` only what that file is part of.

    Each is told as the business of the later file, or of `of`.
    """
    said = []
    for first, second in _pairs(files, of):
        said += [
            *_same_key(files, first, second),
            *_same_trait(files, first, second),
            *_same_segment(files, first, second),
        ]
    entries = catalogue_of(files)
    if len(entries) > MANY_TRAITS:
        said.append(
            Advice(
                of or ", ".join(files),
                "traits",
                f"the folder's files have {len(entries)} traits; more than {MANY_TRAITS} are hard to keep right; "
                "end those that nobody reads, or join booleans of one offer into an enum",
            )
        )
    return tuple(said)


def clashes(file: str, experiment: Experiment) -> tuple[Advice, ...]:
    """Return which segments of one experiment would stand for two things; such a file must not be pushed."""
    said = []
    carried: dict[str, str] = {}
    for segment, what, field in _carried(experiment):
        if segment in carried:
            said.append(Advice(file, field, _one_segment(what, carried[segment], "", segment)))
        carried.setdefault(segment, what)
    return tuple(said)


def shared_segments(one: Experiment, other: Experiment) -> tuple[str, ...]:
    """Return the segments that two experiments push at the same time; the universal holdout's may be shared."""
    if one.key == other.key or not _live_together(one, other):
        return ()
    theirs = set(other.pushed_segments) - {one.universal_segment, other.universal_segment}
    return tuple(key for key in one.pushed_segments if key in theirs)


def _uses(files: Mapping[str, Experiment]) -> Iterator[Use]:
    for file, experiment in files.items():
        for place, trait in enumerate(experiment.traits):
            yield Use(file, experiment, place, trait)


def _pairs(files: Mapping[str, Experiment], of: str | None) -> Iterator[tuple[str, str]]:
    """Return every pair of files, the one that is to mend it second."""
    if of is not None:
        yield from ((other, of) for other in files if other != of)
        return
    yield from combinations(sorted(files, key=lambda file: (files[file].start, file)), 2)


def _same_key(files: Mapping[str, Experiment], first: str, second: str) -> Iterator[Advice]:
    if files[first].key == files[second].key:
        yield Advice(
            second,
            "key",
            f"{files[second].key} is also the key of {first}: both would write one ledger; "
            "a key is unique for ever, choose another",
        )


def _same_trait(files: Mapping[str, Experiment], first: str, second: str) -> Iterator[Advice]:
    theirs = {use.trait.name: use for use in _uses({first: files[first]})}
    for ours in _uses({second: files[second]}):
        other = theirs.get(ours.trait.name)
        if other is None:
            continue
        differing = [name for name, value in ours.shape.items() if other.shape[name] != value]
        if differing and ours.trait.schema_version == other.trait.schema_version:
            yield Advice(
                second,
                ours.field,
                f"differs from the trait of that name in {first} in {', '.join(differing)}, and both say "
                f"`schema: {ours.trait.schema_version}`; make them equal, raise `schema` in the later one, "
                "or rename one",
            )
        if _live_together(ours.experiment, other.experiment):
            yield Advice(
                second,
                ours.field,
                f"is written by {first} at the same time: each push would remove the other's customers from "
                f"{', '.join(ours.trait.segments())}; rename one, or let one end before the other starts",
            )


def _same_segment(files: Mapping[str, Experiment], first: str, second: str) -> Iterator[Advice]:
    theirs = {segment: what for segment, what, _ in _carried(files[first])}
    for segment, what, field in _carried(files[second]):
        other = theirs.get(segment)
        if other is not None and other != what:
            yield Advice(second, field, _one_segment(what, other, f" in {first}", segment))


def _carried(experiment: Experiment) -> Iterator[tuple[str, str, str]]:
    """Return (segment, what it stands for, field) of everything that an experiment pushes."""
    yield experiment.holdout_segment, f"the holdout of {experiment.key}", "key"
    held = experiment.cohort.universal_holdout if experiment.cohort else None
    if held and experiment.universal_segment:
        yield experiment.universal_segment, f"the universal holdout {held.key}", "cohort.universal_holdout"
    for use in _uses({"": experiment}):
        for segment, value in zip(use.trait.segments(), use.trait.positive_values, strict=True):
            what = use.trait.name if value is True else f"{use.trait.name} = {value}"
            yield segment, f"`{what}`", use.field


def _one_segment(what: str, other: str, where: str, segment: str) -> str:
    return (
        f"{what} and {other}{where} would share the segment {segment}, whose members could then have either; "
        "rename one so that they differ in more than their signs"
    )


def _live_together(one: Experiment, other: Experiment) -> bool:
    """Return whether both are pushed at some instant: from the start until the last window has closed."""
    return one.starts_at < other.complete_at and other.starts_at < one.complete_at

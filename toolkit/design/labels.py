"""What our segments say of themselves at LaunchDarkly: whose they are, which value, which version of the contract."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from toolkit.design.experiment import Experiment
from toolkit.design.traits import OWNERSHIP_TAG

__all__ = ["SegmentLabel", "label_of", "stale_labels"]

SCHEMA_TAG = "lift-schema-"


@dataclass(frozen=True, slots=True)
class SegmentLabel:
    """A segment's description and tags, and those of our tags that are no longer true."""

    description: str
    tags: tuple[str, ...]
    outdated: tuple[str, ...] = ()


def label_of(experiment: Experiment, segment: str) -> SegmentLabel:
    """Return what one of the experiment's segments says of itself: trait, value and schema, or that it holds out."""
    said = f"Managed by lift for {experiment.title}. Do not edit by hand."
    tags = (OWNERSHIP_TAG, experiment.key)
    for trait in experiment.traits:
        for key, value in zip(trait.segments(), trait.positive_values, strict=True):
            if key == segment:
                told = str(value).lower() if isinstance(value, bool) else value
                return SegmentLabel(
                    f"{trait.name} = {told}, schema {trait.schema_version}. {said}",
                    (*tags, f"{SCHEMA_TAG}{trait.schema_version}"),
                )
    return SegmentLabel(said, tags)


def stale_labels(experiment: Experiment, tags: Mapping[str, Collection[str]]) -> dict[str, SegmentLabel]:
    """Return segment → the label it should have, of those whose `tags` tell another schema; none told is 1."""
    stale = {}
    for segment, there in tags.items():
        label = label_of(experiment, segment)
        wanted = next((tag for tag in label.tags if tag.startswith(SCHEMA_TAG)), None)
        told = {tag for tag in there if tag.startswith(SCHEMA_TAG)} or {f"{SCHEMA_TAG}1"}
        if wanted and told != {wanted}:
            outdated = tuple(sorted(set(there) & told - {wanted}))
            stale[segment] = SegmentLabel(label.description, label.tags, outdated)
    return stale

"""What an experiment would do, in plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.design.durations import in_words
from toolkit.design.experiment import Experiment
from toolkit.show.assigned import _matches
from toolkit.show.table import table_text

if TYPE_CHECKING:
    from toolkit.steps.check import Preview

__all__ = ["preview_text"]


def preview_text(experiment: Experiment, preview: Preview) -> str:
    """Return what an experiment would do."""
    cohort = experiment.cohort
    if preview.people is None:
        size = f"not known from here: {preview.unreachable}"
    else:
        size = f"{preview.people:,} qualify now"
    lines = [
        f"{experiment.title} ({experiment.key})",
        f"  {experiment.start} to {experiment.end}, {experiment.timezone}; assignment by "
        f"{'hash, prefix ' + experiment.prefix if experiment.assignment.source == 'hash' else 'file'}",
        f"  cohort: {f'{cohort.source}, {cohort.entry} entry' if cohort else 'none'}; {size}",
    ]
    if preview.matches:
        lines.append("  " + _matches(experiment, preview.matches))
    if cohort and cohort.universal_holdout:
        lines.append(
            f"  universal holdout {cohort.universal_holdout.key}: {cohort.universal_holdout.share:.1%} are in nothing"
        )
    if cohort and cohort.layer:
        lines.append(f"  layer {cohort.layer}: shares no customer with its other experiments")
    people = preview.matches.with_key if preview.matches else preview.people
    lines.append(
        table_text(
            ["arm", "share", "customers", ""],
            [
                [
                    arm,
                    f"{share:.2%}",
                    f"about {people * share:,.0f}" if people else "",
                    "control" if arm == experiment.control else "",
                ]
                for arm, share in experiment.arms.items()
            ],
            right=[1, 2],
        )
    )
    if experiment.traits:
        lines.append(
            table_text(
                ["trait", "type", "arms", "otherwise", "max age", "schema", "flag"],
                [
                    [
                        each.name,
                        each.type,
                        ", ".join(each.treated_arms),
                        str(each.default).lower() if isinstance(each.default, bool) else each.default,
                        in_words(each.age_limit),
                        each.schema_version,
                        each.flag or "",
                    ]
                    for each in experiment.traits
                ],
            )
        )
        lines += [f"  {each.name}: segment {', '.join(each.segments())}" for each in experiment.traits]
    lines += _never_eligible(experiment)
    lines.append(
        table_text(
            ["metric", "kind", "role", "window", "on", "covariates"],
            [
                [
                    each.name,
                    each.kind,
                    each.role,
                    in_words(each.window) if each.window else "to date",
                    ", ".join(dict.fromkeys(term.event or term.column or "" for term in each.terms)),
                    ", ".join(each.covariate_names),
                ]
                for each in experiment.metrics
            ],
        )
    )
    lines += [f"warning: {each}" for each in preview.warnings]
    lines += [f"not yet: {each}" for each in preview.to_come]
    lines += [f"failed: {each}" for each in preview.failures]
    return "\n".join(lines)


def _never_eligible(experiment: Experiment) -> list[str]:
    said = []
    if experiment.do_not_offer:
        said.append(f"  never eligible: whoever has `{experiment.do_not_offer.attribute}`")
    if experiment.margin_protection:
        guard = experiment.margin_protection
        said.append(f"  never eligible: whose `{guard.attribute}` is below {guard.below:g}, or is not known")
    return said

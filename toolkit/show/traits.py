"""The traits of a folder's experiments, in plain text and as a document for product and retention."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from toolkit.design.catalogue import Entry, Use
from toolkit.design.durations import in_words
from toolkit.design.traits import Band, TraitContract
from toolkit.show.markdown import code, prose, table_markdown
from toolkit.show.table import table_text

if TYPE_CHECKING:
    from toolkit.steps.traits import TraitsOfFolder

__all__ = ["traits_markdown", "traits_text"]

OVERVIEW = ["trait", "values", "otherwise", "max age", "owner", "flag", "schema", "experiments"]
INTRODUCTION = """\
A trait says what a customer may be offered: one flag reads it, and everybody of whom nothing is known has its
default. The held out, the universal holdout and whoever must not be offered anything have the default too, whatever
else holds. What a trait's fields say is in [trait-fields.md](trait-fields.md); how an offer moves on in
[escalation.md](escalation.md); how an application reads traits from a file in [lookup.md](lookup.md)."""


def traits_text(found: TraitsOfFolder) -> str:
    """Return the overview and what deserves a second look."""
    rows = [
        [
            entry.name,
            ", ".join(_plain(value) for value in entry.contract.positive_values),
            _plain(entry.contract.default),
            in_words(entry.contract.age_limit),
            entry.contract.flag or "",
            ", ".join(dict.fromkeys(use.experiment.key for use in entry.uses)),
        ]
        for entry in found.entries
    ]
    header = ["trait", "values", "otherwise", "max age", "flag", "experiments"]
    shown = [table_text(header, rows)] if rows else [f"{found.folder}: no experiment has a trait"]
    return "\n".join([*shown, *(f"warning: {each}" for each in found.conflicts)])


def traits_markdown(found: TraitsOfFolder) -> str:
    """Return the document: an overview, and a section for each trait."""
    overview = table_markdown(OVERVIEW, [_overview(entry) for entry in found.entries])
    parts = [
        "# Traits",
        f"Made by {code(f'lift traits {found.folder} --write FILE')} from the experiment files there; "
        "edit those, not this.",
        INTRODUCTION,
        overview if found.entries else "No experiment has a trait yet.",
        *(_section(entry) for entry in found.entries),
    ]
    if found.conflicts:
        parts += ["## To be mended", "\n".join(f"- {prose(each)}" for each in found.conflicts)]
    return "\n\n".join(parts) + "\n"


def _overview(entry: Entry) -> list[str]:
    trait = entry.contract
    return [
        f"[{code(trait.name)}](#{trait.name})",
        ", ".join(code(_plain(value)) for value in trait.positive_values),
        code(_plain(trait.default)),
        in_words(trait.age_limit),
        prose(trait.owner or "nobody yet"),
        code(trait.flag) if trait.flag else "none yet",
        str(trait.schema_version),
        ", ".join(dict.fromkeys(code(use.experiment.key) for use in entry.uses)),
    ]


def _section(entry: Entry) -> str:
    trait = entry.contract
    usual = "" if trait.max_age else f", as usual for {trait.type} traits: the file does not say"
    facts = [
        f"- **Type:** {trait.type}. **Values:** {_values(trait)}; otherwise {code(_plain(trait.default))}.",
        f"- **Computed:** {prose(trait.computed) or 'by the arm that a customer was drawn into.'}",
        f"- **Max age:** {in_words(trait.age_limit)}{usual}. An older value counts as the default.",
        f"- **Owner:** {prose(trait.owner or 'nobody yet')}. **Flag:** {code(trait.flag) if trait.flag else 'none yet'}. "
        f"**Schema:** {trait.schema_version}.",
    ]
    having = [row for use in entry.uses for row in _having(use)]
    who = table_markdown(["experiment", "from, to", "arm", "share", "value", "segment", "schema"], having)
    more = [line for use in entry.uses for line in _rules(use)]
    said = [f"## {trait.name}", prose(trait.meaning) or "What it means is not written down yet."]
    return "\n\n".join([*said, "\n".join(facts), who, *(["\n".join(more)] if more else [])])


def _values(trait: TraitContract) -> str:
    if trait.type != "band":
        return ", ".join(code(_plain(value)) for value in trait.positive_values)
    bands = [f"{code(name)} ({_extent(band)})" for name, band in trait.bands.items()]
    return f"by {code(trait.attribute)}, a number: {', '.join(bands)}"


def _extent(band: Band) -> str:
    low, high = band
    said = [f"from {low:,g}"] if low is not None else []
    said += [f"below {high:,g}"] if high is not None else []
    return " ".join(said) or "any number"


def _having(use: Use) -> Iterator[list[str]]:
    trait, experiment = use.trait, use.experiment
    segments = dict(zip(trait.positive_values, trait.segments(), strict=True))
    for arm in trait.treated_arms:
        values = tuple(trait.bands) or (trait.value_of(arm),)
        for value in values:
            yield [
                f"{code(experiment.key)}: {prose(experiment.title)}",
                f"{experiment.start} to {experiment.end}",
                code(arm),
                f"{experiment.arms[arm]:.4g}",
                code(_plain(value)),
                code(segments[value]),
                str(trait.schema_version),
            ]


def _rules(use: Use) -> Iterator[str]:
    trait, experiment, key = use.trait, use.experiment, code(use.experiment.key)
    if trait.escalate:
        rule = trait.escalate
        arms = ", ".join(code(arm) for arm in rule.arms)
        back = f" or {code(rule.opt_out)}" if rule.opt_out else ""
        segment = code(trait.segment_of(rule.arms[0], escalated=True))
        yield (
            f"- In {key}, customers of {arms} move on to {code(rule.to)} (segment {segment}) {in_words(rule.after)} "
            f"after assignment without an order{back}, and back when there is one."
        )
    if experiment.do_not_offer:
        yield f"- In {key}, nobody with {code(experiment.do_not_offer.attribute)} has it."
    if experiment.margin_protection:
        guard = experiment.margin_protection
        yield (
            f"- In {key}, nobody has it whose {code(guard.attribute)} is below {guard.below:,g}, or is no number."
        )


def _plain(value: bool | str) -> str:
    return str(value).lower() if isinstance(value, bool) else value

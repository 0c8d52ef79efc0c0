"""Cards of words: decisions, method, definitions, provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.readout import method_words, words
from toolkit.readout.figures import count, day, percent
from toolkit.readout.parts import Card, Column, Line, Table

if TYPE_CHECKING:
    from toolkit.readout.readout import Readout

__all__ = ["decisions", "definitions", "method", "provenance"]


def decisions(readout: Readout) -> Card | None:
    """Return the decision log of the experiment file."""
    found = readout.design.get("decisions") or []
    if not found:
        return None
    lines = tuple(
        Line.of(day(each["on"]), each["decision"], words.person(each["by"]) if each.get("by") else "")
        for each in sorted(found, key=lambda each: str(each["on"]))
    )
    last = lines[-1].cells
    return Card(
        "decisions",
        "What was decided?",
        f"Last, on {last[0].said}: {words.sentence(last[1].said)}",
        table=Table("Decision log", (Column("On"), Column("Decision"), Column("By")), lines),
    )


def method(readout: Readout) -> Card:
    """Return how the numbers were made: in plain words first, then in full."""
    design, views = readout.design, readout.views
    said = [method_words.intention_to_treat(design["control"], design["identity"])]
    said.append(method_words.windows([(each["name"], each["window"]) for each in design["metrics"]]))
    said.append(method_words.difference())
    said += _intervals(readout)
    adjusted = [
        (each, each.block or {})
        for each in views
        if (each.lift.get("corrects") or each.lift["decision"]) in {"adjusted", "capped_adjusted"}
    ]
    if adjusted:
        names = list(dict.fromkeys(name for _, block in adjusted for name in block.get("covariates", ())))
        gains = [
            (f"{each.title}, {each.arm}", percent(block["variance_reduction"]))
            for each, block in adjusted
            if (block.get("variance_reduction") or 0) > 0
        ]
        wider = [
            f"{each.title}, {each.arm}"
            for each, block in adjusted
            if (block.get("variance_reduction") or 0) < 0
        ]
        said.append(method_words.adjusted(names, gains, wider))
    caps = {
        each.metric: (
            each.title,
            each.unit.size(each.lift["capped"]["cap"], 2),
            count(each.lift["capped"]["capped_customers"]),
        )
        for each in views
        if each.lift["capped"]
    }
    if caps:
        said.append(method_words.capped(list(caps.values())))
    guards = {
        each.metric: (
            each.title,
            str(each.lift["harm"]),
            each.unit.given(abs(each.margin or 0)).lstrip("+"),
        )
        for each in views
        if each.margin is not None
    }
    if guards:
        said.append(method_words.margins(list(guards.values())))
    said.append(method_words.looks(_boundary(readout), correlated=bool(readout.record.get("curve"))))
    if any(each.lift.get("corrected") for each in views):
        said.append(method_words.family())
    return Card("method", "How were the numbers made?", words.PLAIN_METHOD, paragraphs=tuple(said))


def _intervals(readout: Readout) -> list[str]:
    """Return how the intervals that decide were made, a paragraph for each way; none where none is shown."""
    ways: dict[str, dict[str, None]] = {"raw": {}, "adjusted": {}, "skew_corrected": {}}
    for each in (*readout.views, *readout.cuts):
        if each.trusted:
            block = str(each.lift["decision"])
            said = readout.named(each) + (" by group" if each.lift["breakdown"] else "")
            ways[block if block in ways else "skew_corrected"][said] = None
    words_of = {"raw": method_words.welch, "adjusted": method_words.lin, "skew_corrected": method_words.hall}
    found = [words_of[way](readout.level, list(named)) for way, named in ways.items() if named]
    relative = method_words.fieller(readout.level, skewed=bool(ways["skew_corrected"]))
    return [*found, relative] if found else []


def _boundary(readout: Readout) -> str | None:
    """Return which boundary the looks have; None where there is one look."""
    looks = readout.record.get("looks")
    if looks is None:
        return "planned" if readout.design["looks"] == "weekly" else None
    found: str | None = looks["boundary"]
    return found


def definitions(readout: Readout) -> Card:
    """Return what metrics count, what traits mean, and who owns what."""
    design = readout.design
    terms = [
        (each["name"], each["role"], words.sentence(str(each["definition"]))) for each in design["metrics"]
    ]
    for each in design["traits"]:
        parts = [
            words.sentence(each["meaning"] or ""),
            f"{str(each['type']).capitalize()}, otherwise {each['default']}.",
        ]
        parts.append(f"Segments: {', '.join(each['segments'])}." if each["segments"] else "")
        parts.append(f"Flag: {each['flag']}." if each["flag"] else "")
        parts.append(f"No older than {each['max_age']}." if each["max_age"] else "")
        terms.append((each["name"], "trait", " ".join(part for part in parts if part)))
    terms += [(role.capitalize(), "owner", words.person(str(who))) for role, who in design["owners"].items()]
    metrics = words.plural(len(design["metrics"]), "metric")
    traits = words.plural(len(design["traits"]), "trait")
    return Card(
        "definitions",
        "What do the names mean?",
        f"{metrics} and {traits}, as the experiment file defines them.",
        terms=tuple(terms),
    )


def provenance(readout: Readout) -> Card:
    """Return what this page was made from, and how to make it again."""
    made = readout.record["provenance"]
    terms = [
        ("Experiment file", "", made["spec"]),
        *((f"Table {name}", "", f"version {version}") for name, version in made["tables"].items()),
        *((name.capitalize(), "", str(version)) for name, version in made["versions"].items()),
    ]
    return Card(
        "provenance",
        "Where does this page come from?",
        "Made by a program from the data and the file named here; the same data and file give the same page.",
        terms=tuple(terms),
        notes=tuple(words.sentence(readout.prose(each)) for each in readout.record["notes"]),
        command=words.rebuild(
            readout.record["experiment"], readout.record["as_of"], made.get("environment", {})
        ),
    )

"""The index: every experiment, its newest verdict, and a link to every week."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from toolkit.errors import DataError, StorageError
from toolkit.readout import story, words
from toolkit.readout.figures import count
from toolkit.readout.page import page_of
from toolkit.readout.parts import templates
from toolkit.readout.readout import Readout
from toolkit.readout.render import DOWNLOADS, KEY
from toolkit.readout.trend import sparkline
from toolkit.readout.view import LiftView

__all__ = ["write_index"]

DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
RANKS = {
    name: rank
    for rank, name in enumerate(
        ("not_readable", "harm", "incremental", "no_harm", "inconclusive", "provisional")
    )
}
"""In the order of what somebody has to do: mend, stop, keep, wait."""


def write_index(reports: Path, failures: Mapping[str, str] | None = None) -> Path:
    """Write `reports/index.html` from the records found there, and return its path.

    `failures` says of which experiments there is no new readout, and why. A record that cannot be read is
    listed among them. The universal holdout's own experiment (its key is named by the others) stands on top.

    Raises:
        StorageError: the folder cannot be written.
    """
    failed = dict(failures or {})
    rows = []
    for home in sorted(each for each in reports.glob("*") if each.is_dir() and KEY.fullmatch(each.name)):
        looks = {}
        for place in sorted(home.glob("*/readout.json")):
            if not DATE.fullmatch(place.parent.name):
                continue
            try:
                found = Readout.read(place)
                _row(home, {place.parent.name: found})
                looks[place.parent.name] = found
            except (DataError, OSError, AttributeError, KeyError, TypeError, ValueError) as wrong:
                failed[f"{home.name}, {place.parent.name}"] = (
                    f"readout.json cannot be read ({type(wrong).__name__})"
                )
        if looks:
            rows.append(_row(home, looks))
    page = page_of([_body(rows, failed)], "Experiments")
    target = reports / "index.html"
    try:
        reports.mkdir(parents=True, exist_ok=True)
        beside = reports / f".index.{os.getpid()}.html"
        beside.write_text(page, encoding="utf-8")
        beside.replace(target)
    except OSError as refused:
        raise StorageError(f"{target}: cannot be written: {refused.strerror}") from None
    return target


def _body(rows: list[dict[str, Any]], failures: Mapping[str, str]) -> Markup:
    held = {row["universal"] for row in rows if row["universal"]}
    universal = next((row for row in rows if row["key"] in held), None)
    rows = sorted((row for row in rows if row is not universal), key=lambda row: row["name"])
    rows.sort(key=lambda row: row["as_of"], reverse=True)
    statuses = [(key, words.STATUS[key][0]) for key in RANKS if any(row["status"] == key for row in rows)]
    shown = (
        templates()
        .get_template("index.html.j2")
        .render(rows=rows, failures=failures, universal=universal, statuses=statuses)
    )
    return Markup(shown)  # noqa: S704 (escaped by the template)


def _row(home: Path, looks: Mapping[str, Readout]) -> dict[str, Any]:
    newest = max(looks)
    readout = looks[newest]
    customers = sum(each["customers"] for each in readout.record["arms"])
    weeks = [
        {"on": on, "status": looks[on].status, "links": _links(home, on)}
        for on in sorted(looks, reverse=True)
    ]
    told = story.told(
        readout.record, readout.views, status=readout.status, level=readout.level, failed=len(readout.failed)
    )
    return {
        "key": home.name,
        "name": readout.design["name"],
        "as_of": newest,
        "status": readout.status,
        "rank": RANKS[readout.status],
        "status_name": readout.status_name,
        "loss": readout.at_a_loss,
        "sentence": told.sentence,
        "verdict": f"{told.sentence} {told.advice}",
        "customers": count(customers),
        "count": customers,
        "trends": _trends(readout),
        "href": weeks[0]["links"][0][1],
        "weeks": weeks,
        "universal": readout.design.get("universal"),
        "simulated": readout.simulated,
    }


def _links(home: Path, on: str) -> list[tuple[str, str]]:
    """Return what there is of a week: the page first, then what can be downloaded."""
    files = (("page", "index.html"), *DOWNLOADS)
    return [(label, f"{home.name}/{on}/{name}") for label, name in files if (home / on / name).exists()]


def _trends(readout: Readout) -> list[tuple[Markup, str]]:
    """Return the first primary metric's value at each look, drawn, and what it is now in words, for each arm."""
    if readout.failed:
        return [(Markup(""), words.SPARK_HIDDEN)]
    primary = [each for each in readout.views if each.role == "primary"]
    return [_trend(readout, each) for each in primary if each.metric == primary[0].metric]


def _trend(readout: Readout, view: LiftView) -> tuple[Markup, str]:
    if not view.trusted:
        return Markup(""), f"{view.title}, {view.arm}: {words.NOT_TRUSTED}"
    looks = [
        each["value"]
        for each in readout.record.get("history", [])
        if each["metric"] == view.metric and each["arm"] == view.lift["arm"] and each["trusted"]
    ]
    value, interval = view.absolute()
    said = f"{view.title}, {view.arm}: {value} ({interval})"
    return sparkline(looks, said) if len(looks) > 1 else Markup(""), said

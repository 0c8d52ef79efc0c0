"""The index: every experiment, its newest verdict, and a link to every week."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from toolkit.errors import DataError, StorageError
from toolkit.readout import words
from toolkit.readout.figures import count
from toolkit.readout.readout import Readout, templates
from toolkit.readout.render import page_of
from toolkit.readout.trend import sparkline

__all__ = ["write_index"]

DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def write_index(reports: Path, failures: Mapping[str, str] | None = None) -> Path:
    """Write `reports/index.html` from the records found there, and return its path.

    `failures` says of which experiments there is no new readout, and why. A record that cannot be read is
    listed among them.

    Raises:
        StorageError: the folder cannot be written.
    """
    failed = dict(failures or {})
    rows = []
    for home in sorted(each for each in reports.glob("*") if each.is_dir()):
        looks = {}
        for place in sorted(home.glob("*/readout.json")):
            if not DATE.fullmatch(place.parent.name):
                continue
            try:
                found = Readout.read(place)
                _row(home, {place.parent.name: found})
                looks[place.parent.name] = found
            except (DataError, OSError, AttributeError, KeyError, TypeError) as wrong:
                failed[f"{home.name}, {place.parent.name}"] = (
                    f"readout.json cannot be read ({type(wrong).__name__})"
                )
        if looks:
            rows.append(_row(home, looks))
    rows.sort(key=lambda row: (row["as_of"], row["name"]), reverse=True)
    body = templates().get_template("index.html.j2").render(rows=rows, failures=failed)
    page = page_of([Markup(body)], "Experiments")  # noqa: S704 (escaped by the template)
    target = reports / "index.html"
    try:
        reports.mkdir(parents=True, exist_ok=True)
        beside = reports / f".index.{os.getpid()}.html"
        beside.write_text(page, encoding="utf-8")
        beside.replace(target)
    except OSError as refused:
        raise StorageError(f"{target}: cannot be written: {refused.strerror}") from None
    return target


def _row(home: Path, looks: Mapping[str, Readout]) -> dict[str, Any]:
    newest = max(looks)
    readout = looks[newest]
    status = "not_readable" if readout.failed else readout.record["verdict"]["status"]
    values, said = _trend(readout)
    links = {
        on: f"{home.name}/{on}/{'index.html' if (home / on / 'index.html').exists() else 'readout.json'}"
        for on in sorted(looks)
    }
    return {
        "name": readout.design["name"],
        "as_of": newest,
        "status": status,
        "status_name": words.STATUS[status][0],
        "verdict": words.withheld(len(readout.failed))
        if readout.failed
        else readout.record["verdict"]["text"],
        "customers": count(sum(each["customers"] for each in readout.record["arms"])),
        "spark": sparkline(values, said) if values else Markup(""),
        "said": said,
        "href": links[newest],
        "weeks": list(links.items()),
    }


def _trend(readout: Readout) -> tuple[list[float], str]:
    """Return the primary metric's value at each look, and what that is in words."""
    if readout.failed:
        return [], words.SPARK_HIDDEN
    primary = next((each for each in readout.views if each.role == "primary"), None)
    if primary is None:
        return [], ""
    looks = [
        each["value"]
        for each in readout.record.get("history", [])
        if each["metric"] == primary.metric and each["arm"] == primary.lift["arm"] and each["trusted"]
    ]
    value, interval = primary.absolute()
    told = f"{primary.metric}, {primary.arm}: {value}" + (
        f" ({interval})" if interval else f" ({words.NOT_TRUSTED})"
    )
    return looks, told

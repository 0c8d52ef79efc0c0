"""The first screen: question, verdict, what to do, one picture, sizes, dates, checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from toolkit.readout import story, words
from toolkit.readout.cards.effects import primary_pictures
from toolkit.readout.figures import count, day, instant, percent
from toolkit.readout.parts import Section, templates

if TYPE_CHECKING:
    from toolkit.readout.readout import Readout

__all__ = ["headline"]

LONG = 20
"""A longer arm's name may be broken between its words."""
MOST_PICTURES = 2
"""More drawings than this push the sizes and checks off the first screen; all of them stand below."""


def headline(readout: Readout) -> Section:
    """Return the first screen. Where a check failed, its reason and the mend stand in the numbers' place."""
    status = readout.status
    pictures = primary_pictures(readout)[:MOST_PICTURES] if readout.views else []
    light = words.light(each["status"] for each in readout.record["checks"])
    shown = (
        templates()
        .get_template("headline.html.j2")
        .render(
            readout=readout,
            status=status,
            story=story.told(
                readout.record,
                readout.views,
                status=status,
                level=readout.level,
                failed=len(readout.failed),
                finished=readout.finished,
            ),
            warning=_warning(readout),
            facts=_facts(readout),
            pictures=pictures,
            light=light,
            footnote=_footnote(readout),
        )
    )
    return Section("headline", Markup(shown))  # noqa: S704 (escaped by the template)


def _warning(readout: Readout) -> str:
    """Return why nobody should decide yet; empty where the data are complete."""
    maturity = readout.record.get("maturity") or {}
    said = []
    if readout.status == "provisional":
        complete = readout.design.get("complete_on")
        said.append(f"the data are complete on {day(complete)}" if complete else "the data are not complete")
    if not readout.failed and maturity.get("provisional") and maturity.get("text"):
        said.append(str(maturity["text"]))
    return words.sentence("; ".join(said))


def _facts(readout: Readout) -> list[tuple[str, str]]:
    record, design = readout.record, readout.design
    sizes = ", ".join(_size(each["customers"], words.arm_name(each["arm"])) for each in record["arms"])
    looks = record.get("looks") or {}
    as_of = day(record["as_of"])
    if looks.get("ended_on"):
        as_of += f"; the plan ended on {day(looks['ended_on'])}, look {looks['number']} of {looks['of']}"
    elif looks.get("boundary") == "planned":
        as_of += f", look {looks['number']} of {looks['of']}"
    through = instant(record["data_through"]) if record["data_through"] else "not recorded"
    maturity = record.get("maturity") or {}
    if maturity.get("share") is not None and not readout.failed:
        through += f"; {percent(maturity['share'], 0)} of that has come in"
    return [
        ("Customers", sizes),
        ("Enrolment", f"{day(design['start'])} to {day(design['end'])}"),
        ("As of", as_of),
        ("Data through", through),
    ]


def _size(customers: int, arm: str) -> str:
    """Return an arm with its size; a short name is not broken over lines."""
    said = f"{count(customers)}\N{NO-BREAK SPACE}{arm}"
    return said if len(arm) > LONG else said.replace(" ", "\N{NO-BREAK SPACE}")


def _footnote(readout: Readout) -> str:
    """Return what the picture's interval means, in a line."""
    if readout.failed or not readout.views:
        return ""
    together = any(each.lift.get("alpha") != readout.design["alpha"] for each in readout.views)
    many = ", at all weekly looks together" if together else ""
    return f"The bar is the {readout.level} interval: where the truth may lie{many}. A bar across zero proves nothing."

"""A measurement, in plain text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from toolkit.readout.figures import Unit
from toolkit.readout.words import NOT_TRUSTED
from toolkit.show.table import table_text

__all__ = ["record_text"]


def record_text(record: dict[str, Any]) -> str:
    """Return a measurement for the terminal: of lifts that are not to be trusted the reason, and no number.

    With a failed check no lift is shown.
    """
    design = record["design"]
    through = ""
    if record["data_through"]:
        through = f", data through {datetime.fromisoformat(record['data_through']):%Y-%m-%d %H:%M} UTC"
    lines = [
        f"{design['name']} ({record['experiment']}), as of {record['as_of']}{through}",
        "",
        record["verdict"]["text"],
    ]
    total = sum(each["customers"] for each in record["arms"]) or 1
    lines.append(
        table_text(
            ["arm", "customers", "share", "planned"],
            [
                [
                    each["arm"],
                    f"{each['customers']:,}",
                    f"{each['customers'] / total:.2%}",
                    f"{each['share']:.2%}",
                ]
                for each in record["arms"]
            ],
            right=[1, 2, 3],
        )
    )
    lines.append(
        table_text(
            ["check", "", ""], [[each["name"], each["status"], each["detail"]] for each in record["checks"]]
        )
    )
    if record["verdict"]["status"] != "not_readable":
        lines.append(_lifts(record))
        lines += _family(record)
        lines += [_worth(each) for each in record["worth"]]
    lines += [f"note: {each}" for each in record["notes"]]
    return "\n".join(lines)


def _family(record: dict[str, Any]) -> list[str]:
    """Return what the correction for several comparisons makes of each member, a line each."""
    said = []
    for lift in record["lifts"]:
        family = lift["corrected"]
        if family is None or family["members"] < 2 or lift["breakdown"] or not lift["trusted"]:
            continue
        _, low, high = _numbers(lift, family["absolute"])
        said.append(
            f"{lift['metric']} ({lift['arm']}) among {family['members']} ({family['method']}): "
            f"{low} to {high}, p = {family['p_value']:.2g}"
        )
    return said


def _worth(worth: dict[str, Any]) -> str:
    """Return what the offer brought in money, in a line."""

    def span(name: str) -> str:
        money = worth[name]
        if money is None:
            return "not known"
        ends = ["unbounded" if money[end] is None else f"{money[end]:,.2f}" for end in ("low", "high")]
        return f"{money['value']:,.2f} ({ends[0]} to {ends[1]})"

    if not worth["trusted"]:
        return f"{worth['arm']}: what it brought is {NOT_TRUSTED}: {'; '.join(worth['notes'])}"
    return (
        f"{worth['arm']}: incremental profit {worth['currency']} {span('total_profit')}, for each unit spent on the "
        f"offer {span('returned')} came back"
    )


def _lifts(record: dict[str, Any]) -> str:
    rows = []
    remarks: dict[str, int] = {}

    def how(said: str, notes: Sequence[str]) -> str:
        places = [str(remarks.setdefault(note, len(remarks) + 1)) for note in notes]
        return " ".join(each for each in (said, f"({', '.join(places)})" if places else "") if each)

    for lift in record["lifts"]:
        block = lift[lift["decision"]]
        where = f" [{lift['breakdown']} = {lift['level']}]" if lift["breakdown"] else ""
        if block is None or not lift["trusted"]:
            doubt = NOT_TRUSTED if block else "no number"
            rows.append([lift["metric"] + where, lift["arm"], "", "", "", how(doubt, lift["notes"])])
            continue
        value, low, high = _numbers(lift, block["absolute"])
        rows.append(
            [
                lift["metric"] + where,
                lift["arm"],
                value,
                f"{low} to {high}",
                _percent(block["relative"]),
                how(lift["decision"], lift["notes"]),
            ]
        )
    header = [
        "metric",
        "arm",
        "lift",
        f"{round(100 * (1 - record['design']['alpha']), 4):g}% interval",
        "relative",
        "how",
    ]
    shown = table_text(header, rows, right=[2])
    return "\n".join([shown, *(f"({place}) {note}" for note, place in remarks.items())])


def _numbers(lift: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Return the difference and its interval's ends, all with the same decimals."""
    ends = [found[name] for name in ("value", "low", "high")]
    if lift["kind"] == "conversion":
        return [f"{each * 100:+.2f} pp" for each in ends]
    decimals = Unit().decimals(found["low"], found["high"], found["value"]) + 1
    return [f"{each:+,.{decimals}f}" for each in ends]


def _percent(relative: dict[str, Any]) -> str:
    if relative["value"] is None:
        return "none"
    ends = [("unbounded" if end is None else f"{end:+.1%}") for end in (relative["low"], relative["high"])]
    return f"{relative['value']:+.1%} ({ends[0]} to {ends[1]})"

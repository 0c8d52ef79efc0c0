"""What a weekly run, or the demo, came to, in plain text."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.show.table import table_text

if TYPE_CHECKING:
    from toolkit.steps.weekly import Outcome

__all__ = ["outcomes_text", "truths_text"]


def outcomes_text(outcomes: Sequence[Outcome], reports: Path | str) -> str:
    """Return one line per experiment of a weekly run, and where the index is."""
    lines = []
    for each in outcomes:
        if each.record:
            verdict = each.record["verdict"]
            status, said = verdict["status"], verdict["text"]
            known = said.lower().startswith(f"{status}:")
            lines.append(f"{each.spec}: {status}: {said[len(status) + 1 :].strip() if known else said}")
        if each.error:
            lines.append(f"{each.spec}: failed: {each.error}" if each.exit_status else each.error)
    index = f"{reports}/index.html" if isinstance(reports, str) else reports / "index.html"
    return "\n".join([*lines, f"index: {index}"])


def truths_text(
    known: Sequence[Any],
    looks: dict[str, dict[str, Any]],
    pages: Sequence[Path],
    present: Mapping[str, str],
    spec: str,
) -> str:
    """Return the demo's last words: what was found, the truth beside it, where to read on, and how to go on.

    `present` are the variables with which commands look at the demo's world as it was left.
    """
    lines = [f"{each['design']['name']}\n  {each['verdict']['text']}" for each in looks.values()]
    rows = []
    for each in known:
        scale, unit = (100, " pp") if each.metric.endswith("_rate") else (1, "")
        shown = [
            "" if value is None else f"{value * scale:+,.2f}{unit}"
            for value in (each.true, each.value, each.low, each.high)
        ]
        held = {True: "yes", False: "no", None: "not trusted yet"}[each.covered]
        rows.append(
            [
                each.experiment,
                each.arm,
                each.metric,
                shown[0],
                shown[1],
                f"{shown[2].removesuffix(unit)} to {shown[3]}",
                held,
            ]
        )
    header = ["experiment", "arm", "metric", "true lift", "measured", "interval", "holds it"]
    lines.append(table_text(header, rows, right=[3, 4, 5]))
    lines += ["Open these:", *(f"  {page}" for page in pages)]
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in present.items())
    lines += [
        "Look at this world again (its vendors are gone: nothing can be pulled or pushed):",
        f"  export {variables}",
        f"  lift measure {spec}",
    ]
    return "\n".join(lines)

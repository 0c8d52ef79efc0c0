"""Bars: customers per arm beside the sizes planned."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from toolkit.readout.charts import LABELS
from toolkit.readout.frame import NARROW, WIDE, drawn, mark_of
from toolkit.readout.svg import element, fitted, text

__all__ = ["sizes"]


def sizes(identifier: str, title: str, arms: Sequence[tuple[str, float, float, str]]) -> Markup:
    """Return bars of customers per arm, with a tick where the plan would have them.

    `arms` holds name, actual share, planned share, and both in words.
    """
    most = max((max(actual, planned) for _, actual, planned, _ in arms), default=1.0) or 1.0
    description = ". ".join(f"{name}: {said}" for name, _, _, said in arms) + "."
    parts = []
    for kind in ("wide", "narrow"):
        wide = kind == "wide"
        left, right = (LABELS, WIDE - 270) if wide else (0.0, NARROW - 8)
        top, step = (6.0, 34.0) if wide else (2.0, 60.0)
        pieces = []
        for place, (name, actual, planned, said) in enumerate(arms):
            at = top + step * place
            bar = at + (6 if wide else 38)
            mark = left + (right - left) * planned / most
            pieces.append(
                mark_of(
                    f"{name}: {said}",
                    text(
                        fitted(name, LABELS - 18 if wide else NARROW, 14)[0],
                        0,
                        at + (21 if wide else 14),
                        "label",
                    ),
                    text(said, WIDE - 250 if wide else 0, at + (21 if wide else 30), "small"),
                    element(
                        "rect",
                        x=left,
                        y=bar,
                        width=max(1.0, (right - left) * actual / most),
                        height=14.0,
                        class_="bar",
                    ),
                    element("line", x1=mark, x2=mark, y1=bar - 4, y2=bar + 18, class_="plan"),
                    class_="row",
                )
            )
        parts.append((kind, WIDE if wide else NARROW, top + step * len(arms) + 4, Markup("").join(pieces)))
    return drawn(identifier, title, description, parts)

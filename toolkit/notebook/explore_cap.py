"""Choosing a cap: a slider over quantiles, with what each would cut and how small an effect it would find."""

from __future__ import annotations

from toolkit.notebook.chart import PLACE_TOKEN, across, curves
from toolkit.notebook.explorer import Answer, Explorer, Slider
from toolkit.readout import words
from toolkit.readout.figures import DASH, Unit, count, percent
from toolkit.stats.caps import CapChoice
from toolkit.steps.caps import Caps

__all__ = ["explore_cap"]

CAP = (0,)


def explore_cap(found: Caps, currency: str | None = None) -> Explorer:
    """Return a slider over caps. It shows no lift: a cap that is chosen by its lift is no cap, but a result.

    `currency` is that of the metric, where it is money.
    """
    unit = Unit("money", currency) if currency else Unit()
    choices, last = found.choices, len(found.choices) - 1
    rows = (
        ("larger numbers count as", tuple(unit.size(each.value, 2) for each in choices)),
        (
            "customers above it",
            tuple(count(each.above) if each.value is not None else DASH for each in choices),
        ),
        ("share of the sum that is kept", tuple(percent(each.kept, 2) for each in choices)),
        ("smallest relative effect", tuple(percent(each.relative) for each in choices)),
        (
            "the interval",
            tuple(
                f"not to be trusted: {each.doubt}" if each.doubt else "will be trusted" for each in choices
            ),
        ),
    )
    picture = curves(
        "Smallest effect by cap",
        [words.metric_name(found.metric)],
        [[(at / last, each.relative) for at, each in enumerate(choices)]],
        [(at / last, _short(each)) for at, each in enumerate(choices) if at % 2 == 0 or at == last],
        "quantile capped at",
        1.15 * max(each.relative for each in choices),
        upright="cap chosen",
    )
    planned = next((at for at, each in enumerate(choices) if each.quantile == found.planned), None)
    return Explorer(
        f"{found.title}: choose a cap for {words.metric_name(found.metric)}",
        f"From {found.source}. A lower cap cuts more and finds smaller effects on what is left; `cap: auto` would be "
        f"{found.auto:.4g} at the planned sizes. Quantiles are of these numbers alone; a measurement takes them "
        "over all arms' customers, where another number stands for the same quantile. Effects are without covariates, at one look."
        f"{_waiting(found) if planned is None else ''}",
        (Slider("cap", tuple(_stop(found, each) for each in choices), planned or 0),),
        ("at this cap",),
        tuple((name, (Answer(CAP, said),)) for name, said in rows),
        pictures=(str(picture),),
        marks=((PLACE_TOKEN, Answer(CAP, tuple(f"{across(at / last):.1f}" for at in range(last + 1)))),),
        told="Smallest relative effect against the quantile capped at; upright the cap chosen.",
        name="cap",
    )


def _waiting(found: Caps) -> str:
    """Return what to say of a planned cap that is not among the choices."""
    return (
        f" The planned {found.planned:.4g} lies among customers who have nothing, so that it cannot cap yet."
    )


def _short(choice: CapChoice) -> str:
    return "none" if choice.quantile is None else f"{choice.quantile:.4g}"


def _stop(found: Caps, choice: CapChoice) -> str:
    said = [_short(choice)]
    if choice.quantile == found.auto:
        said.append("auto")
    if choice.quantile == found.planned:
        said.append("planned")
    return " · ".join(said)

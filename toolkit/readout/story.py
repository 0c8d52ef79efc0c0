"""The headline in one sentence, and what to do: from the verdict's status, the primary metrics and the money."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.readout import words
from toolkit.readout.figures import Unit, day, span, total, window
from toolkit.readout.view import LiftView

__all__ = ["Story", "advice", "at_a_loss", "brought", "claim", "money_of", "paid", "told"]

MOST_CLAIMS = 3
"""More comparisons than this do not fit a sentence; the others stand below."""
FARTHEST = 3.0
"""A relative end beyond four times the control's mean tells of how little is known of that mean."""


@dataclass(frozen=True, slots=True)
class Story:
    """What the first screen says: the sentence, what to do, and why."""

    sentence: str
    advice: str
    why: str


def told(
    record: Mapping[str, Any],
    views: Sequence[LiftView],
    *,
    status: str,
    level: str,
    failed: int,
    finished: bool = False,
) -> Story:
    """Return the headline of a record whose whole-cohort comparisons are `views`.

    With a failed check, or nothing that may be believed, there is no number in it. `finished` says that no more
    outcomes are to come.
    """
    if failed:
        return Story(words.withheld(failed), "Do not decide by this page.", words.HIDDEN)
    harmed = [
        each
        for each in views
        if each.role == "guardrail" and each.trusted and each.lift.get("answer") == "harm"
    ]
    primary = [each for each in views if each.role == "primary" and each.trusted]
    worth = {each["arm"]: each for each in record.get("worth", ())}
    do, why = advice(status, [*harmed, *primary], worth, record["design"].get("complete_on"))
    unclear = [each.title for each in views if each.trusted and each.lift.get("answer") == "unclear"]
    if unclear and status in {"incremental", "inconclusive"}:
        why = f"{why} Harm to {words.listed(list(dict.fromkeys(unclear)))} is not ruled out: watch it."
    doubted = [each for each in views if each.role == "guardrail" and not each.trusted]
    if doubted and status in {"incremental", "inconclusive"}:
        titles = words.listed(list(dict.fromkeys(each.title for each in doubted)))
        if status == "inconclusive" and any(each.direction > 0 for each in primary):
            do, why = f"Look at {titles} before anything is rolled out.", words.GAIN_IN_DOUBT
        else:
            why = f"{why} Harm to {titles} cannot be judged{'' if finished else ' yet'}."
    if status != "provisional" and (record.get("maturity") or {}).get("provisional"):
        why = f"{why} Orders or refunds are still to come: confirm it on the next page."
    if caution := record["verdict"].get("caution"):
        why = f"{why} {caution}"
    if not primary and not harmed:
        return Story(words.prose(record["verdict"]["text"], record), do, why)
    metrics = {each.metric for each in primary}
    money = {arm: money_of(each) for arm, each in worth.items()}
    claims = [f"{words.capital(each.arm)} did harm: it {claim(each, level)}" for each in harmed]
    for each in primary[:MOST_CLAIMS]:
        last = each.metric == [of.metric for of in primary if of.arm == each.arm][-1]
        profit = money.get(str(each.lift["arm"]), "") if last else ""
        who = each.arm if claims else words.capital(each.arm)
        claims.append(f"{who} {claim(each, level)}{f' and {profit}' if profit else ''}")
    more = len(primary) - MOST_CLAIMS
    others = (
        f"; {words.plural(more, 'more comparison')} of {words.plural(len(metrics), 'metric')} below"
        if more > 0
        else ""
    )
    over = _over(record, {each.metric for each in (*harmed, *primary)}, money=any(money.values()))
    early = "Provisional: " if status == "provisional" else ""
    return Story(f"{early}{'; '.join(claims)} {over}{others}.", do, why)


def _over(record: Mapping[str, Any], said: Collection[str], *, money: bool) -> str:
    """Return over which span the metrics that are `said` count: their window, or from the start until `as_of`.

    With `money`, which is counted in the window of a metric of amounts, those have to agree. Where windows differ, the
    span ends when the primary metrics' have closed for the last customer.
    """
    design = record["design"]
    metrics = [
        each for each in design["metrics"] if each["name"] in said or (money and each["kind"] != "conversion")
    ]
    windows = {each["window"] for each in metrics}
    complete = design.get("complete_on")
    closed = complete is not None and None not in windows
    if len(windows) == 1 and None not in windows:
        return f"within {window(*windows)} of assignment"
    return f"in {span(design['start'], min(record['as_of'], complete) if closed else record['as_of'])}"


def claim(view: LiftView, level: str) -> str:
    """Return what an arm did to a metric: `raised purchase rate by 3.1% (95% interval +1.2% to +5.0%)`.

    In relative terms where both ends are known and near, else in the metric's own unit, as where the control's mean
    is no base.
    """
    counted = view.counted or {}
    ends = counted.get("relative") or {}
    bounded = ends.get("low") is not None and ends.get("high") is not None and ends["high"] <= FARTHEST
    said, interval = view.relative() if bounded else view.absolute()
    if not view.sign:
        return f"may have changed {view.title} by anything from {interval} ({level} interval)"
    did = "raised" if view.sign > 0 else "lowered"
    return f"{did} {view.title} by {said.lstrip('+−')} ({level} interval {interval})"


def money_of(worth: Mapping[str, Any]) -> str:
    """Return what an arm brought, as part of a sentence; empty where it may not be believed."""
    profit = worth.get("total_profit")
    if not worth.get("trusted") or not profit or profit["low"] is None or profit["high"] is None:
        return ""
    said, interval = total(profit, Unit("money", worth["currency"]))
    return brought(str(paid(worth)), said, interval)


def brought(verdict: str, said: str, interval: str) -> str:
    """Return what became of profit, as part of a sentence; without a single number where its sign is not settled."""
    if verdict == "open":
        return f"brought between {interval.replace(' to ', ' and ')} of profit"
    size = said.lstrip("−\N{WORD JOINER}")
    return f"{'brought' if verdict == 'pays' else 'cost'} {size} of profit ({interval})"


def paid(worth: Mapping[str, Any] | None) -> str | None:
    """Return whether an offer `pays`, `loses`, or that it is `open`; None where money may not be believed."""
    profit = (worth or {}).get("total_profit")
    if not worth or not worth.get("trusted") or not profit or profit["low"] is None or profit["high"] is None:
        return None
    return "pays" if profit["low"] > 0 else "loses" if profit["high"] < 0 else "open"


def advice(
    status: str, views: Sequence[LiftView], worth: Mapping[str, Mapping[str, Any]], complete_on: str | None
) -> tuple[str, str]:
    """Return what to do and why, from the verdict's status; money only sharpens it."""
    better = list(dict.fromkeys(each.lift["arm"] for each in views if each.direction > 0))
    worse = list(dict.fromkeys(each.lift["arm"] for each in views if each.direction < 0))
    if status == "provisional":
        until = f" before {day(complete_on)}" if complete_on else ""
        return f"Wait: do not decide{until}.", "The data are not complete, and what is shown can still turn."
    if status == "harm":
        return f"Stop {_arms(worse)}.", "A metric moved the wrong way beyond what chance explains."
    if status == "no_harm":
        return "Safe to keep.", "No guardrail was harmed beyond its margin; whether it helps was not asked."
    if status == "inconclusive":
        return "Not proven: keep the holdout running, or test something bolder.", words.STATUS[status][1]
    if status == "not_readable":
        return "Do not decide by this page.", words.STATUS[status][1]
    pays = {arm: paid(worth.get(arm)) for arm in better}
    if _all_lose(pays.values()):
        return "Change the offer before you keep it.", "It sold more, and cost more than it brought."
    if any(each in {"loses", "open"} for each in pays.values()):
        return (
            f"Keep {_arms([arm for arm in better if pays[arm] != 'loses'])}, and watch what it costs.",
            "It sold more; whether the offer pays for itself is not settled.",
        )
    if len(better) > 1:
        return (
            f"Keep {_arms(better, 'or')}.",
            "Each beats the control; they are not compared with each other.",
        )
    return f"Keep {_arms(better)}.", "The whole interval lies on the good side of zero."


def at_a_loss(record: Mapping[str, Any], views: Sequence[LiftView], status: str) -> bool:
    """Return whether every arm that raised a primary metric surely cost more than it brought."""
    worth = {each["arm"]: each for each in record.get("worth") or ()}
    better = {each.lift["arm"] for each in views if each.role == "primary" and each.direction > 0}
    return status == "incremental" and _all_lose([paid(worth.get(arm)) for arm in better])


def _all_lose(verdicts: Collection[str | None]) -> bool:
    return bool(verdicts) and all(each == "loses" for each in verdicts)


def _arms(arms: Sequence[str], last: str = "and") -> str:
    return words.listed([words.arm_name(str(each)) for each in arms], last) or "it"

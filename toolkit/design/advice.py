"""What in an experiment file is allowed, and deserves a second look all the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from toolkit.design.catalogue import MANY_TRAITS, Advice, Use, clashes
from toolkit.design.durations import in_words
from toolkit.design.experiment import Experiment

__all__ = ["advice_on"]

SMALL_SHARE = 0.05
SHORTEST_SCHEDULE = timedelta(minutes=1)
"""Cron starts nothing more often, and an SDK that polls asks every half minute at best."""
WAREHOUSE_SCHEDULE = timedelta(minutes=15)
"""Customer.io writes its warehouse files no more often (its documentation of data-warehouse sync)."""

PLACES = {"segment", "segments", "cohort", "audience", "group"}
MAY = {"eligible", "allowed", "offer", "offered", "may", "can"}
PRICED = {"discount", "percent", "pct", "off", "coupon", "voucher", "promo", "rebate", "cashback", "sale"}
GIVEN = PRICED | {"free", "gift", "credit", "price", "deal", "bonus", "upgrade"}


def advice_on(file: str, experiment: Experiment) -> tuple[Advice, ...]:
    """Return what deserves a second look in one experiment; `file` is its path as the user wrote it."""
    said = [
        *_of_the_experiment(file, experiment),
        *_of_all_traits(file, experiment),
        *clashes(file, experiment),
    ]
    for place, trait in enumerate(experiment.traits):
        use = Use(file, experiment, place, trait)
        said += [Advice(file, use.field, text) for text in (*_of_words(use), *_of_offers(use), *_of_age(use))]
    return tuple(said)


def _of_the_experiment(file: str, experiment: Experiment) -> Iterator[Advice]:
    if not any(metric.role == "primary" for metric in experiment.metrics):
        yield Advice(
            file,
            "metrics",
            "none has `role: primary`, so there will be no verdict; give it to the one that decides",
        )
    if experiment.do_not_offer and experiment.cohort is None:
        yield Advice(
            file,
            "do_not_offer",
            "the file has no `cohort:` to tell who has the attribute; `lift push` will refuse; add one",
        )
    if min(experiment.arms.values()) < SMALL_SHARE:
        yield Advice(
            file,
            "arms",
            "an arm below 5 % rarely tells anything; see `lift design`, and give it a larger share",
        )


def _of_all_traits(file: str, experiment: Experiment) -> Iterator[Advice]:
    traits = experiment.traits
    if len(traits) > MANY_TRAITS:
        yield Advice(
            file,
            "traits",
            f"{len(traits)} are many; more than {MANY_TRAITS} are hard to keep right; "
            "join booleans of one offer into an enum",
        )
    untreated = set(experiment.treatments) - {arm for trait in traits for arm in trait.treated_arms}
    if traits and untreated:
        yield Advice(
            file,
            "traits",
            f"no trait reaches the arms {', '.join(sorted(untreated))}; they see what control sees; "
            "add them to a trait's arms, or remove them",
        )
    if experiment.identity.key == "email" and traits:
        yield Advice(
            file,
            "identity.key",
            "e-mail addresses must not become segment keys; `lift push` will refuse; use `id` or `cio_id`",
        )


def _of_words(use: Use) -> Iterator[str]:
    trait = use.trait
    missing = [f"`{name}`" for name in ("owner", "flag", "meaning") if not getattr(trait, name)]
    if missing:
        yield (
            f"has no {' and no '.join(missing)}; write it down, so that product and retention know "
            "whom to ask and what it does"
        )
    if "default" not in trait.model_fields_set:
        yield "has no `default`; false is taken; write `default: false`, so that everybody sees it"
    if trait.type == "boolean" and _says_where(trait.name):
        yield (
            "is named after where a customer sits; name it after what may be offered, "
            "like free_shipping_eligible, so that a flag need not know the segment"
        )


def _of_offers(use: Use) -> Iterator[str]:
    trait, experiment = use.trait, use.experiment
    words = _words(trait.name).union(*(_words(value) for value in trait.every_value))
    if words & GIVEN and experiment.do_not_offer is None:
        yield (
            "looks like an offer, and the file has no `do_not_offer`; add "
            "`do_not_offer: {attribute: …}`, the attribute of customers who must never get one"
        )
    rule = trait.escalate
    if rule is None:
        return
    firsts = {arm: trait.values[arm] for arm in rule.arms}
    if same := [arm for arm, value in firsts.items() if value == rule.to]:
        yield (
            f"`escalate.to` is what {', '.join(same)} has from the start, so nothing escalates; "
            "give that arm a smaller first value, or take it out of `escalate.arms`"
        )
    if priced := sorted({value for value in firsts.values() if _words(value) & PRICED and value != rule.to}):
        yield (
            f"the first value {', '.join(priced)} looks like a discount; begin with an offer that is none, "
            "and keep the discount for `escalate.to`"
        )
    if experiment.events is None:
        yield "escalates, and the file has no `events:` to tell who ordered, so nobody will; add `events:`"
    elif experiment.events.order.name == rule.opt_out:
        yield "`escalate.opt_out` is the order's own event; name the event of opting out, or remove it"


def _of_age(use: Use) -> Iterator[str]:
    trait, experiment = use.trait, use.experiment
    limit = in_words(trait.age_limit)
    if trait.max_age is None:
        yield (
            f"has no `max_age`; {limit} is taken, as usual for `type: {trait.type}`; "
            f"write `max_age: {limit}`, or what the offer bears"
        )
    warehouse = experiment.cohort is not None and experiment.cohort.source == "warehouse"
    for span, why in (
        (experiment.schedule.push if experiment.schedule else None, "`schedule.push` says that it is pushed"),
        (WAREHOUSE_SCHEDULE if warehouse else None, "the vendor's warehouse files come at most"),
        (SHORTEST_SCHEDULE, "a scheduled push runs at most"),
    ):
        if span and trait.age_limit < span:
            yield (
                f"may be {limit} old, and {why} every {in_words(span)}; "
                f"write `max_age: {in_words(span)}` or more, or push more often"
            )
            return


def _says_where(name: str) -> bool:
    """Return whether a boolean's name tells a place, like in_segment_7, rather than what may be offered."""
    words = _words(name)
    return bool(words & PLACES) or (name.startswith(("is_", "in_")) and not words & MAY)


def _words(text: str) -> set[str]:
    return {word for word in re.split(r"[^a-z]+", text.lower()) if word} | (
        {"percent"} if "%" in text else set()
    )

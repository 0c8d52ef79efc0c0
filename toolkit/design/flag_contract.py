"""What an experiment promises about a flag: who may be served which value, and everybody else the control."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from toolkit.design.assignment import Bound, bounds_of, weights_of
from toolkit.design.experiment import Experiment
from toolkit.design.flags import Flag
from toolkit.design.traits import TraitContract
from toolkit.errors import SpecError

__all__ = ["FlagContract", "Mode", "Promise", "contracts_of", "in_json", "same_value"]

Mode = Literal["segments", "rollout", "lookup"]


@dataclass(frozen=True, slots=True)
class Promise:
    """A value, and who is promised it: members of `segment`, or contexts whose `attribute` is that value."""

    value: bool | str
    segment: str | None = None
    attribute: str | None = None

    @property
    def who(self) -> str:
        """Return in words who is promised the value."""
        if self.segment is not None:
            return f"members of {self.segment}"
        return f"whoever has `{self.attribute}` {in_json(self.value)}"


@dataclass(frozen=True, slots=True)
class FlagContract:
    """What holds for one flag of an experiment.

    Attributes:
        flag: its key.
        names: the traits that the flag carries; in mode `lookup` the attributes that it may ask for.
        control: the value of everyone who is unknown, held out or not eligible.
        values: eligibility segment → the value that its members are served.
        own: trait → its values, by its segments.
        holdouts: segments whose members are served the control before anything else.
        universal: the one of `holdouts` that belongs to no experiment, if there is one.
        kind: the kind of the contexts that carry customers' keys.
        arms: arm → the values that its customers may be served, the first of them at first; the control
            arm's is the control.
        shares: arm → its share.
        control_arm: the arm that is served the control.
        seed: what a rollout has to draw with; None where the file gives no seed.
        prefix: what is hashed before a customer's key.
        do_not_offer: the attribute of whoever is never eligible.
    """

    flag: str
    mode: Mode
    names: tuple[str, ...]
    control: bool | str
    values: Mapping[str, bool | str]
    own: Mapping[str, tuple[bool | str, ...]]
    holdouts: tuple[str, ...]
    universal: str | None
    kind: str
    arms: Mapping[str, tuple[bool | str, ...]]
    shares: Mapping[str, float]
    control_arm: str
    seed: int | None
    prefix: str
    do_not_offer: str | None

    @property
    def treatments(self) -> tuple[bool | str, ...]:
        """Return the values that are not the control, each once."""
        return tuple(dict.fromkeys(self.values.values()))

    @property
    def weights(self) -> dict[str, int]:
        """Return arm → weight in 1/100,000, in the file's order."""
        return weights_of(self.shares)

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """Return the bounds of the arms' buckets."""
        return bounds_of(self.shares)

    @property
    def segments(self) -> tuple[str, ...]:
        """Return the segments that this mode needs, holdouts first."""
        if self.mode == "segments":
            return (*self.holdouts, *self.values)
        return self.holdouts

    @property
    def promises(self) -> tuple[Promise, ...]:
        """Return who is promised what; nobody in particular where a rollout draws."""
        if self.mode == "segments":
            return tuple(Promise(value, segment=segment) for segment, value in self.values.items())
        if self.mode == "lookup":
            return tuple(
                Promise(each, attribute=name) for name, values in self.own.items() for each in values
            )
        return ()

    def value_of(self, flag: Flag, place: int | None) -> bool | str | None:
        """Return which value of the contract the variation at `place` stands for; None for no value of it.

        A variation is the value itself, or an object that holds it under a trait's name, or, where it is an
        object, one whose name is the value.
        """
        if place is None or not 0 <= place < len(flag.variations):
            return None
        variation = flag.variations[place]
        told = [variation.value]
        if isinstance(variation.value, dict):
            told = [variation.value[name] for name in self.names if name in variation.value]
            if not told:
                return next(
                    (each for each in (self.control, *self.treatments) if variation.name == in_json(each)),
                    None,
                )
        return next(
            (each for each in (self.control, *self.treatments) if told and same_value(told[0], each)), None
        )

    def places_of(self, flag: Flag, value: bool | str) -> tuple[int, ...]:
        """Return the places of the variations that stand for `value`."""
        return tuple(
            place for place in range(len(flag.variations)) if same_value(self.value_of(flag, place), value)
        )


def contracts_of(experiment: Experiment, spec: str) -> tuple[FlagContract, ...]:
    """Return what holds for each flag that the traits name, in the file's order.

    Raises:
        SpecError: no trait names a flag, or two traits of one flag differ in what is the control.
    """
    by_flag: dict[str, list[TraitContract]] = {}
    for trait in experiment.traits:
        if trait.flag:
            by_flag.setdefault(trait.flag, []).append(trait)
    if not by_flag:
        raise SpecError(
            f"{spec}: traits: none names a `flag`, so there is nothing to audit; add `flag: its-key`"
        )
    return tuple(_contract(experiment, flag, traits, spec) for flag, traits in by_flag.items())


def same_value(told: Any, value: Any) -> bool:
    """Return whether two values are the same in JSON: true is neither 1 nor "true"."""
    return type(told) is type(value) and bool(told == value)


def in_json(value: Any) -> str:
    """Return a value as a person writes it in LaunchDarkly: text bare, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _contract(experiment: Experiment, flag: str, traits: list[TraitContract], spec: str) -> FlagContract:
    control = traits[0].default
    if any(not same_value(trait.default, control) for trait in traits):
        names = " and ".join(f"`{trait.name}`" for trait in traits)
        raise SpecError(
            f"{spec}: traits: {names} share the flag {flag!r} but not their `default`; give each a flag of its own"
        )
    own = {trait.name: _values(trait) for trait in traits}
    values = {segment: value for held in own.values() for segment, value in held.items()}
    arms = {
        arm: tuple(dict.fromkeys(value for trait in traits for value in _possible(trait, arm))) or (control,)
        for arm in experiment.arms
    }
    universal = experiment.universal_segment
    mode = experiment.delivery.mode
    ours = () if mode == "rollout" else (experiment.holdout_segment,)
    return FlagContract(
        flag=flag,
        mode=mode,
        names=tuple(own),
        control=control,
        values=values,
        own={name: tuple(dict.fromkeys(held.values())) for name, held in own.items()},
        holdouts=(*((universal,) if universal else ()), *ours),
        universal=universal,
        kind=experiment.identity.context_kind,
        arms=arms,
        shares=dict(experiment.arms),
        control_arm=experiment.control,
        seed=experiment.seed,
        prefix=experiment.prefix,
        do_not_offer=experiment.do_not_offer.attribute if experiment.do_not_offer else None,
    )


def _values(trait: TraitContract) -> dict[str, bool | str]:
    """Return segment → value."""
    return dict(zip(trait.segments(), trait.positive_values, strict=True))


def _possible(trait: TraitContract, arm: str) -> tuple[bool | str, ...]:
    """Return the values that an arm's customers may have, but for the default; a number tells their band."""
    if arm not in trait.treated_arms:
        return ()
    if trait.type == "band":
        return trait.positive_values
    return tuple(dict.fromkeys((trait.value_of(arm), trait.value_of(arm, escalated=True))))

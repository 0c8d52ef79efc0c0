"""What a flag can serve to whom, read off its targeting: the questions that an audit asks of rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.design.flag_contract import FlagContract, Promise, in_json, same_value
from toolkit.design.flags import TOTAL_WEIGHT, USER, Clause, Flag, Rollout, Rule, Segment, Serve

__all__ = ["KEY", "KIND", "Subject", "is_member_clause"]

KEY = "key"
KIND = "kind"


@dataclass(frozen=True, slots=True)
class Subject:
    """A flag under audit, with what it reads.

    Attributes:
        segments: key → segment, None where there is none; all that the flag and the contract name, and those
            that they name in turn.
        prerequisites: likewise the flags that have to be on before it.
    """

    flag: Flag
    contract: FlagContract
    segments: Mapping[str, Segment | None]
    prerequisites: Mapping[str, Flag | None]

    def shown(self, *places: int | None) -> str:
        """Return in words the values at `places`."""
        return " or ".join(self._shown(place) for place in places) or "nothing"

    def _shown(self, place: int | None) -> str:
        if place is None or not 0 <= place < len(self.flag.variations):
            return f"variation {place}, which is not there"
        return in_json(self.flag.variations[place].value)

    @property
    def controls(self) -> tuple[int, ...]:
        """Return the places of the variations that stand for the control."""
        return self.contract.places_of(self.flag, self.contract.control)

    def is_control(self, place: int | None) -> bool:
        """Return whether the variation at `place` stands for the control."""
        return same_value(self.contract.value_of(self.flag, place), self.contract.control)

    def reach(self, serve: Serve, *, sure: bool) -> tuple[int, ...]:
        """Return the places of all variations that can be served, in the draw's order.

        `sure` says that whoever gets here has a context of the contract's kind.
        """
        if serve.variation is not None:
            return (serve.variation,)
        if serve.rollout is None or not serve.rollout.variations:
            return ()
        drawn = serve.rollout.variations
        places = [each.variation for each in drawn if each.weight > 0]
        if sum(each.weight for each in drawn) < TOTAL_WEIGHT:
            places.append(drawn[-1].variation)  # whoever is left over gets the last
        if not self.surely_drawn(serve.rollout, sure=sure):
            places.append(
                drawn[0].variation
            )  # without its kind even a first variation of no weight is served
        return tuple(dict.fromkeys(places))

    def surely_drawn(self, rollout: Rollout, *, sure: bool) -> bool:
        """Return whether the rollout draws by something that everyone who gets here has."""
        by_key = rollout.experiment or rollout.bucket_by in (None, KEY)
        return by_key and sure and (rollout.kind or USER) == self.contract.kind

    def reach_of(self, rule: Rule) -> tuple[int, ...]:
        """Return the places of all variations that the rule can serve."""
        return self.reach(rule.serve, sure=self.needs_kind(rule))

    def needs_kind(self, rule: Rule) -> bool:
        """Return whether only contexts of the contract's kind fit the rule."""
        return any(self._needs_kind(clause) for clause in rule.clauses)

    def _needs_kind(self, clause: Clause) -> bool:
        kind = self.contract.kind
        if clause.is_segment:
            return not clause.negate and all(self._holds_only(str(key), kind) for key in clause.values)
        if clause.attribute.removeprefix("/") == KIND:
            plain = clause.attribute == KIND and clause.op == "in" and not clause.negate
            return plain and clause.values == (kind,)
        return (clause.kind or USER) == kind  # without the kind no clause about it fits, negated or not

    def _holds_only(self, key: str, kind: str) -> bool:
        """Return whether all members of a segment, which may be missing, have a context of `kind`."""
        segment = self.segments.get(key)
        if segment is None:
            return True
        if segment.unbounded:
            return segment.unbounded_kind == kind and not segment.rules
        return not segment.rules and all(each == kind or not keys for each, keys in segment.included)

    def may_treat(self, rule: Rule) -> bool:
        """Return whether the rule can serve anything but the control."""
        return not all(map(self.is_control, self.reach_of(rule)))

    def is_foreign(self, place: int) -> bool:
        """Return whether the variation at `place` stands for no value of the contract."""
        return self.contract.value_of(self.flag, place) is None

    def holds_out(self, rule: Rule, segment: str) -> bool:
        """Return whether the rule serves the control, and all members of `segment` fit it."""
        alone = len(rule.clauses) == 1 and is_member_clause(rule.clauses[0], segment)
        return alone and bool(self.reach_of(rule)) and not self.may_treat(rule)

    def delivers(self, rule: Rule, promise: Promise) -> bool:
        """Return whether the rule serves everyone who is promised a value that value, and nothing else."""
        places = self.reach_of(rule)
        alone = len(rule.clauses) == 1 and self._keeps(rule.clauses[0], promise)
        return alone and bool(places) and all(self._is(place, promise.value) for place in places)

    def _keeps(self, clause: Clause, promise: Promise) -> bool:
        """Return whether everyone who is promised something fits the clause."""
        if promise.segment is not None:
            return is_member_clause(clause, promise.segment)
        return (
            (clause.attribute, clause.op, clause.kind or USER)
            == (promise.attribute, "in", self.contract.kind)
            and not clause.negate
            and any(same_value(each, promise.value) for each in clause.values)
        )

    def _is(self, place: int, value: bool | str) -> bool:
        return same_value(self.contract.value_of(self.flag, place), value)

    def is_gated(self, rule: Rule, place: int) -> bool:
        """Return whether only those fit the rule whom the contract promises the value at `place`."""
        return any(self.gates(clause, place) for clause in rule.clauses)

    def gates(self, clause: Clause, place: int) -> bool:
        """Return whether only those fit the clause whom the contract promises the value at `place`."""
        value = self.contract.value_of(self.flag, place)
        if value is None or clause.negate or not clause.values:
            return False
        if clause.is_segment:
            promised = [self.contract.values.get(str(key)) for key in clause.values]
            return self.contract.mode == "segments" and all(same_value(each, value) for each in promised)
        return (
            self.contract.mode == "lookup"
            and clause.op == "in"
            and (clause.kind or USER) == self.contract.kind
            and any(same_value(each, value) for each in self.contract.own.get(clause.attribute, ()))
            and all(same_value(each, value) for each in clause.values)
        )


def is_member_clause(clause: Clause, segment: str) -> bool:
    """Return whether all members of `segment` fit the clause."""
    return clause.is_segment and not clause.negate and segment in map(str, clause.values)

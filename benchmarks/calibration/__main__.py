"""Calibrate: `python -m benchmarks.calibration [runs]` writes docs/calibration.md."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.calibration.intervals import KINDS, SHOWN, Result, alike, coverage, far_out, shares
from benchmarks.calibration.worlds import World
from toolkit.stats.skew import GROSS_LIMIT, GROSS_LIMIT_UNBOUNDED, NET_LIMIT, cap_for

OUT = Path(__file__).parents[2] / "docs" / "calibration.md"
RUNS = 20_000
SEED = 7
MORE = 5
"""So many times as many runs where nothing has an effect, so that chance takes no rate out of its band."""
FEWEST = 1000
"""A cell with fewer trusted runs says nothing to within a percent."""

COVERAGE, FALSE, SIDE = (0.94, 0.96), (0.045, 0.055), (0.019, 0.031)
SIZES, SPREADS = (2_000, 10_000, 40_000), (0.5, 1.0, 1.5)
EFFECTS = {"none": (1.0, 1.0), "10 % more buyers": (1.1, 1.0), "10 % larger amounts": (1.0, 1.1)}
SHOPS = {
    "3 % of 20,000 buy, log-sd 1.5": (20_000, 0.03, 1.5),
    "40 % of 16,000 buy, log-sd 0.3": (16_000, 0.40, 0.3),
}
SPLITS = {"50:50": 0.5, "10:90": 0.1}
RATES = (0.005, 0.01, 0.02, 0.03, 0.05)
"""Shares of customers who buy."""
LEVELS = (0.05, 0.01, 0.001, 0.0001)


def _known(runs: int) -> list[str]:
    world = World(2_000, 18_000, 0.03, 1.5)
    found = coverage(world, runs, SEED, {"0.999": 0.999, "0.99": 0.99})
    mild = coverage(World(2_000, 18_000, 0.03, 0.5), runs, SEED, {})
    rows = [
        ("raw, Welch", found["raw, untrusted too"]),
        ("capped at 0.999, Welch", found["0.999, Welch, untrusted too"]),
        ("capped at 0.999, corrected", found["0.999"]),
        ("capped at 0.99, Welch", found["0.99, Welch, untrusted too"]),
        ("capped at 0.99, corrected", found["0.99"]),
        ("log-sd 0.5, raw, Welch", mild["raw, untrusted too"]),
    ]
    return [
        *_head("interval", "holds the truth", "false increase", "false decrease"),
        *(f"| {name} | {_percent(each.held)} | {_sides(each)} |" for name, each in rows),
    ]


def _alike(runs: int) -> tuple[list[str], list[str]]:
    """Return the table of worlds without effect, and what lies outside the bands."""
    lines = _head("world", "split", "metric", "trusted", "false positives", "increase", "decrease")
    outside = []
    for shop, (customers, buyers, log_sd) in SHOPS.items():
        for split, share in SPLITS.items():
            held = int(customers * share)
            _progress(f"no effect: {shop}, {split}")
            world = World(held, customers - held, buyers, log_sd)
            found = alike(world, runs, SEED + len(lines))
            for kind in (*KINDS, *SHOWN):
                each = found[kind]
                marked = _outside(each, 1 - FALSE[1], 1 - FALSE[0])
                outside += [f"{shop}, {split}, {kind}"] if marked else []
                shown = f"{_percent(1 - each.held)} | {_sides(each)}" if _says(each) else " | |"
                lines.append(f"| {shop} | {split} | {kind} | {_percent(each.share)} | {shown} |{marked}")
    return lines, outside


def _grid(runs: int) -> tuple[list[str], list[str], list[str]]:
    """Return the table of the grid, what lies outside the bands, and the trusted shares in words."""
    names = ("raw", "raw, as shown", "capped at 0.999", "capped by the rule")
    lines = _head(
        "holdout", "log-sd", "effect", "metric", "trusted", "holds", "above it", "below it", "relative holds"
    )
    outside: list[str] = []
    shares: dict[str, list[float]] = {name: [] for name in names}
    for size in SIZES:
        for log_sd in SPREADS:
            for effect, (more, larger) in EFFECTS.items():
                _progress(f"grid: holdout {size:,}, log-sd {log_sd}, effect {effect}")
                world = World(size, 9 * size, 0.03, log_sd, more, larger)
                quantiles = {names[2]: 0.999, names[3]: cap_for(size, [9 * size])}
                found = coverage(world, runs, SEED + len(lines), quantiles)
                for name in names:
                    each = found[name]
                    marked = _outside(each, *COVERAGE)
                    outside += [f"{size:,}, {log_sd}, {effect}, {name}"] if marked else []
                    shares[name].append(each.share)
                    if not each.trusted:
                        continue
                    relative = _percent(1 - each.relative / each.trusted)
                    shown = (
                        f"{_percent(each.held)} | {_sides(each)} | {relative}" if _says(each) else " | | |"
                    )
                    lines.append(
                        f"| {size:,} | {log_sd} | {effect} | {name} | {_percent(each.share)} | {shown} |{marked}"
                    )
    said = [f"{name} {100 * sum(each) / len(each):.2f} %" for name, each in shares.items()]
    return lines, outside, said


def _shares(runs: int) -> tuple[list[str], list[str]]:
    """Return the table of conversion rates with few held-out buyers, and what lies outside the bands."""
    lines = _head(
        "holdout",
        "treated",
        "buy",
        "due in the holdout",
        "effect",
        "trusted",
        "holds",
        "above it",
        "below it",
    )
    outside = []
    for held, treated in ((1_000, 9_000), (2_000, 18_000), (2_000, 2_000)):
        for buyers in RATES:
            for effect, more in (("none", 1.0), ("10 %", 1.1)):
                each = shares(held, treated, buyers, more, runs, SEED + len(lines))
                marked = _misses_too_often(each)
                outside += [f"{held:,} : {treated:,}, {100 * buyers:g} %, {effect}"] if marked else []
                shown = f"{_percent(each.held)} | {_sides(each)}" if _says(each) else " | |"
                lines.append(
                    f"| {held:,} | {treated:,} | {100 * buyers:g} % | {held * buyers:.0f} | {effect} "
                    f"| {_percent(each.share)} | {shown} |{marked}"
                )
    return lines, outside


def _far(runs: int) -> list[str]:
    rows = _head("level", "Welch, increase", "Welch, decrease", "corrected, increase", "corrected, decrease")
    _progress("small levels")
    found = far_out(World(2_000, 18_000, 0.03, 1.5), 10 * runs, SEED, 0.999, LEVELS)
    for level, values in found.items():
        rows.append(f"| {level:g} | " + " | ".join(f"{each:.2f}" for each in values) + " |")
    return rows


def _peeking(runs: int) -> list[str]:
    try:
        peeking = importlib.import_module("benchmarks.calibration.peeking")
    except ImportError:
        return []
    # 24 worlds of 26 looks: half the runs take as long as all the rest
    return ["## Looking every week", "", str(peeking.run(runs // 2, SEED)), ""]


def _head(*titles: str) -> list[str]:
    return ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(titles)]


def _says(each: Result) -> bool:
    return each.trusted >= FEWEST


def _outside(each: Result, low: float, high: float) -> str:
    """Return a mark where a cell that says anything lies outside its bands."""
    inside = not _says(each) or (
        low <= each.held <= high and all(SIDE[0] <= side <= SIDE[1] for side in each.sides)
    )
    return "" if inside else " ✗"


def _misses_too_often(each: Result) -> str:
    """Return a mark where a cell misses more often than the bands allow; missing less often is the safe side."""
    return " ✗" if _says(each) and (each.held < COVERAGE[0] or max(each.sides) > SIDE[1]) else ""


def _sides(each: Result) -> str:
    return " | ".join(_percent(side) for side in each.sides)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _progress(what: str) -> None:
    print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)


def _verdict(outside: Sequence[str]) -> str:
    if not outside:
        return "Every cell with at least 1,000 trusted runs lies within the bands."
    return "Outside the bands (marked ✗): " + "; ".join(outside) + "."


def _fill(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text


def main(runs: int) -> None:
    """Run everything and write the page."""
    begin = time.monotonic()
    _progress("known figures")
    known = _known(runs)
    alike_rows, alike_outside = _alike(MORE * runs)
    grid_rows, grid_outside, trusted = _grid(runs)
    share_rows, share_outside = _shares(runs)
    far = _far(runs)
    values = {
        "runs": f"{runs:,}",
        "alike_runs": f"{MORE * runs:,}",
        "far_runs": f"{10 * runs:,}",
        "known": "\n".join(known),
        "alike": "\n".join(alike_rows),
        "alike_verdict": _verdict(alike_outside),
        "grid": "\n".join(grid_rows),
        "grid_verdict": _verdict(grid_outside),
        "shares": ", ".join(trusted),
        "rates": "\n".join(share_rows),
        "rates_verdict": _verdict(share_outside),
        "far": "\n".join(far),
        "net": f"{NET_LIMIT:g}",
        "gross": f"{GROSS_LIMIT:g}",
        "unbounded": f"{GROSS_LIMIT_UNBOUNDED:g}",
        "peeking": "\n".join(_peeking(runs)),
    }
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(_fill(PAGE, values).rstrip() + "\n", encoding="utf-8")
    _progress("")
    print(f"{OUT.name}: {runs:,} runs a cell in {time.monotonic() - begin:.0f} s", file=sys.stderr)


PAGE = """# Calibration

`make calibrate` writes this page: {runs} simulated experiments per cell or more, seeds fixed, through the toolkit's own
moments, regressions, intervals and reasons for distrust.

## What is asked

A 95 % interval that is shown as trusted holds the truth 94 to 96 times in 100. Under no effect it cries 4.5 to
5.5 times in 100, 1.9 to 3.1 on each side: a false win is as rare as a false loss. An interval that cannot do
that says so and why, and is not counted below; a table's “trusted” is the share of experiments that were.

## The worlds

Customers buy or do not; amounts are log-normal. A holdout of 2,000 against 18,000 with 3 % buyers has 60
buyers, and with log-sd 1.5 one purchase of a thousand is 100 times the median. Before a correction:

{known}

The truth of a capped metric is the difference of expected purchases, each counted up to the cap that this
experiment's pooled customers gave, effect and all.

## No effect

Capped metrics are capped by the rule below; “adjusted” is by revenue in the span before, which is capped at the
same quantile of itself where the metric is. “As shown” is what decides in the end: where the interval as
measured is not to be trusted, its skew-corrected form, or else that of the unadjusted numbers. Rates are left
out where fewer than 1,000 runs were trusted. {alike_runs} runs a world: a rate is known to 0.07 %.

{alike}

{alike_verdict}

## Coverage over the grid

Nine treated to one held out, 3 % buyers. Trusted share of the grid: {shares}.
“Above it” is an interval that lies wholly above the truth; a metric that was never trusted in a cell is left out.

{grid}

{grid_verdict}

## Conversion with few held-out buyers

As shown: Welch's interval where it can be trusted, else the skew-corrected one. With
few buyers in equal arms it misses less often than it says, which is the safe side and not marked.

{rates}

{rates_verdict}

## What the interval is

Welch's statistic T, straightened by Hall's cubic transformation (1992). Its one constant, the skewness A of the
difference, is the pooled skewness of both arms' numbers times a factor of the arms' sizes. Mean and variance
stay each arm's own, so the interval is right to first order whatever the treatment does to the shape; only the
correction assumes that arms have a shape in common.

Tried and left:

| instead | what happened at 2,000 : 18,000, log-sd 1.5, capped at 0.999 |
| --- | --- |
| A from each arm's own third moment | right at 10:90, but 92.9 % at 50:50, where A is noise that moves with T |
| A from pooled skewness, weighed by each arm's own variance | 94.0 %, false increases 3.2 % |
| t with degrees of freedom from pooled kurtosis besides | 95.5 to 96.5 %; needs fourth moments |
| second-order expansion with pooled kurtosis | the same as without, to 0.1 % |
| pooled variance (as under no effect) | 95.1 % without effect, 96.1 % with 10 % larger amounts |
| shape per arm scaled by its buyers | half a percent less at 50:50: the count of buyers moves with T |

## Far out

Sequential looks ask for levels far below 5 %. How many times too often each side was called, {far_runs} runs of
2,000 : 18,000, log-sd 1.5, capped at 0.999 (1.00 is right, below is cautious):

{far}

Welch's p-values are not to be used there at all. The corrected ones are cautious about an increase, and call a
decrease up to a fifth too often (1.20 at 0.0001 in a million runs; here ten were due a side). Where the cap leaves
a skewness of 0.15 both sides are right down to 0.0001.

## When an interval is trusted

- At least 10 converting customers in each arm, and in the smaller one 10 (at equal arms) to 20 (at one to nine) to
  be expected: with fewer, asking for 10 would itself pick. At equal arms it picks either side alike, and such
  intervals hold the truth in 96 to 99.8 %; at one to nine it would leave out increases alone, and of 10 expected
  4.3 % lay wholly below the truth.
- Gross skewness (the arms' parts added up) at most {gross} if numbers are bounded: 0 or 1, or capped with at
  least 10 customers above the cap. Elsewhere {unbounded}, since a sample shows less of a tail than there is.
- Without the correction (raw, adjusted, ratio) net skewness at most {net}: sides shift by 0.085 A. At equal arms
  it is 0; at 10:90 a conversion rate needs about 320 held-out buyers.
- An adjusted interval where the numbers without the adjustment keep the same limit as well: what covariates explain
  of a sample's largest customers says nothing of those yet unseen. Where residuals alone were asked (equal arms of
  10,000, 3 % buyers, log-sd 1.5, uncapped) 8 % were trusted, and of those 6.1 % were false positives; of those
  whose unadjusted skewness lay above 0.25, 8.2 %.
- A covariate's own gross skewness at most {gross}: with revenue before uncapped, log-sd 1.5 and 2,000 held out,
  the capped and adjusted interval held the truth 93.8 % of the time, lay below it 4.1 %, and adjusting took
  away 2 % of the variance; with the covariate capped 94.5 %, 2.7 % and 15 %.
- An adjusted interval with at least 100 degrees of freedom, from sizes alone: (1/n₁ + 1/n₀)² over the arms' sum of
  1 / (n² (n − k − 1)), k covariates; 52 customers in each arm for one covariate, 56 for five. Its quantile is the
  normal's, which with fewer is too small: 12:12 with one covariate 6.6 % false positives, 20:20 with five 6.3 %,
  180:20 with five 7.7 %. At the bound it is 5.3 to 5.4 %, with 1 to 15 covariates, at equal arms and at one to
  nine, and 5.3 to 5.6 % where one arm's residuals vary four times as much. With fewer the unadjusted numbers
  decide. Estimated from each arm's own residuals the degrees of freedom would select: of 450:50 with one covariate
  37 % had 60 or more, of which 7.6 % were false positives.

All but the first are made of pooled numbers and arm sizes, which hardly move with the difference: trusting does
not select. Where it does a little is raw revenue at equal arms with an effect on amounts: quiet samples are
trusted more often, and sides of up to 3.5 % were seen among the few that are.

## The rule for a cap

`cap: auto` follows from the customers assigned, not from outcomes. Numbers that are either 0 or the cap have
skewness 1 / √(share above); revenue was found to have at most 0.7 of it (log-sd up to 2.5, 1 to 30 % buyers). So
the share above is (0.7 × factor of the arms' sizes / 0.3)²: 4 held-out customers at nine to one. At least 12
customers in all, and never more than 1 %.

While no more customers are above zero than stand above the quantile, or the quantile itself is not above zero, there
is no cap: the metric is measured without one, and waits to be trusted until more have bought.

## What falls short

- Raw revenue in a small holdout: trusted nearly nowhere, and no correction tried mends it. Cap it.
- Conversion at 2,000 : 18,000: Welch calls 3.4 % false increases, so the corrected interval is shown instead.
- A treatment that changes the shape of amounts beyond recognition: with log-sd 0.5 in the control and 1.5 in
  the treated arm, capped by the rule, the interval held the truth 95.7 % of the time and missed on sides of 1.0
  and 3.3 %; the other way round 94.6 %, 2.9 and 2.5 %. Three times as many buyers: 95.0 %, 3.0 and 2.0 %.
- Customers are independent here. Real ones share days and sales, which no interval of this kind knows of.

{peeking}
"""


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS)

"""Normal, t, chi-squared, binomial: probabilities and quantiles, without a numerical library to load.

`import scipy.special` alone takes longer than a whole small measurement. These few functions are compared with
scipy's, to twelve digits, in the tests.
"""

from __future__ import annotations

import math
from statistics import NormalDist

__all__ = ["binomial_p", "chi2_sf", "ndtr", "ndtri", "t_quantile", "t_sf", "t_upper"]

_NORMAL = NormalDist()
_TINY = 1e-300
_EPS = 1e-16
LARGE_DF = 1e5
"""Above this, t is so close to the normal that an expansion in 1/df holds to all digits that matter."""


FAR_OUT = 10.0
"""Beyond it the expansion no longer holds, and the continued fraction needs few steps."""


def ndtr(z: float) -> float:
    """Return P(Z ≤ z) of the standard normal."""
    return 0.5 * math.erfc(-z / math.sqrt(2))


def ndtri(p: float) -> float:
    """Return the standard normal's quantile of `p`, 0 < p < 1.

    Wichura's AS241 (1988), with one step of Halley's method in the tails.
    """
    if not 0 < p < 1:
        raise ValueError(f"{p} is no probability between 0 and 1")
    z = _NORMAL.inv_cdf(p)
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    if density > 0:
        off = (ndtr(z) - p) / density if p < 0.5 else ((1 - p) - ndtr(-z)) / density
        z -= off / (1 + z * off / 2)
    return z


def t_sf(t: float, df: float) -> float:
    """Return P(T > t) of Student's t with `df` degrees of freedom (any positive number).

    The regularised incomplete beta function (Abramowitz & Stegun 1964, 26.7.1); above LARGE_DF the expansion
    of the equivalent normal deviate (26.7.8 there, inverted).
    """
    if t < 0:
        return 1 - t_sf(-t, df)
    if math.isinf(df):
        return ndtr(-t)
    if df > LARGE_DF and t < FAR_OUT:
        return ndtr(-_as_normal(t, df))
    return 0.5 * _beta_inc(df / 2, 0.5, df / (df + t * t), t * t / (df + t * t))


def t_quantile(p: float, df: float) -> float:
    """Return the quantile of `p` of Student's t with `df` degrees of freedom; Newton's method on t_sf."""
    if p < 0.5:
        return -t_quantile(1 - p, df)
    return t_upper(1 - p, df)


def t_upper(tail: float, df: float) -> float:
    """Return the t above which `tail` (at most 0.5) of the distribution lies."""
    if tail == 0.5:
        return 0.0
    z = -ndtri(tail)
    if math.isinf(df):
        return z
    # Cornish and Fisher's expansion (1937; Abramowitz & Stegun 1964, 26.7.5); for few degrees of freedom it is too
    # small, never wild, and only a start
    t = z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
    if 8 * (z * z + 1) < df:
        third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * df**3)
        fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * df**4)
        t += third + fourth
        if abs(fourth) * (z * z + 5) <= 1e-15 * t * df:
            return t
    for _ in range(60):
        log_density = (
            _log_gamma_step(df) - 0.5 * math.log(math.pi * df) - (df + 1) / 2 * math.log1p(t * t / df)
        )
        here = t_sf(t, df)
        if here <= 0:
            t /= 2
            continue
        # on the logarithm of the tail, where the function is nearly straight
        step = math.log(here / tail) * here / math.exp(log_density)
        t += max(min(step, 2 * t + 1), -t / 2)
        if abs(step) <= 1e-13 * max(t, 1.0):
            break
    return t


def chi2_sf(df: float, x: float) -> float:
    """Return P(X > x) of the chi-squared distribution with `df` degrees of freedom.

    The regularised upper incomplete gamma function: its series, or Lentz's continued fraction (Press et al.
    2007, section 6.2).
    """
    if x <= 0:
        return 1.0
    a, y = df / 2, x / 2
    front = math.exp(a * math.log(y) - y - math.lgamma(a))
    if y < a + 1:
        term = total = 1 / a
        at = a
        while term > total * _EPS:
            at += 1
            term *= y / at
            total += term
        return 1 - total * front
    b = y + 1 - a
    c, d = 1 / _TINY, 1 / b
    h = d
    for i in range(1, 100_000):
        an = -i * (i - a)
        b += 2
        d = 1 / (an * d + b or _TINY)
        c = b + an / c or _TINY
        h *= c * d
        if abs(c * d - 1) < _EPS * 4:
            break
    return front * h


def binomial_p(count: int, of: int, share: float) -> float:
    """Return the exact two-sided p-value of `count` among `of`, each of whom counts with probability `share`.

    0 < share < 1. The probability of all counts no likelier than this one (Gibbons & Pratt 1975, “P-values:
    interpretation and methodology”: minimum likelihood), which are looked for from the likeliest one outwards.
    """

    def chance(at: int) -> float:
        ways = math.lgamma(of + 1) - math.lgamma(at + 1) - math.lgamma(of - at + 1)
        return math.exp(ways + at * math.log(share) + (of - at) * math.log1p(-share))

    seen = chance(count) * (1 + 1e-7)  # as likely, but for rounding
    likeliest = min(int((of + 1) * share), of)
    total = 0.0
    for side in (range(likeliest, -1, -1), range(likeliest + 1, of + 1)):
        for at in side:
            here = chance(at)
            if here <= seen:
                total += here
                if here <= total * _EPS:
                    break
    return min(total, 1.0)


def _as_normal(t: float, df: float) -> float:
    """Return the normal deviate with the tail of `t`: the Cornish-Fisher expansion in 1/df, inverted."""
    return (
        t
        - (t**3 + t) / (4 * df)
        + (13 * t**5 + 8 * t**3 + 3 * t) / (96 * df**2)
        - (35 * t**7 + 19 * t**5 + t**3 - 15 * t) / (384 * df**3)
    )


def _log_gamma_step(df: float) -> float:
    """Return log Γ((df + 1) / 2) − log Γ(df / 2), without cancellation for many degrees of freedom."""
    if df < 200:
        return math.lgamma((df + 1) / 2) - math.lgamma(df / 2)
    return 0.5 * math.log(df / 2) - 1 / (4 * df) + 1 / (24 * df**3) - 1 / (20 * df**5)


def _beta_inc(a: float, b: float, x: float, rest: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b); `rest` is 1 − x, given for its digits.

    Here b = 1/2, so that 1 / B(a, b) follows from the ratio of gammas half a step apart.
    """
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    log_beta = 0.5 * math.log(math.pi) - _log_gamma_step(2 * a)
    front = math.exp(a * (math.log1p(-rest) if rest < 0.5 else math.log(x)) + b * math.log(rest) - log_beta)
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, x) / a
    return 1 - front * _beta_fraction(b, a, rest) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of the incomplete beta function (Press et al. 2007, section 6.4)."""
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or _TINY)
    h = d
    for m in range(1, 200_000):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + numerator * d or _TINY)
            c = 1 + numerator / c or _TINY
            h *= c * d
        if abs(c * d - 1) < _EPS * 4:
            break
    return h

"""Regenerates every fitted or derived constant of `fixed.py`, `policy.py` and `screen_window.py` in `channels/risk`.

`python tools/fit_constants.py` prints the constants as source, with the fit's own error bound beside each group;
`--check` compares them with what is in the tree and exits 1 on the first difference. Deterministic: fifty decimal
digits of mpmath, a fixed grid, a fixed number of iterations.

The fits are minimax rational approximations by Lawson's iteration: a weighted linear least-squares fit of
p(x) - f(x) q(x) whose weights are multiplied by the last error until the error is level (C. L. Lawson 1961; for the
rational form see Y. Nakatsukasa, O. Sete, L. N. Trefethen, "The AAA algorithm", SIAM J. Sci. Comput. 40 (2018)).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mpmath import atanh, cos, erfc, exp, log, lu_solve, matrix, mp, mpf, nint, nstr, pi, polyval, sqrt, tanh

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from channels.risk import fixed, policy, screen_window

mp.dps = 50
LEVEL_AFTER = 4
"""Iterations with level weights first, so that the denominator settles before the weights move."""


@dataclass(frozen=True)
class Fit:
    """p(x) / q(x) with q(0) = 1, coefficients from the constant up, and the largest weighted error on a fine grid."""

    p: list[mpf]
    q: list[mpf]
    error: mpf

    def at(self, x: mpf) -> mpf:
        return polyval(self.p[::-1], x) / polyval(self.q[::-1], x)


def lawson(
    f: Callable[[mpf], mpf], weight: Callable[[mpf], mpf], high: mpf, degrees: tuple[int, int], nodes: int, rounds: int
) -> Fit:
    """Return the rational of `degrees` with the least greatest |weight · (f - p/q)| on [0, high]."""
    n, m = degrees
    size = n + m + 1
    xs = [high / 2 * (1 - cos(pi * (i + mpf(1) / 2) / nodes)) for i in range(nodes)]
    values, weights = [f(x) for x in xs], [weight(x) for x in xs]
    powers = [[(x / high) ** j for j in range(max(n, m) + 1)] for x in xs]
    rows = [powers[i][: n + 1] + [-values[i] * powers[i][j] for j in range(1, m + 1)] for i in range(nodes)]
    level, last_q = [mpf(1) / nodes] * nodes, [mpf(1)] * nodes
    best: tuple[mpf, list[mpf], list[mpf]] | None = None
    for turn in range(rounds):
        a, b = matrix(size, size), matrix(size, 1)
        for i, row in enumerate(rows):
            scale = level[i] * (weights[i] / last_q[i]) ** 2
            for r in range(size):
                b[r] += scale * row[r] * values[i]
                for s in range(r, size):
                    a[r, s] += scale * row[r] * row[s]
        for r in range(size):
            for s in range(r):
                a[r, s] = a[s, r]
        found = list(lu_solve(a, b))
        p, q = found[: n + 1], [mpf(1), *found[n + 1 :]]
        last_q = [sum(c * v for c, v in zip(q, power, strict=False)) for power in powers]
        errors = [
            weights[i] * abs(values[i] - sum(c * v for c, v in zip(p, powers[i], strict=False)) / last_q[i])
            for i in range(nodes)
        ]
        if best is None or max(errors) < best[0]:
            best = (max(errors), p, q)
        if turn >= LEVEL_AFTER:
            level = [old * error for old, error in zip(level, errors, strict=True)]
            total = sum(level)
            level = [value / total for value in level]
    assert best is not None
    fit = Fit(*([c / high**j for j, c in enumerate(side)] for side in best[1:]), error=mpf(0))
    fine = [high * i / 4000 for i in range(4001)]
    return Fit(fit.p, fit.q, max(weight(x) * abs(f(x) - fit.at(x)) for x in fine))


def fit_ln() -> Fit:
    """2 atanh(t)/t in u = t², |t| <= 3 - 2 sqrt 2; the weight t makes the error that of the logarithm, absolute."""
    return lawson(
        lambda u: 2 * atanh(sqrt(u)) / sqrt(u) if u else mpf(2),
        lambda u: sqrt(u) + mpf(10) ** -6,
        (3 - 2 * sqrt(mpf(2))) ** 2,
        (4, 4),
        100,
        25,
    )


def fit_exp() -> Fit:
    """tanh(y/2)/y in v = y², |y| <= ln 2 / 2; the weight 2y makes the error that of exp(-y), relative."""
    return lawson(
        lambda v: tanh(sqrt(v) / 2) / sqrt(v) if v else mpf(1) / 2,
        lambda v: 2 * sqrt(v) + mpf(10) ** -6,
        (log(mpf(2)) / 2) ** 2,
        (2, 2),
        100,
        25,
    )


def fit_tail() -> Fit:
    """exp(z²/2) N(-z) on [0, 10]; the weight exp(-z²/2) makes the error that of N(-z), absolute."""
    return lawson(
        lambda z: exp(z * z / 2) * erfc(z / sqrt(mpf(2))) / 2, lambda z: exp(-z * z / 2), mpf(10), (7, 8), 160, 25
    )


def fit_coarse_tail() -> Fit:
    """The same on [0, 7.5] with a third of the coefficients, for floats."""
    return lawson(
        lambda z: exp(z * z / 2) * erfc(z / sqrt(mpf(2))) / 2, lambda z: exp(-z * z / 2), mpf("7.5"), (2, 3), 160, 60
    )


def quantised(name: str, coefficients: list[mpf], scales: list[int], gain: int = 0) -> Iterator[tuple[str, int]]:
    """Name and round the coefficients, highest degree first; coefficient j is scaled by 2^(scales[j] + gain)."""
    for j in reversed(range(len(coefficients))):
        yield f"{name}{j}", int(nint(coefficients[j] * mpf(2) ** (scales[j] + gain)))


def groups() -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """Yield (heading with the error bound, constants) for each group of `fixed.py`."""
    yield (
        "derived",
        [
            ("SQRT2_Q127", int(nint(sqrt(mpf(2)) * mpf(2) ** 127))),
            ("LN2_Q120", int(nint(log(mpf(2)) * mpf(2) ** 120))),
            ("LN2_Q72", int(nint(log(mpf(2)) * mpf(2) ** 72))),
            ("INV_LN2_Q72", int(nint(mpf(2) ** 72 / log(mpf(2))))),
            ("INV_SQRT_2PI_Q120", int(nint(mpf(2) ** 120 / sqrt(2 * pi)))),
        ],
    )
    ln = fit_ln()
    yield (
        f"ln: absolute error {nstr(ln.error, 3)}",
        [*quantised("LN_P", ln.p, [120] * 5), *quantised("LN_Q", ln.q, [120] * 5)],
    )
    ex = fit_exp()
    yield (
        f"exp: relative error {nstr(ex.error, 3)}",
        [*quantised("EXP_P", ex.p, [216, 144, 72]), *quantised("EXP_Q", ex.q, [216, 144, 72])],
    )
    tail = fit_tail()
    alternating = [216, 144] * 4
    yield (
        f"tail: absolute error of N {nstr(tail.error, 3)}",
        [
            *quantised("TAIL_P", tail.p, alternating, fixed.TAIL_GAIN),
            *quantised("TAIL_Q", tail.q, [*alternating, 72], fixed.TAIL_GAIN),
        ],
    )


def coarse() -> Iterator[tuple[str, tuple[float, ...], tuple[float, ...]]]:
    """Yield (heading, twelve digits of the fit, what the tree has) for each side of the coarse tail, highest first."""
    fit = fit_coarse_tail()
    for name, side, held in (("P", fit.p, screen_window.COARSE_P), ("Q", fit.q, screen_window.COARSE_Q)):
        heading = f"coarse tail, {name}: absolute error of N {nstr(fit.error, 3)}"
        yield heading, tuple(float(nstr(c, 12)) for c in reversed(side)), held


def bumps() -> list[tuple[int, int, int]]:
    """Return (tenor, up, down) of the default volatility bumps: 0.5 and 0.3 · (30 d / tenor)^p, to six decimals."""
    rows = []
    for days in (1, 2, 4, 7, 14, 30, 60, 90, 180, 365, 730):
        scale = (mpf(30) / days) ** (mpf("0.3") if days <= 30 else mpf("0.13"))
        up, down = (int(nint(mpf(c) * scale * 10**6)) * 10**12 for c in ("0.5", "0.3"))
        rows.append((days * 86_400, up, down))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare with the tree instead of printing")
    check = parser.parse_args().check
    wrong = 0
    for heading, constants in groups():
        print(f"# {heading}")
        for name, value in constants:
            if not check:
                print(f"{name} = {value:_}" if value < 10**9 else f"{name} = {value}")
            elif getattr(fixed, name, None) != value:
                print(f"{name}: the tree has {getattr(fixed, name, None)}, the fit gives {value}")
                wrong += 1
    for heading, row, held in coarse():
        print(f"# {heading}")
        if not check:
            print(row)
        elif row != held:
            print(f"coarse tail: the tree has {held}, the fit gives {row}")
            wrong += 1
    print("# default volatility bumps")
    for bump, marked in zip(bumps(), policy.DEFAULT_BUMPS, strict=True):
        if not check:
            print(bump)
        elif bump != (marked.tenor, marked.up, marked.down):
            print(f"bump: the tree has {marked}, the formula gives {bump}")
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Tests that may be repeated as seeds are added: error spending, boundaries and sequential p values.

A comparison is looked at with 6, 9, 12 ... seeds. The probability of an error at any look stays at most alpha if each
look uses only its part of alpha: Lan and DeMets 1983. The part that test images cause is the same at all looks, so the
differences behave like Brownian motion at the times 1 / (1 / seeds + ratio), where ratio is the variance due to images
over that between seeds. docs/statistics.md explains the rule and checks it by simulation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, exp, log, sqrt

import numpy as np
from scipy import optimize, special

from lenetlab.settings import study_schema

SCALE = 15.0  # seeds; 1 - 1/e of the error is spent by then
LARGEST_RATIO = 10.0  # levels hardly change beyond, and stay a little too strict
SMALLEST = 1e-12  # p value and level; below, the tail of the recursion is not exact
TAIL = 6.0  # standard deviations below which no path is followed in a one-sided test

Nodes = tuple[np.ndarray, np.ndarray]  # where paths are that crossed no boundary yet, and their probabilities


def spent(seeds: float) -> float:
    """The share of alpha that is spent once there are this many seeds of each side."""
    return 1 - exp(-seeds / SCALE)


def information_times(looks: Sequence[int], ratio: float) -> list[float]:
    """The time of each look, up to a common factor."""
    return [1 / (1 / seeds + min(ratio, LARGEST_RATIO)) for seeds in looks]


def crossing_probabilities(times: Sequence[float], bounds: Sequence[float], sides: int = 2) -> list[float]:
    """Probability that the standardised path has crossed a bound by each look: Armitage, McPherson and Rowe 1969."""
    nodes, before, total, crossed = _START, 0.0, 0.0, []
    for time, bound in zip(times, bounds, strict=True):
        step, limit = sqrt(time - before), bound * sqrt(time)
        total += _crossing(nodes, step, limit, sides)
        crossed.append(total)
        nodes, before = _advance(nodes, step, limit, sides, time), time
    return crossed


def boundaries(times: Sequence[float], errors: Sequence[float], sides: int = 2) -> list[float]:
    """Bounds of the standardised path, so that `errors` are the probabilities of a crossing by each look."""
    nodes, before, so_far, bounds = _START, 0.0, 0.0, list[float]()
    for time, error in zip(times, errors, strict=True):
        step, root = sqrt(time - before), sqrt(time)

        def excess(bound: float, wanted: float = error - so_far, nodes: Nodes = nodes, step: float = step) -> float:
            return _crossing(nodes, step, bound * root, sides) / wanted - 1  # noqa: B023  called in this turn only

        low = 0.0 if sides == 2 else -TAIL
        bounds.append(float(optimize.brentq(excess, low, 10.0, xtol=1e-10)) if excess(low) > 0 else low)
        nodes, before = _advance(nodes, step, bounds[-1] * root, sides, time), time
        so_far = error
    return bounds


@dataclass(frozen=True)
class Plan:
    """The numbers of seeds of each side at which a comparison is looked at."""

    looks: tuple[int, ...]
    fixed: bool = False  # one look, decided beforehand, which has all of alpha

    @staticmethod
    def of(seeds: int, most: int) -> "Plan":
        """The looks that this number of seeds allows; `most` is that of params.yaml, where 0 means a fixed number."""
        if most:
            return Plan(tuple(look for look in study_schema.LOOKS if look <= seeds))
        return Plan((seeds,) if seeds > 1 else (), fixed=True)

    def spent(self, look: int) -> float:
        """The share of alpha that is spent by a look."""
        return 1.0 if self.fixed else spent(look)

    def levels(self, ratio: float, alpha: float, sides: int = 2) -> list[float]:
        """The level of an ordinary p value at each look, so that the error at any look is at most alpha."""
        errors = [alpha * self.spent(look) for look in self.looks]
        bounds = boundaries(information_times(self.looks, ratio), errors, sides)
        return [sides * float(special.ndtr(-bound)) for bound in bounds]

    def sequential_p(self, ratios: Sequence[float], p_values: Sequence[float], sides: int = 2) -> list[float]:
        """After each look, the smallest alpha at which one of the looks so far finds a difference: Liu & Anderson 2008.

        `ratios` and `p_values` are those of each look.
        """
        smallest, found = 1.0, []
        for number, (ratio, p_value) in enumerate(zip(ratios, p_values, strict=True), start=1):
            so_far, p = replace(self, looks=self.looks[:number]), max(p_value, SMALLEST)
            if p < _last_level(so_far, ratio, smallest, sides):
                smallest = _alpha_of(so_far, ratio, p, smallest, sides)
            found.append(smallest)
        return found


def _alpha_of(plan: Plan, ratio: float, p: float, highest: float, sides: int) -> float:
    """The alpha at which the level of the last look is p; it is below `highest`."""

    def excess(log_alpha: float) -> float:
        return log(_last_level(plan, ratio, exp(log_alpha), sides) / p)

    low = log(p)  # no level is higher than its alpha
    return exp(optimize.brentq(excess, low, log(highest), xtol=1e-9)) if excess(low) < 0 else p


@lru_cache(maxsize=10_000)
def _last_level(plan: Plan, ratio: float, alpha: float, sides: int) -> float:
    return plan.levels(ratio, alpha, sides)[-1]


_START: Nodes = (np.zeros(1), np.ones(1))


def _crossing(nodes: Nodes, step: float, limit: float, sides: int) -> float:
    """Probability that a path crosses the limit in one more step."""
    places, mass = nodes
    above = mass @ special.ndtr((places - limit) / step)
    return float(above + (mass @ special.ndtr((-limit - places) / step) if sides == 2 else 0.0))


def _advance(nodes: Nodes, step: float, limit: float, sides: int, time: float) -> Nodes:
    """The paths that cross no limit in one more step, by Gauss-Legendre quadrature."""
    low = -limit if sides == 2 else min(-TAIL * sqrt(time), limit)
    width = limit - low
    points, weights = _quadrature(64 * 2 ** max(0, ceil(np.log2(width / step / 60))) if width else 64)
    targets = low + width * (points + 1) / 2
    places, mass = nodes
    density = np.exp(-(((targets[:, None] - places) / step) ** 2) / 2) @ mass / (step * sqrt(2 * np.pi))
    return targets, density * weights * width / 2


@lru_cache(maxsize=16)
def _quadrature(count: int) -> Nodes:
    return np.polynomial.legendre.leggauss(count)

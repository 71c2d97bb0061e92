"""How often the rule of `comparison.judge` errs, where the truth is known: studies drawn from made-up populations.

`make bench-simulation` draws them, records what was found and writes its tables in docs/statistics.md. A study draws
trainings and test images anew, and `comparison.compare` judges it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib.metadata import version
from itertools import combinations, islice, pairwise
from math import comb
from pathlib import Path
from typing import Any
from unittest import mock

import click
import numpy as np
from scipy import optimize, special, stats

from benchmarks import ours, run, write
from lenetlab.evaluation import predictions
from lenetlab.evaluation.predictions import Predictions
from lenetlab.settings import params, schema
from lenetlab.statistics import comparison, difference, intervals, power, significance
from lenetlab.storage import files
from lenetlab.training import devices, parallel

ROOT = Path(__file__).parents[1]
RECORD = Path(__file__).with_suffix(".json")
DOCUMENT = ROOT / "docs" / "statistics.md"
IMAGES = 10_000
MARGIN = 0.002  # of equivalence, as params.yaml has it
DIVISIONS = 5_000  # of seeds that the permutation test counts or else draws: a million take seconds a study
CALIBRATION_SEEDS = 300  # so that deviations between trainings are known to a few per cent

# LeNet-5 with six seeds (docs/study): accuracy, what deviates between trainings on endlessly many images, and by how
# much the answers of trainings at the same image vary. How many images none, one ... six seeds read then agrees too.
ACCURACY, DEVIATION, WITHIN = 0.989, 0.0005, 0.0063
# Deviation of a difference that is due to the images: none at all; LeNet-5 regularised and not; LeNet-5 and the MLP.
EFFECTS = {"none": 0.0, "moderate": 0.0003, "large": 0.0009}

# What would take most of the time, and has no part in a verdict.
QUICK: dict[Any, dict[str, Any]] = {
    power: {"seeds_needed": lambda *_, **__: None},
    significance: {"EXACT": DIVISIONS, "superiority": lambda *_: (0.5, None), "mcnemar": lambda *_: []},
}

Generator = np.random.Generator
Pair = tuple[Predictions, Predictions]
Row = dict[str, Any]


@dataclass(frozen=True)
class Population:
    """Systems with the accuracies that they have on endlessly many images, over endlessly many trainings.

    A training reads an image if skill + seed + difficulty + system + noise > 0. All but the skill are normal, of mean 0
    and with variances that add up to 1: of a training, of an image for every system, of an image for this system, of a
    training at an image. So the accuracy is the normal distribution function at the skill, and exactly known.
    """

    accuracies: tuple[float, ...]
    seed: float
    difficulty: float
    system: float

    def both_wrong(self, first: int, second: int, shared: float) -> float:
        """Probability that two answers are wrong which share this part of the variance; Owen 1956."""
        one, other = stats.norm.ppf([1 - self.accuracies[first], 1 - self.accuracies[second]])
        rest = np.sqrt(1 - shared**2)
        parts = special.owens_t([one, other], [(other / one - shared) / rest, (one / other - shared) / rest])
        return float((2 - self.accuracies[first] - self.accuracies[second]) / 2 - sum(parts))

    def deviation(self, system: int) -> float:
        """Of accuracy between trainings, on endlessly many images."""
        return float(np.sqrt(self.both_wrong(system, system, self.seed) - (1 - self.accuracies[system]) ** 2))

    def within(self, system: int) -> float:
        """Mean over images of the variance between trainings."""
        return 1 - self.accuracies[system] - self.both_wrong(system, system, self.difficulty + self.system)

    def spread(self, candidate: int, baseline: int) -> difference.VarianceComponents:
        """What `comparison.spread_of` estimates."""
        sides = (candidate, baseline)
        seeds = [(self.within(side) + (IMAGES - 1) * self.deviation(side) ** 2) / IMAGES for side in sides]
        alone = sum(self.both_wrong(side, side, self.difficulty + self.system) for side in sides)
        together = self.both_wrong(candidate, baseline, self.difficulty)
        images = alone - 2 * together - (self.accuracies[candidate] - self.accuracies[baseline]) ** 2
        return difference.VarianceComponents((seeds[0], seeds[1]), max(0.0, images) / IMAGES)

    def draw(self, generator: Generator, seeds: int) -> list[Predictions]:
        """So many trainings of each system, all on the same new images."""

        def normal(variance: float, *shape: int) -> np.ndarray:
            return np.float32(np.sqrt(variance)) * generator.standard_normal(shape, dtype=np.float32)

        difficulty, sides = normal(self.difficulty, IMAGES), []
        for skill in stats.norm.ppf(self.accuracies):
            expected = np.float32(skill) + difficulty + normal(self.system, IMAGES)
            noise = normal(1 - self.seed - self.difficulty - self.system, seeds, IMAGES)
            wrong = (expected + normal(self.seed, seeds, 1) + noise <= 0).astype(np.uint8)
            sure = np.broadcast_to(np.float32(1), wrong.shape)  # no test asks for it
            sides.append(Predictions(np.arange(seeds), np.zeros(IMAGES, np.uint8), wrong, sure))
        return sides


def calibrated(accuracies: tuple[float, ...], effect: float) -> Population:
    """Systems that vary as LeNet-5 does, and whose differences vary with the images by `effect`, if they are equal."""

    def typical(seed: float, difficulty: float, system: float) -> Population:
        return Population((ACCURACY,), seed, difficulty, system)

    def beyond(part: float) -> float:
        """More variance due to images than wanted, with this part for every system."""
        together = typical(seed, part, 0.0).both_wrong(0, 0, part)
        return 2 * (1 - ACCURACY - WITHIN - together) / IMAGES - effect**2

    seed = optimize.brentq(lambda part: typical(part, 0.0, 0.0).deviation(0) - DEVIATION, 1e-6, 0.5)
    image = optimize.brentq(lambda part: typical(seed, part, 0.0).within(0) - WITHIN, 0.0, 1 - seed)
    difficulty = optimize.brentq(beyond, 0.0, image) if effect else image
    return Population(accuracies, seed, difficulty, image - difficulty)


@dataclass(frozen=True)
class Scenario:
    """Studies of one kind: each has as many comparisons as there are differences in truth, all in one family."""

    group: str  # equal, different, family, split or resampled
    name: str
    seeds: int  # of each side
    truths: tuple[float, ...]
    studies: Callable[[Generator], Iterator[list[Pair]]]  # without end, or all that there are
    spread: difference.VarianceComponents | None = None  # of a comparison, where it is known


@dataclass(frozen=True)
class Finding:
    """What a study of one family says; p values are Holm's, which changes nothing where the family is one comparison.

    Verdicts and tests: of any comparison; intervals: of all.
    """

    better: bool
    worse: bool
    equivalent: bool
    inconclusive: bool
    told_apart: bool  # better or worse
    welch: bool
    permutation: bool
    within_margin: bool  # the 90 % interval, of all; the verdict may still be better or worse
    interval: bool  # over seeds and images, holds the truth
    interval_seeds: bool


def finding(pairs: Sequence[Pair], truths: Sequence[float]) -> Finding:
    study, names = declared(len(pairs))
    outcomes = comparison.compare(study, dict(zip(names, (side for pair in pairs for side in pair), strict=True)), {})
    verdicts = {outcome.verdict for outcome in outcomes}
    return Finding(
        **{verdict: verdict in verdicts for verdict in ("better", "worse", "equivalent", "inconclusive")},
        told_apart=bool(verdicts & {"better", "worse"}),
        welch=min(outcome.p_welch_holm for outcome in outcomes) < intervals.LEVEL,
        permutation=min(outcome.p_permutation_holm for outcome in outcomes) < intervals.LEVEL,
        within_margin=all(max(map(abs, outcome.interval_equivalence)) < MARGIN for outcome in outcomes),
        interval=_hold([outcome.interval for outcome in outcomes], truths),
        interval_seeds=_hold([outcome.interval_seeds for outcome in outcomes], truths),
    )


@cache
def declared(comparisons: int) -> tuple[schema.Study, list[str]]:
    """A study with one family of so many comparisons, and the names of their sides, pair by pair."""
    names = [f"{side}-{number}" for number in range(comparisons) for side in ("candidate", "baseline")]
    pairs = zip(names[::2], names[1::2], strict=True)
    family = tuple(schema.DeclaredComparison(candidate=candidate, baseline=baseline) for candidate, baseline in pairs)
    common = params.load(ours.PARAMETERS)
    changes = {"study": tuple(names), "variants": dict.fromkeys(names, common.variants["lenet5"])}
    changes |= {"comparisons": {"simulated": family}, "equivalence_margin": MARGIN}
    return common.model_copy(update=changes), names


def _hold(intervals: Sequence[intervals.Interval], truths: Sequence[float]) -> bool:
    return all(found and found[0] <= truth <= found[1] for found, truth in zip(intervals, truths, strict=True))


def simulated(scenario: Scenario, studies: int, seed: Sequence[int]) -> Row:
    """So many studies, or as many as there are: for each part of a finding in what share of them it is so."""
    drawn = islice(scenario.studies(np.random.default_rng(seed)), studies)
    with ExitStack() as patches:
        for module, names in QUICK.items():
            patches.enter_context(mock.patch.multiple(module, **names))
        findings = [finding(pairs, scenario.truths) for pairs in drawn]
    row = {key: getattr(scenario, key) for key in ("group", "name", "seeds", "truths")} | {"studies": len(findings)}
    row |= {key: share([getattr(found, key) for found in findings]) for key in Finding.__dataclass_fields__}
    if scenario.spread:
        truth, setting = scenario.truths[0], (scenario.spread, scenario.seeds, IMAGES)
        row["power"] = power.power_of_difference(truth, *setting, len(scenario.truths))
        row["power_of_equivalence"] = power.power_of_equivalence(truth, MARGIN, *setting)
    return row


def share(outcomes: Sequence[bool]) -> dict[str, float]:
    """With Wilson's 95 % interval."""
    limits = stats.binomtest(sum(outcomes), len(outcomes)).proportion_ci(0.95, method="wilson")
    return {"share": float(np.mean(outcomes)), "low": float(limits.low), "high": float(limits.high)}


# Scenarios.


def of_population(group: str, name: str, population: Population, seeds: int) -> Scenario:
    """Every other system against the last."""
    last = len(population.accuracies) - 1
    truths = tuple(accuracy - population.accuracies[last] for accuracy in population.accuracies[:last])

    def studies(generator: Generator) -> Iterator[list[Pair]]:
        while True:
            *candidates, baseline = population.draw(generator, seeds)
            yield [(candidate, baseline) for candidate in candidates]

    return Scenario(group, name, seeds, truths, studies, population.spread(0, last))


def split(name: str, real: Predictions) -> Scenario:
    """The seeds of one variant in two halves: every way if they are few, else at random."""
    count = len(real.seeds)
    half = count // 2

    def halves(order: Sequence[int]) -> list[Pair]:
        return [(_chosen(real, order[:half]), _chosen(real, order[half : 2 * half]))]

    def studies(generator: Generator) -> Iterator[list[Pair]]:
        if comb(count, half) <= DIVISIONS and count == 2 * half:
            for others in combinations(range(1, count), half - 1):  # with seed 0, so that no two are mirrored
                chosen = (0, *others)
                yield halves([*chosen, *(place for place in range(count) if place not in chosen)])
        else:
            while True:
                yield halves(generator.permutation(count).tolist())

    return Scenario("split", name, half, (0.0,), studies)


def resampled(name: str, candidate: Predictions, baseline: Predictions, seeds: int) -> Scenario:
    """Seeds and images of real variants drawn with replacement.

    Images are weighted so that both are equal: an exponential tilt, which is no weight at all for a variant and itself.
    """
    gain = candidate.correct.mean(axis=0) - baseline.correct.mean(axis=0)

    def weights(tilt: float) -> np.ndarray:
        tilted = np.exp(tilt * gain)
        return tilted / tilted.sum()

    chances = weights(optimize.brentq(lambda tilt: weights(tilt) @ gain, -20.0, 20.0) if gain.any() else 0.0)

    def studies(generator: Generator) -> Iterator[list[Pair]]:
        while True:
            images = generator.choice(len(gain), len(gain), p=chances)
            chosen = [generator.choice(len(side.seeds), seeds) for side in (candidate, baseline)]
            yield [(_chosen(candidate, chosen[0], images), _chosen(baseline, chosen[1], images))]

    return Scenario("resampled", name, seeds, (0.0,), studies)


def _chosen(side: Predictions, seeds: Sequence[int], images: np.ndarray | None = None) -> Predictions:
    rows = np.array(seeds)
    columns = np.arange(len(side.labels)) if images is None else images
    answers = (values[rows[:, None], columns] for values in (side.predicted, side.probability))
    return Predictions(side.seeds[rows], side.labels[columns], *answers)


def scenarios(real: dict[str, Predictions]) -> list[Scenario]:
    made = []
    for name, effect in EFFECTS.items():
        equal = calibrated((ACCURACY, ACCURACY), effect)
        made += [of_population("equal", name, equal, seeds) for seeds in (5, 6, 10, 20)]
    for name in ("moderate", "large"):
        for truth in (0.001, 0.002, 0.003, 0.005):
            different = calibrated((ACCURACY + truth, ACCURACY), EFFECTS[name])
            made += [of_population("different", name, different, seeds) for seeds in (6, 10)]
    for name, effect in EFFECTS.items():
        made += [of_population("family", name, calibrated((ACCURACY,) * 4, effect), seeds) for seeds in (6, 10)]
    made += [split(name, side) for name, side in real.items()]
    made += [resampled(name, side, side, 6) for name, side in real.items()]
    made += [resampled(f"{one}, {other}", real[one], real[other], 6) for one, other in pairwise(real)]
    return made


def evaluations(folder: Path) -> dict[str, Predictions]:
    """By name, the variants of the study that were evaluated in that folder, with six seeds or more."""
    paths = {name: folder / name / "predictions.npz" for name in params.load(ours.PARAMETERS).study}
    found = {name: predictions.read(path) for name, path in paths.items() if path.exists()}
    return {name: side for name, side in found.items() if len(side.seeds) >= 6}


# Calibration.


def calibration(real: dict[str, Predictions], seed: int) -> list[Row]:
    """How accuracy varies, and a difference with the images: of real variants, and of populations."""
    rows = [{"name": name, **_of_system(side)} for name, side in real.items()]
    rows += [{"name": f"{one}, {other}", **_of_images(real[one], real[other])} for one, other in pairwise(real)]
    for name, effect in EFFECTS.items():
        population = calibrated((ACCURACY, ACCURACY), effect)
        spread = population.spread(0, 1)
        exact = {"deviation": float(np.sqrt(spread.seeds[0])), "images": float(np.sqrt(spread.images))}
        exact |= {"accuracy": ACCURACY, "training_deviation": population.deviation(0)}
        drawn = population.draw(np.random.default_rng(seed), CALIBRATION_SEEDS)
        rows.append({"name": f"{name} effect of images, exactly", **exact})
        found = {**_of_system(drawn[0]), **_of_images(*drawn)}
        rows.append({"name": f"the same, {CALIBRATION_SEEDS} seeds drawn on {IMAGES:,} images", **found})
    return rows


def _of_system(side: Predictions) -> Row:
    accuracies, freed = side.accuracy, difference.training_deviation(side)
    return {
        "accuracy": float(accuracies.mean()),
        "deviation": float(accuracies.std(ddof=1)),
        "training_deviation": freed,
    }


def _of_images(first: Predictions, second: Predictions) -> Row:
    spread = difference.variance_components(first, second)
    return {"images": float(np.sqrt(spread.images)) if spread else None}


# Tables.


def tables(record: Row) -> str:
    """All that was found, as Markdown."""
    machine = record["machine"]
    groups = {group: [row for row in record["rows"] if row["group"] == group] for group in TABLES}
    head = (
        f"{machine['date']}, numpy {machine['numpy']}, scipy {machine['scipy']}. {record['studies']:,} studies a row,"
        f" {record['images']:,} test images each, margin of equivalence {_points(record['margin'])} points. Shares of"
        " studies in %, Wilson's 95 % interval in brackets. The permutation test counts up to"
        f" {record['divisions']:,} divisions of the seeds, and draws as many where there are more."
    )
    parts = [head, "Calibration, in percentage points:", _calibration(record["calibration"])]
    for group, (told, columns) in TABLES.items():
        if groups[group]:
            lines = [[column(row) for column in columns.values()] for row in groups[group]]
            parts += [told, write.table(list(columns), lines)]
    return "\n\n".join(parts)


def _calibration(rows: Sequence[Row]) -> str:
    heads = ("what", "accuracy", "deviation over seeds", "freed of the test set", "difference, due to images")
    keys = ("accuracy", "deviation", "training_deviation", "images")
    return write.table(heads, [(row["name"], *(_points(row.get(key), 3) for key in keys)) for row in rows])


def _shown(key: str) -> Callable[[Row], str]:
    def column(row: Row) -> str:
        middle, low, high = (f"{100 * row[key][part]:.1f}" for part in ("share", "low", "high"))
        return f"{middle} ({low} to {high})"

    return column


def _points(fraction: float | None, digits: int = 2) -> str:
    return "–" if fraction is None else f"{100 * fraction:.{digits}f}"


NAME = {"": lambda row: row["name"], "seeds": lambda row: str(row["seeds"])}
EFFECT = {"effect of images": NAME[""], "seeds": NAME["seeds"]}
TESTS = {"Welch alone": _shown("welch"), "permutation alone": _shown("permutation")}
RULE = {"better or worse": _shown("told_apart"), **TESTS}
INTERVALS = {"interval holds the truth": _shown("interval"), "interval over seeds": _shown("interval_seeds")}
TABLES: dict[str, tuple[str, dict[str, Callable[[Row], str]]]] = {
    "equal": (
        "Equal in the population, so that better and worse are errors:",
        {**EFFECT, **RULE, "equivalent": _shown("equivalent"), **INTERVALS},
    ),
    "different": (
        "A true difference, in percentage points. Beside better, what `comparison.power` predicts; beside the 90 %"
        " intervals that lie within the margin, what `comparison.power_of_equivalence` does. Such a difference may"
        " still be found better:",
        {
            **EFFECT,
            "truth": lambda row: _points(row["truths"][0]),
            "better": _shown("better"),
            "better, predicted": lambda row: f"{100 * row['power']:.1f}",
            "worse": _shown("worse"),
            "equivalent": _shown("equivalent"),
            "within the margin": _shown("within_margin"),
            "within, predicted": lambda row: f"{100 * row['power_of_equivalence']:.1f}",
            **INTERVALS,
        },
    ),
    "family": (
        "Three equal candidates against one baseline, a family: shares of families with at least one error; intervals"
        " that all hold the truth:",
        {**EFFECT, **RULE, **INTERVALS},
    ),
    "split": (
        "Seeds of one real variant in two halves, in all ways or so many at random, on the real test images. These are"
        " no independent studies, and three against three cannot reach the level:",
        {**NAME, "ways": lambda row: str(row["studies"]), **RULE, "equivalent": _shown("equivalent")},
    ),
    "resampled": (
        "Seeds and images of real variants drawn with replacement: a variant against itself, and two variants on images"
        " weighted so that they are equal:",
        {**NAME, **RULE, "equivalent": _shown("equivalent"), **INTERVALS},
    ),
}


def document(record: Row) -> None:
    """Put the tables between their marks in docs/statistics.md, if there is that file."""
    if DOCUMENT.exists():
        text = DOCUMENT.read_text(encoding="utf-8")
        files.write_text(DOCUMENT, write.replaced(text, "simulation", tables(record)))


@click.command(help=__doc__.partition("\n")[0])
@click.option("--studies", type=click.IntRange(1), default=2000, show_default=True, help="of each scenario")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--evaluations", "folder", type=click.Path(path_type=Path), default="evaluations", show_default=True)
@click.option("--write", "again", is_flag=True, help="draw nothing, write the recorded tables again")
def main(studies: int, seed: int, folder: Path, again: bool) -> None:
    if again:
        document(files.read_json(RECORD))
        return
    devices.make_deterministic()
    real = evaluations(folder)
    chosen = scenarios(real)

    def work(place: int) -> Iterator[Row]:
        yield simulated(chosen[place], studies, (seed, place))

    rows: dict[int, Row] = {}
    for place, row in parallel.run_tasks([partial(work, place) for place in range(len(chosen))], devices.cores()):
        rows[place] = row
        words = f"{row['group']}, {row['name']}, {row['seeds']} seeds: {_shown('told_apart')(row)} % told apart"
        click.echo(f"{len(rows)} of {len(chosen)}: {words}", err=True)
    record = {
        "machine": run.machine() | {"scipy": version("scipy")},
        "studies": studies,
        "seed": seed,
        "images": IMAGES,
        "margin": MARGIN,
        "divisions": DIVISIONS,
        "populations": {name: asdict(calibrated((ACCURACY,), effect)) for name, effect in EFFECTS.items()},
        "calibration": calibration(real, seed),
        "rows": [rows[place] for place in range(len(chosen))],
    }
    files.write_json(RECORD, record)
    click.echo(tables(record))
    document(record)


if __name__ == "__main__":
    main()

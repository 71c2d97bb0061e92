"""How often the rule of `statistics.verdict` errs, measured on studies from populations whose accuracies are known.

`make bench-simulation` draws the studies, records the results and writes their tables in docs/statistics.md. Each study
draws new trainings and new test images.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
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
from lenetlab.settings import params
from lenetlab.statistics import comparison, difference, intervals, power, significance, verdict
from lenetlab.storage import files
from lenetlab.training import devices, parallel

ROOT = Path(__file__).parents[1]
RECORD = Path(__file__).with_suffix(".json")
DOCUMENT = ROOT / "docs" / "statistics.md"
IMAGES = 10_000
MARGIN = 0.002  # of equivalence, as in params.yaml
DIVISIONS = 5_000  # that the permutation test counts or else draws; its usual million takes seconds per study
CALIBRATION_SEEDS = 300  # so that deviations between trainings are known to a few per cent

# LeNet-5 with six seeds (docs/study): accuracy, deviation between trainings with unlimited test images, and mean over
# images of the variance of answers between trainings. With these, the numbers of images that none, one ... all seeds
# read correctly also agree with LeNet-5's.
ACCURACY, DEVIATION, WITHIN = 0.989, 0.0005, 0.0063
# Deviation of a difference that is due to the images: none; LeNet-5 regularised and not; LeNet-5 and the MLP.
EFFECTS = {"none": 0.0, "moderate": 0.0003, "large": 0.0009}

Generator = np.random.Generator
Pair = tuple[Predictions, Predictions]
Row = dict[str, Any]


@dataclass(frozen=True)
class Population:
    """Systems whose accuracies with unlimited images and trainings are known.

    A training reads an image correctly if skill + seed + difficulty + system + noise > 0. The skill is a constant, the
    others are normal with mean 0 and variances that add up to 1: one value per training, per image for all systems, per
    image for this system, and per training and image. So the accuracy is the normal distribution function of the skill.
    """

    accuracies: tuple[float, ...]
    seed: float  # variances
    difficulty: float
    system: float

    def both_wrong(self, first: int, second: int, shared: float) -> float:
        """Probability that two answers are wrong that have this part of their variance in common; Owen 1956."""
        one, other = stats.norm.ppf([1 - self.accuracies[first], 1 - self.accuracies[second]])
        rest = np.sqrt(1 - shared**2)
        parts = special.owens_t([one, other], [(other / one - shared) / rest, (one / other - shared) / rest])
        return float((2 - self.accuracies[first] - self.accuracies[second]) / 2 - sum(parts))

    def deviation(self, system: int) -> float:
        """Standard deviation of accuracy between trainings, with unlimited images."""
        return float(np.sqrt(self.both_wrong(system, system, self.seed) - (1 - self.accuracies[system]) ** 2))

    def within(self, system: int) -> float:
        """Mean over images of the variance between trainings."""
        return 1 - self.accuracies[system] - self.both_wrong(system, system, self.difficulty + self.system)

    def components(self, candidate: int, baseline: int) -> difference.VarianceComponents:
        """The true values of what `difference.variance_components` estimates."""
        systems = (candidate, baseline)
        seeds = [(self.within(system) + (IMAGES - 1) * self.deviation(system) ** 2) / IMAGES for system in systems]
        alone = sum(self.both_wrong(system, system, self.difficulty + self.system) for system in systems)
        together = self.both_wrong(candidate, baseline, self.difficulty)
        images = alone - 2 * together - (self.accuracies[candidate] - self.accuracies[baseline]) ** 2
        return difference.VarianceComponents((seeds[0], seeds[1]), max(0.0, images) / IMAGES)

    def draw(self, generator: Generator, seeds: int) -> list[Predictions]:
        """New trainings of each system, all on the same new images."""

        def normal(variance: float, *shape: int) -> np.ndarray:
            return np.float32(np.sqrt(variance)) * generator.standard_normal(shape, dtype=np.float32)

        difficulty, systems = normal(self.difficulty, IMAGES), []
        for skill in stats.norm.ppf(self.accuracies):
            expected = np.float32(skill) + difficulty + normal(self.system, IMAGES)
            noise = normal(1 - self.seed - self.difficulty - self.system, seeds, IMAGES)
            wrong = (expected + normal(self.seed, seeds, 1) + noise <= 0).astype(np.uint8)
            probability = np.broadcast_to(np.float32(1), wrong.shape)  # no test uses it
            systems.append(Predictions(np.arange(seeds), np.zeros(IMAGES, np.uint8), wrong, probability))
        return systems


def calibrated(accuracies: tuple[float, ...], effect: float) -> Population:
    """Systems that vary as LeNet-5 does. If they are equal, the images give their difference the deviation `effect`."""

    def typical(seed: float, difficulty: float, system: float) -> Population:
        return Population((ACCURACY,), seed, difficulty, system)

    def excess(difficulty: float) -> float:
        """Variance of the difference due to images, minus the wanted one."""
        together = typical(seed, difficulty, 0.0).both_wrong(0, 0, difficulty)
        return 2 * (1 - ACCURACY - WITHIN - together) / IMAGES - effect**2

    seed = optimize.brentq(lambda part: typical(part, 0.0, 0.0).deviation(0) - DEVIATION, 1e-6, 0.5)
    image = optimize.brentq(lambda part: typical(seed, part, 0.0).within(0) - WITHIN, 0.0, 1 - seed)
    difficulty = optimize.brentq(excess, 0.0, image) if effect else image
    return Population(accuracies, seed, difficulty, image - difficulty)


@dataclass(frozen=True)
class Scenario:
    """Studies of one kind. Each study has one family, with a comparison for each true difference."""

    group: str  # equal, different, family, split or resampled
    name: str
    seeds: int  # per variant
    truths: tuple[float, ...]
    studies: Callable[[Generator], Iterator[list[Pair]]]  # unlimited, or all that there are
    components: difference.VarianceComponents | None = None  # of the first comparison, if known


@dataclass(frozen=True)
class StudyResult:
    """What one study of one family concludes. A verdict counts if one comparison of the family has it."""

    better: bool
    worse: bool
    equivalent: bool
    inconclusive: bool
    told_apart: bool  # better or worse
    welch: bool  # p below the level after Holm's correction, for one comparison at least
    permutation: bool
    within_margin: bool  # the 90 % interval lies within the margin, for all comparisons
    interval: bool  # the interval over seeds and images contains the true difference, for all comparisons
    interval_seeds: bool


def conclude(pairs: Sequence[Pair], truths: Sequence[float]) -> StudyResult:
    """Judge all pairs as one family."""
    p_values = significance.family(pairs)
    inputs = [comparison.rule_inputs(*pair, p, len(pairs), MARGIN) for pair, p in zip(pairs, p_values, strict=True)]
    verdicts = {verdict.decide(one) for one in inputs}
    return StudyResult(
        **{word: word in verdicts for word in ("better", "worse", "equivalent", "inconclusive")},
        told_apart=bool(verdicts & {"better", "worse"}),
        welch=min(p.welch_holm for p in p_values) < intervals.LEVEL,
        permutation=min(p.permutation_holm for p in p_values) < intervals.LEVEL,
        within_margin=all(max(map(abs, one.interval_equivalence)) < MARGIN for one in inputs),
        interval=_contain([one.interval for one in inputs], truths),
        interval_seeds=_contain([difference.interval_seeds(*pair) for pair in pairs], truths),
    )


def _contain(limits: Sequence[intervals.Interval], truths: Sequence[float]) -> bool:
    return all(pair and pair[0] <= truth <= pair[1] for pair, truth in zip(limits, truths, strict=True))


def simulate(scenario: Scenario, studies: int, seed: Sequence[int]) -> Row:
    """For each field of a study's result, the share of studies in which it is true."""
    drawn = islice(scenario.studies(np.random.default_rng(seed)), studies)
    with mock.patch.object(significance, "EXACT", DIVISIONS):
        results = [conclude(pairs, scenario.truths) for pairs in drawn]
    row = {key: getattr(scenario, key) for key in ("group", "name", "seeds", "truths")} | {"studies": len(results)}
    row |= {key: share([getattr(result, key) for result in results]) for key in StudyResult.__dataclass_fields__}
    if scenario.components:
        truth, setting = scenario.truths[0], (scenario.components, scenario.seeds, IMAGES)
        row["power"] = power.power_of_difference(truth, *setting, len(scenario.truths))
        row["power_of_equivalence"] = power.power_of_equivalence(truth, MARGIN, *setting)
    return row


def share(results: Sequence[bool]) -> dict[str, float]:
    """The share of true results with Wilson's 95 % interval."""
    limits = stats.binomtest(sum(results), len(results)).proportion_ci(0.95, method="wilson")
    return {"share": float(np.mean(results)), "low": float(limits.low), "high": float(limits.high)}


# Scenarios.


def population_scenario(group: str, name: str, population: Population, seeds: int) -> Scenario:
    """All other systems against the last one."""
    last = len(population.accuracies) - 1
    truths = tuple(accuracy - population.accuracies[last] for accuracy in population.accuracies[:last])

    def studies(generator: Generator) -> Iterator[list[Pair]]:
        while True:
            *candidates, baseline = population.draw(generator, seeds)
            yield [(candidate, baseline) for candidate in candidates]

    return Scenario(group, name, seeds, truths, studies, population.components(0, last))


def split_scenario(name: str, real: Predictions) -> Scenario:
    """The seeds of one variant divided into two halves: all divisions if there are few, else random ones."""
    count = len(real.seeds)
    half = count // 2

    def halves(order: Sequence[int]) -> list[Pair]:
        return [(_select(real, order[:half]), _select(real, order[half : 2 * half]))]

    def studies(generator: Generator) -> Iterator[list[Pair]]:
        if comb(count, half) <= DIVISIONS and count == 2 * half:
            for others in combinations(range(1, count), half - 1):  # with seed 0, as its mirror image is the same
                chosen = (0, *others)
                yield halves([*chosen, *(place for place in range(count) if place not in chosen)])
        else:
            while True:
                yield halves(generator.permutation(count).tolist())

    return Scenario("split", name, half, (0.0,), studies)


def resampled_scenario(name: str, candidate: Predictions, baseline: Predictions, seeds: int) -> Scenario:
    """Seeds and images of real variants, drawn with replacement.

    Images have weights that make both variants equal: an exponential tilt, which is 0 for a variant and itself.
    """
    gain = candidate.correct.mean(axis=0) - baseline.correct.mean(axis=0)

    def weights(tilt: float) -> np.ndarray:
        tilted = np.exp(tilt * gain)
        return tilted / tilted.sum()

    chances = weights(optimize.brentq(lambda tilt: weights(tilt) @ gain, -20.0, 20.0) if gain.any() else 0.0)

    def studies(generator: Generator) -> Iterator[list[Pair]]:
        while True:
            images = generator.choice(len(gain), len(gain), p=chances)
            chosen = [generator.choice(len(variant.seeds), seeds) for variant in (candidate, baseline)]
            yield [(_select(candidate, chosen[0], images), _select(baseline, chosen[1], images))]

    return Scenario("resampled", name, seeds, (0.0,), studies)


def _select(variant: Predictions, seeds: Sequence[int], images: np.ndarray | None = None) -> Predictions:
    rows = np.array(seeds)
    columns = np.arange(len(variant.labels)) if images is None else images
    answers = (values[rows[:, None], columns] for values in (variant.predicted, variant.probability))
    return Predictions(variant.seeds[rows], variant.labels[columns], *answers)


def scenarios(real: dict[str, Predictions]) -> list[Scenario]:
    """All scenarios; `real`: predictions of real variants by name."""
    made = []
    for name, effect in EFFECTS.items():
        equal = calibrated((ACCURACY, ACCURACY), effect)
        made += [population_scenario("equal", name, equal, seeds) for seeds in (5, 6, 10, 20)]
    for name in ("moderate", "large"):
        for truth in (0.001, 0.002, 0.003, 0.005):
            different = calibrated((ACCURACY + truth, ACCURACY), EFFECTS[name])
            made += [population_scenario("different", name, different, seeds) for seeds in (6, 10)]
    for name, effect in EFFECTS.items():
        made += [population_scenario("family", name, calibrated((ACCURACY,) * 4, effect), seeds) for seeds in (6, 10)]
    made += [split_scenario(name, variant) for name, variant in real.items()]
    made += [resampled_scenario(name, variant, variant, 6) for name, variant in real.items()]
    made += [resampled_scenario(f"{one}, {other}", real[one], real[other], 6) for one, other in pairwise(real)]
    return made


def evaluations(folder: Path) -> dict[str, Predictions]:
    """Predictions by name, of the study's variants that have an evaluation in this folder with six seeds or more."""
    paths = {name: folder / name / "predictions.npz" for name in params.load(ours.PARAMETERS).study}
    evaluated = {name: predictions.read(path) for name, path in paths.items() if path.exists()}
    return {name: variant for name, variant in evaluated.items() if len(variant.seeds) >= 6}


# Calibration.


def calibration(real: dict[str, Predictions], seed: int) -> list[Row]:
    """How accuracies vary, and differences with the images: for real variants and for populations."""
    rows = [{"name": name, **_accuracy_row(variant)} for name, variant in real.items()]
    rows += [{"name": f"{one}, {other}", **_images_row(real[one], real[other])} for one, other in pairwise(real)]
    for name, effect in EFFECTS.items():
        population = calibrated((ACCURACY, ACCURACY), effect)
        components = population.components(0, 1)
        exact = {"deviation": float(np.sqrt(components.seeds[0])), "images": float(np.sqrt(components.images))}
        exact |= {"accuracy": ACCURACY, "training_deviation": population.deviation(0)}
        drawn = population.draw(np.random.default_rng(seed), CALIBRATION_SEEDS)
        rows.append({"name": f"{name} effect of images, exactly", **exact})
        estimates = {**_accuracy_row(drawn[0]), **_images_row(*drawn)}
        rows.append({"name": f"the same, {CALIBRATION_SEEDS} seeds drawn on {IMAGES:,} images", **estimates})
    return rows


def _accuracy_row(variant: Predictions) -> Row:
    return {
        "accuracy": float(variant.accuracy.mean()),
        "deviation": float(variant.accuracy.std(ddof=1)),
        "training_deviation": difference.training_deviation(variant),
    }


def _images_row(first: Predictions, second: Predictions) -> Row:
    components = difference.variance_components(first, second)
    return {"images": float(np.sqrt(components.images)) if components else None}


# Tables.


def tables(record: Row) -> str:
    """All results, as Markdown."""
    machine = record["machine"]
    groups = {group: [row for row in record["rows"] if row["group"] == group] for group in TABLES}
    head = (
        f"{machine['date']}, numpy {machine['numpy']}, scipy {machine['scipy']}. {record['studies']:,} studies per row,"
        f" {record['images']:,} test images each, margin of equivalence {_points(record['margin'])} points. Shares of"
        " studies in %, with Wilson's 95 % interval in brackets. The permutation test counts all divisions of the seeds"
        f" if there are at most {record['divisions']:,}, and draws this many if there are more."
    )
    parts = [head, "Calibration, in percentage points:", _calibration(record["calibration"])]
    for group, (introduction, columns) in TABLES.items():
        if groups[group]:
            lines = [[column(row) for column in columns.values()] for row in groups[group]]
            parts += [introduction, write.table(list(columns), lines)]
    return "\n\n".join(parts)


def _calibration(rows: Sequence[Row]) -> str:
    heads = ("what", "accuracy", "deviation over seeds", "with unlimited images", "difference, due to images")
    keys = ("accuracy", "deviation", "training_deviation", "images")
    return write.table(heads, [(row["name"], *(_points(row.get(key), 3) for key in keys)) for row in rows])


def _share_column(key: str) -> Callable[[Row], str]:
    def column(row: Row) -> str:
        middle, low, high = (f"{100 * row[key][part]:.1f}" for part in ("share", "low", "high"))
        return f"{middle} ({low} to {high})"

    return column


def _points(fraction: float | None, digits: int = 2) -> str:
    return "–" if fraction is None else f"{100 * fraction:.{digits}f}"


NAME = {"": lambda row: row["name"], "seeds": lambda row: str(row["seeds"])}
EFFECT = {"effect of images": NAME[""], "seeds": NAME["seeds"]}
TESTS = {"Welch alone": _share_column("welch"), "permutation alone": _share_column("permutation")}
RULE = {"better or worse": _share_column("told_apart"), **TESTS}
INTERVALS = {
    "interval contains the truth": _share_column("interval"),
    "interval over seeds": _share_column("interval_seeds"),
}
TABLES: dict[str, tuple[str, dict[str, Callable[[Row], str]]]] = {
    "equal": (
        "Equal systems; better and worse are errors:",
        {**EFFECT, **RULE, "equivalent": _share_column("equivalent"), **INTERVALS},
    ),
    "different": (
        "A true difference, in percentage points. Next to better is the prediction of `power.power_of_difference`; next"
        " to the 90 % intervals within the margin that of `power.power_of_equivalence`. A study whose interval lies"
        " within the margin may still find the candidate better:",
        {
            **EFFECT,
            "truth": lambda row: _points(row["truths"][0]),
            "better": _share_column("better"),
            "better, predicted": lambda row: f"{100 * row['power']:.1f}",
            "worse": _share_column("worse"),
            "equivalent": _share_column("equivalent"),
            "within the margin": _share_column("within_margin"),
            "within, predicted": lambda row: f"{100 * row['power_of_equivalence']:.1f}",
            **INTERVALS,
        },
    ),
    "family": (
        "Three equal candidates against one baseline, as one family: shares of families with at least one error, and"
        " of families whose intervals all contain the truth:",
        {**EFFECT, **RULE, **INTERVALS},
    ),
    "split": (
        "Seeds of one real variant divided into two halves, in all ways or at random, on the real test images. These"
        " studies are not independent, and three seeds against three cannot reach the level:",
        {**NAME, "ways": lambda row: str(row["studies"]), **RULE, "equivalent": _share_column("equivalent")},
    ),
    "resampled": (
        "Seeds and images of real variants, drawn with replacement: a variant against itself, and two variants on"
        " images with weights that make them equal:",
        {**NAME, **RULE, "equivalent": _share_column("equivalent"), **INTERVALS},
    ),
}


def document(record: Row) -> None:
    """Put the tables between their marks in docs/statistics.md, if the file exists."""
    if DOCUMENT.exists():
        text = DOCUMENT.read_text(encoding="utf-8")
        files.write_text(DOCUMENT, write.replace_section(text, "simulation", tables(record)))


@click.command(help=__doc__.partition("\n")[0])
@click.option("--studies", type=click.IntRange(1), default=2000, show_default=True, help="studies per scenario")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--evaluations", "folder", type=click.Path(path_type=Path), default="evaluations", show_default=True)
@click.option("--write", "again", is_flag=True, help="only write the tables again, from the record")
def main(studies: int, seed: int, folder: Path, again: bool) -> None:
    if again:
        document(files.read_json(RECORD))
        return
    devices.make_deterministic()
    real = evaluations(folder)
    chosen = scenarios(real)

    def work(place: int) -> Iterator[Row]:
        yield simulate(chosen[place], studies, (seed, place))

    rows: dict[int, Row] = {}
    for place, row in parallel.run_tasks([partial(work, place) for place in range(len(chosen))], devices.cores()):
        rows[place] = row
        text = f"{row['group']}, {row['name']}, {row['seeds']} seeds: {_share_column('told_apart')(row)} % told apart"
        click.echo(f"{len(rows)} of {len(chosen)}: {text}", err=True)
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

"""How often the rule of `statistics.verdict` errs, measured on studies whose true differences are known.

`make bench-simulation` draws the studies, records the results and writes their tables in docs/statistics.md. Each study
draws new trainings and new test images.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import click
import numpy as np

from benchmarks import populations, run, whole_studies, write
from benchmarks.normal_studies import OLD_LOOKS, NormalStudies, level_table
from benchmarks.outcomes import Outcomes, share
from benchmarks.populations import ACCURACY, IMAGES, calibrated
from benchmarks.simulation_tables import Row, percent, tables
from benchmarks.whole_studies import Scenario, population_scenario, resampled_scenario, split_scenario
from lenetlab.settings import study_schema
from lenetlab.statistics import difference, power
from lenetlab.statistics.measures import Sample
from lenetlab.storage import files
from lenetlab.training import devices, parallel

ROOT = Path(__file__).parents[1]
RECORD = Path(__file__).with_suffix(".json")
DOCUMENT = ROOT / "docs" / "statistics.md"
MARGIN = 0.002  # of equivalence, as in params.yaml
CALIBRATION_SEEDS = 300  # so that deviations between trainings are known to a few per cent
WHOLE_PART = 8  # whole studies take longer, so there are fewer of them by this factor
MOST = 36  # seeds in the rows about a true difference, as settle.most in params.yaml

DEVIATION = 0.00094  # over the seeds of one side: that of LeNet-5
# Deviation of a difference that is due to the images: none; LeNet-5 regularised and not; LeNet-5 and the MLP.
EFFECTS = {"none": 0.0, "moderate": 0.0003, "large": 0.0009}
# Degrees of freedom of the variance between images, as estimated from whole studies of such populations: few images
# make all of it, so it is less certain than that of 10,000 normal values.
FREEDOM = {"none": 250, "moderate": 250, "large": 350}
FAMILIES = (1, 2, 3, 6)

Seed = tuple[int, ...]
Simulation = Callable[[int, Seed], Row]  # of a row: numbers of studies, seed


# Rows of studies of normal accuracies.


def normal_row(
    group: str, truths: Sequence[float], images: float, studies: int, seed: Seed,
    deviation: float = DEVIATION, most: int = study_schema.LOOKS[-1],
) -> Row:  # fmt: skip
    """Errors and verdicts of the rule."""
    freedom = FREEDOM["large" if images > EFFECTS["moderate"] else "moderate"]
    drawn = NormalStudies.draw(np.random.default_rng(seed), studies, truths, deviation, images, freedom, most)
    row = {"group": group, "deviation": deviation, "images": images}
    row |= Outcomes.of(drawn.judge(MARGIN, most), truths, MARGIN).row(most)
    match group:
        case "stopping":
            first = drawn.old_errors(MARGIN)
            row["old"] = {str(seeds): share(first <= seeds) for seeds in (6, 12, 24, OLD_LOOKS[-1])}
        case "margin" | "passed on to equivalence":
            alone = Outcomes.of(drawn.judge(MARGIN, most, without_difference=True), truths, MARGIN)
            row["equivalence_alone"] = share(alone.false_equivalent.any(axis=1))
        case "difference":
            components = difference.VarianceComponents((deviation**2, deviation**2), images**2, IMAGES)
            plan = study_schema.LOOKS[: study_schema.LOOKS.index(most) + 1]
            chances = power.chances(truths[0], components, 1, MARGIN, power.Plan(plan))
            row["predicted"] = {"better": chances.higher[-1], "equivalent": chances.equivalent[-1]}
    return row


def normal_rows() -> list[Simulation]:
    sizes = [(count, effect) for count in FAMILIES for effect in EFFECTS.values()]
    rows: list[Simulation] = [partial(normal_row, "stopping", (0.0,) * count, effect) for count, effect in sizes]
    rows += [partial(normal_row, "margin", (MARGIN,) * count, effect) for count, effect in sizes]
    for found, equal in ((1, 2), (2, 1), (3, 3), (5, 1)):
        for effect in EFFECTS.values():
            rows.append(partial(normal_row, "passed on", (MARGIN,) * found + (0.0,) * equal, effect))
    rows += [partial(normal_row, "passed on", (0.005,) * 5 + (0.0,), effect) for effect in EFFECTS.values()]
    for equal, at_margin in ((2, 1), (5, 1)):
        for effect in ("none", "moderate"):  # with a large effect no pair is equivalent, and nothing is passed on
            truths = (0.0,) * equal + (MARGIN,) * at_margin
            rows.append(partial(normal_row, "passed on to equivalence", truths, EFFECTS[effect]))
    for deviation, effect in (
        (0.00094, 0.0),
        (0.00094, 0.0003),
        (0.00094, 0.0009),
        (0.00128, 0.0003),
        (0.0017, 0.0003),
    ):
        for truth in (0.0, 0.0005, 0.001, 0.0015, 0.002, 0.003):
            rows.append(partial(normal_row, "difference", (truth,), effect, deviation=deviation, most=MOST))
    return rows


# Rows of whole studies.


def scenarios(real: dict[str, Sample]) -> list[Scenario]:
    """All scenarios of whole studies; `real`: accuracies of real variants by name."""
    made = []
    for name, effect in EFFECTS.items():
        made += [population_scenario("whole", name, calibrated((ACCURACY,) * (count + 1), effect)) for count in (1, 3)]
    for name in ("moderate", "large"):
        for truth in (0.001, 0.002, 0.003):
            different = calibrated((ACCURACY + truth, ACCURACY), EFFECTS[name])
            made.append(population_scenario("whole, different", name, different))
    for images in (1, 50, 500, 2000):
        for accuracy in (0.995, 0.990):
            few = calibrated((0.995, accuracy), EFFECTS["moderate"])
            made.append(population_scenario("few images", f"{100 * accuracy:g}", few, images=images))
    made += [split_scenario(name, variant) for name, variant in real.items() if variant.seeds >= 12]
    made += [resampled_scenario(name, variant, variant, 12) for name, variant in real.items()]
    made += [resampled_scenario(f"{one}, {other}", real[one], real[other], 12) for one, other in pairwise(real)]
    return made


def whole_rows(real: dict[str, Sample]) -> list[Simulation]:
    def simulate(scenario: Scenario, studies: int, seed: Seed) -> Row:
        return whole_studies.simulate(scenario, MARGIN, max(1, studies // WHOLE_PART), seed)

    return [partial(simulate, scenario) for scenario in scenarios(real)]


# Calibration.


def calibration(real: dict[str, Sample], seed: int) -> list[Row]:
    """How accuracies vary, and differences with the images: for real variants and for populations."""
    rows = [{"name": name, **_accuracy_row(variant)} for name, variant in real.items()]
    rows += [{"name": f"{one}, {other}", **_images_row(real[one], real[other])} for one, other in pairwise(real)]
    for name, effect in EFFECTS.items():
        population = calibrated((ACCURACY, ACCURACY), effect)
        components = population.components(0, 1)
        exact = {"deviation": float(np.sqrt(components.seeds[0])), "images": float(np.sqrt(components.images))}
        drawn = population.draw(np.random.default_rng(seed), CALIBRATION_SEEDS)
        rows.append({"name": f"{name} effect of images, exactly", "accuracy": ACCURACY, **exact})
        estimates = {**_accuracy_row(drawn[0]), **_images_row(*drawn)}
        rows.append({"name": f"the same, {CALIBRATION_SEEDS} seeds drawn on {IMAGES:,} images", **estimates})
    return rows


def _accuracy_row(variant: Sample) -> Row:
    return {"accuracy": float(variant.values.mean()), "deviation": float(variant.values.std(ddof=1))}


def _images_row(first: Sample, second: Sample) -> Row:
    components = difference.variance_components(first, second)
    return {"images": float(np.sqrt(components.images)) if components else None}


# The record.


def document(record: Row) -> None:
    """Put the tables between their marks in docs/statistics.md, if the file exists."""
    if DOCUMENT.exists():
        text = DOCUMENT.read_text(encoding="utf-8")
        files.write_text(DOCUMENT, write.replace_section(text, "simulation", tables(record)))


def simulate_all(chosen: Sequence[Simulation], studies: int, seed: int) -> list[Row]:
    """All rows, in their order, computed in several processes."""

    def work(place: int) -> Iterator[Row]:
        yield chosen[place](studies, (seed, place))

    rows: dict[int, Row] = {}
    for sides in (1, 2):
        level_table(sides)  # before the processes start, which then share it
    for place, row in parallel.run_tasks([partial(work, place) for place in range(len(chosen))], devices.cores()):
        rows[place] = row
        errors = (
            f"{percent(row['false_difference'])} % better or worse, {percent(row['false_equivalent'])} % equivalent"
        )
        click.echo(f"{len(rows)} of {len(chosen)}: {row['group']}: errors: {errors}", err=True)
    return [rows[place] for place in range(len(chosen))]


@click.command(help=__doc__.partition("\n")[0])
@click.option("--studies", type=click.IntRange(1), default=4000, show_default=True, help="studies per row")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--evaluations", "folder", type=click.Path(path_type=Path), default="evaluations", show_default=True)
@click.option("--write", "again", is_flag=True, help="only write the tables again, from the record")
def main(studies: int, seed: int, folder: Path, again: bool) -> None:
    if again:
        document(files.read_json(RECORD))
        return
    devices.make_deterministic()
    real = whole_studies.evaluations(folder)
    if not real:
        click.echo(f"{folder}: no evaluation of a variant with six seeds, so no rows about real variants", err=True)
    record = {
        "machine": run.machine() | {"scipy": version("scipy")},
        "studies": studies,
        "whole_studies": max(1, studies // WHOLE_PART),
        "seed": seed,
        "images": IMAGES,
        "margin": MARGIN,
        "freedom": FREEDOM,
        "real": list(real),
        "populations": {name: asdict(calibrated((ACCURACY,), effect)) for name, effect in EFFECTS.items()},
        "within": populations.WITHIN,
        "calibration": calibration(real, seed),
        "rows": simulate_all([*normal_rows(), *whole_rows(real)], studies, seed),
    }
    files.write_json(RECORD, record)
    click.echo(tables(record))
    document(record)


if __name__ == "__main__":
    main()

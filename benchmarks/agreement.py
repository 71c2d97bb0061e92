"""Test whether two versions of the code reach the same accuracy, as a comparison of variants does.

python -m benchmarks.agreement BEFORE AFTER: two checkouts in which `make repro` has run
"""

from pathlib import Path

import click

from benchmarks import write
from lenetlab.evaluation import predictions
from lenetlab.statistics import difference, measures, significance


def table(before: Path, after: Path) -> str:
    """A Markdown row for every variant that both checkouts have evaluated.

    Accuracies are in %, differences in percentage points. The p values are corrected by Holm's method.
    """
    names = sorted(path.parent.name for path in (before / "evaluations").glob("*/predictions.npz"))
    pairs = {
        name: tuple(
            measures.sample(predictions.read(folder / "evaluations" / name / "predictions.npz"), "test_accuracy")
            for folder in (after, before)
        )
        for name in names
        if (after / "evaluations" / name).exists()
    }
    tests = [significance.permutation_p(new.values, old.values) for new, old in pairs.values()]
    lines = []
    for (name, (new, old)), p in zip(pairs.items(), significance.holm(tests), strict=True):
        low, high = difference.interval_seeds(new, old)
        means = [100 * side.values.mean() for side in (old, new)]
        interval = f"{100 * low:+.2f} to {100 * high:+.2f}"
        lines.append((name, *(f"{mean:.2f}" for mean in means), f"{means[1] - means[0]:+.2f}", interval, f"{p:.2f}"))
    return write.table(("variant", "before", "after", "difference", "95 % interval", "p, permutation"), lines)


@click.command(help=__doc__.partition("\n")[0])
@click.argument("before", type=Path)
@click.argument("after", type=Path)
def main(before: Path, after: Path) -> None:
    click.echo(table(before, after))


if __name__ == "__main__":
    main()

"""Write the tables and the figure of docs/performance.md from the recorded measurements: python -m benchmarks.write"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from lenetlab.report import style
from lenetlab.storage import files

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "performance.md"
PICTURE = "![Seconds per run and epoch of every way of training](performance.svg)"
OURS, PNG, REFERENCE = "lenetlab", "PNG loader", "tensors in memory, plain loop, 1 thread (reference)"

Row = dict[str, Any]


def median_and_range(values: Sequence[float]) -> dict[str, float]:
    return {"median": median(values), "min": min(values), "max": max(values)}


def with_summaries(rows: Sequence[Row]) -> list[Row]:
    """The rows with median and range of their seconds and, for epochs, of their ratio to the seconds of lenetlab.

    The speed of a machine may drift between rounds, so ratios are computed within each round.
    """
    summaries = []
    for row in rows:
        seconds = _values(row, "seconds")
        summary = {**row, "seconds": median_and_range(seconds)}
        same = [other for other in rows if other["name"] == OURS and other["variant"] == row["variant"]]
        if row["group"] == "epoch" and same:
            pairs = zip(seconds, _values(same[0], "seconds"), strict=True)
            summary["times_ours"] = median_and_range([theirs / ours for theirs, ours in pairs])
        summaries.append(summary)
    return summaries


def result_tables(results: Row) -> str:
    """All measurements of `benchmarks.run` as Markdown."""
    parts = [PICTURE, _conditions(results), *(f"Note: {note}." for note in results["notes"])]
    floors = _floor_seconds(results)
    groups = {
        group: [row for row in results["cases"] if row["group"] == group] for group in _distinct(results, "group")
    }
    for variant in dict.fromkeys(row["variant"] for row in groups.get("epoch", [])):
        rows = [row for row in groups["epoch"] if row["variant"] == variant]
        parts += [
            f"### {variant}",
            _epoch_table(rows, results["images"]["train"]),
            _floor_line(rows, floors.get(variant)),
        ]
    if floors:
        parts += ["### Matrix products, float32", _matrix_speed_table(groups["floor"][0])]
    if "files" in groups:
        parts += [f"### {sum(results['images'].values()):,} PNG files", _files_table(groups["files"])]
    if "overhead" in groups:
        parts += ["### Start-up", _start_up_table(groups["overhead"])]
    if "linearity" in groups:
        parts += ["### Does time grow in proportion?", _scaling_table(groups["linearity"])]
    return "\n\n".join(part for part in parts if part)


def figure(rows: Sequence[Row]) -> Figure:
    """Bars with the seconds of an epoch for each way of training; the bar of lenetlab has a colour."""
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    with mpl.rc_context(style.RC_PARAMS):
        drawing = Figure(figsize=(7.2, 0.9 + 0.29 * (len(rows) + 1.4 * len(variants))), layout="constrained")
        axes = drawing.subplots()
        position, labels = 0.0, []
        for variant in variants:
            axes.text(0, position, variant, fontweight="bold", va="center", transform=axes.get_yaxis_transform())
            for row in sorted((row for row in rows if row["variant"] == variant), key=_median):
                position += 1
                labels.append((position, row["name"].replace(" (reference)", "")))
                is_ours = row["name"] == OURS
                bar = axes.barh(position, _median(row), height=0.72, color=style.COLOURS[0] if is_ours else "#ADB5BD")
                axes.bar_label(bar, [f"{_median(row):.1f} s"], padding=3, fontsize=9)
            position += 1.4
        axes.set(ylim=(position - 0.7, -0.6), xlabel="seconds per run and epoch; less is better")
        axes.set_yticks([at for at, _ in labels], [name for _, name in labels])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.08)
    return drawing


def attempt_tables(results: Row) -> str:
    """The measurements of `benchmarks.attempts` as Markdown."""
    parts = [
        f"{_environment(results['machine'])}. LeNet-5, batches of {results['batch']}, SGD with momentum, float32,"
        f" random images; milliseconds per seed, median and range of {results['rounds']} rounds of"
        f" {results['steps']} steps, one thread unless it says otherwise."
    ]
    for title, rows in results["tables"].items():
        lines = [(row["name"], _with_range(row["milliseconds"], 2), f"{row['times_used']:.2f}") for row in rows]
        parts.append(table((title, "ms per seed", "times the first"), lines))
    return "\n\n".join(parts)


def record_table(results: Row) -> str:
    """The measurements of `benchmarks.record`, seconds to 99 %, as Markdown."""
    lines = []
    for row in results["rows"]:
        accuracies = [100 * found["accuracy"] for found in row["measurements"]]
        accuracy = f"{mean(accuracies):.2f} ± {stdev(accuracies):.2f} ({min(accuracies):.2f} to {max(accuracies):.2f})"
        times = (_with_range(median_and_range(_values(row, key)), 2) for key in ("training", "seconds"))
        lines.append((row["name"], str(len(accuracies)), accuracy, *times, f"{_median_of(row, 'process'):.1f}"))
    heads = ("where", "seeds", "accuracy, %", "training, s", "with reading the data, s", "whole process, s")
    return f"{_environment(results['machine'])}.\n\n{table(heads, lines)}"


SECTIONS = {"results": result_tables, "attempts": attempt_tables, "record": record_table}


def update_document() -> None:
    """Write all recorded measurements between their markers in docs/performance.md, and the figure beside it."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, render in SECTIONS.items():
        if (recorded := HERE / f"{name}.json").exists():
            text = replace_section(text, name, render(files.read_json(recorded)))
    files.write_text(DOCUMENT, text)
    if (recorded := HERE / "results.json").exists():
        epochs = [row for row in files.read_json(recorded)["cases"] if row["group"] == "epoch"]
        drawn = style.svg(figure(epochs), "performance")
        files.write_text(DOCUMENT.with_suffix(".svg"), style.standalone_svg(drawn))


def replace_section(text: str, name: str, content: str) -> str:
    """The text with new content between the markers of this name."""
    begin, end = (f"<!-- {name}: {side} -->" for side in ("begin", "end"))
    before, has_begin, rest = text.partition(begin)
    _, has_end, after = rest.partition(end)
    if not (has_begin and has_end):
        raise ValueError(f"the document has no line {begin} followed by one {end}")
    return f"{before}{begin}\n\n{content}\n\n{end}{after}"


def _environment(machine: Row) -> str:
    """Date, machine, versions and commit."""
    packages = ("python", "torch", "torchvision", "pillow", "numpy")
    versions = ", ".join(f"{name} {machine[name]}" for name in packages)
    commit = f"commit {machine['commit'][:10]}" if machine["commit"] else "no commit"
    changed = " with changes" if machine["dirty"] else ""
    return f"{machine['date']}, {machine['cores']} cores of {machine['processor']}; {versions}; {commit}{changed}"


def _conditions(results: Row) -> str:
    images, machine = results["images"], results["machine"]
    return (
        f"{_environment(machine)}; lightning {machine['lightning']}. Median of {results['repeats']} rounds, the"
        f" range in brackets; {images['train']:,} training and {images['test']:,} test images; lenetlab"
        f" trains {results['seeds']} seeds for {results['epochs']} epochs."
    )


def _epoch_table(rows: Sequence[Row], images: int) -> str:
    lines = [
        (
            f"**{row['name']}**" if row["name"] == OURS else row["name"],
            _with_range(row["seconds"], 2),
            f"{images / _median(row):,.0f}",
            _with_range(row["times_ours"], 2) if "times_ours" in row else "–",
            f"{_median_of(row, 'start_up'):.1f}",
            f"{_median_of(row, 'process'):.1f}",
        )
        for row in sorted(rows, key=_median)
    ]
    heads = ("way of training", "s per run and epoch", "images/s", "times lenetlab", "start-up, s", "whole process, s")
    return table(heads, lines)


def _floor_line(rows: Sequence[Row], seconds: dict[str, float] | None) -> str:
    ours = next((row for row in rows if row["name"] == OURS), None)
    if not (ours and seconds):
        return ""
    return (
        f"Arithmetic floor: {seconds['train_mflop']:.2f} MFLOP to train an image and {seconds['evaluate_mflop']:.2f} to"
        f" evaluate one, so {seconds['thread']:.2f} s on one core and {seconds['processes']:.2f} s per run on all of"
        f" them; lenetlab takes {_median(ours) / seconds['processes']:.1f} times the latter."
    )


def _floor_seconds(results: Row) -> dict[str, dict[str, float]]:
    """By variant, the seconds of an epoch and its evaluation if all arithmetic ran at the speed of matrix products."""
    rows = [row for row in results["cases"] if row["group"] == "floor"]
    if not rows:
        return {}
    images, measured = results["images"], rows[0]["measurements"]
    speeds = {
        how: median(measurement["gflops"][how] for measurement in measured) * 1e9 for how in ("thread", "processes")
    }
    floors = {}
    for variant, count in measured[0]["flops"].items():
        total = images["train"] * count["train"] + images["test"] * count["evaluate"]
        floors[variant] = {how: total / speed for how, speed in speeds.items()}
        floors[variant] |= {f"{what}_mflop": count[what] / 1e6 for what in ("train", "evaluate")}
    return floors


def _matrix_speed_table(row: Row) -> str:
    ways = {"thread": "one thread", "threads": "one process, a thread per core", "processes": "a process per core"}
    lines = [
        (name, _with_range(median_and_range([found["gflops"][how] for found in row["measurements"]]), 0))
        for how, name in ways.items()
    ]
    return table(("how", "GFLOP/s"), lines)


def _files_table(rows: Sequence[Row]) -> str:
    lines = [(row["name"], _with_range(row["seconds"], 2), f"{_median_of(row, 'process'):.2f}") for row in rows]
    return table(("what", "s", "whole process with its imports, s"), lines)


def _start_up_table(rows: Sequence[Row]) -> str:
    return table(("what", "whole process, s"), [(row["name"], _with_range(row["seconds"], 2)) for row in rows])


def _scaling_table(rows: Sequence[Row]) -> str:
    """Seconds of the whole training without the evaluation. If time is proportional, the last column is 1."""
    lines = []
    for name in dict.fromkeys(row["name"] for row in rows):
        group = [row for row in rows if row["name"] == name]
        first = _median_of(group[0], "training") / group[0]["amount"]
        for row in group:
            whole = median_and_range(_values(row, "training"))
            lines.append(
                (name, f"{row['amount']:,}", _with_range(whole, 2), f"{whole['median'] / row['amount'] / first:.2f}")
            )
    return table(("lenet5, growing", "", "s of training", "per unit, relative to the first"), lines)


def table(heads: Sequence[str], lines: Iterable[Sequence[str]], words: int = 1) -> str:
    """A Markdown table. The first `words` columns are text, the others are numbers and aligned to the right."""
    rule = "|" + "---|" * words + "--:|" * (len(heads) - words)
    return "\n".join([f"| {' | '.join(heads)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)])


def _with_range(values: dict[str, float], digits: int) -> str:
    low, middle, high = (f"{values[key]:,.{digits}f}" for key in ("min", "median", "max"))
    return f"{middle} ({low} to {high})"


def _values(row: Row, key: str) -> list[float]:
    return [found[key] for found in row["measurements"]]


def _median(row: Row) -> float:
    return row["seconds"]["median"]


def _median_of(row: Row, key: str) -> float:
    return median(_values(row, key))


def _distinct(results: Row, key: str) -> list[str]:
    return list(dict.fromkeys(row[key] for row in results["cases"]))


if __name__ == "__main__":
    update_document()

"""From what was measured to the tables of docs/performance.md and its figure: python -m benchmarks.write"""

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


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": median(values), "min": min(values), "max": max(values)}


def summarised(rows: Sequence[Row]) -> list[Row]:
    """The rows with median and range of their seconds, and for an epoch of training how many times ours it takes.

    Rows of one round were measured minutes apart on a machine that may drift, so a ratio is taken within each round.
    """
    found = []
    for row in rows:
        own = _all(row, "seconds")
        summary = {**row, "seconds": spread(own)}
        ours = [other for other in rows if other["name"] == OURS and other["variant"] == row["variant"]]
        if row["group"] == "epoch" and ours:
            pairs = zip(own, _all(ours[0], "seconds"), strict=True)
            summary["times_ours"] = spread([one / other for one, other in pairs])
        found.append(summary)
    return found


def tables(results: Row) -> str:
    """All that was measured, as Markdown."""
    parts = [PICTURE, _origin(results), *(f"Note: {note}." for note in results["notes"])]
    floors = _floors(results)
    groups = {group: [row for row in results["cases"] if row["group"] == group] for group in _names(results, "group")}
    for variant in dict.fromkeys(row["variant"] for row in groups.get("epoch", [])):
        rows = [row for row in groups["epoch"] if row["variant"] == variant]
        parts += [f"### {variant}", _epochs(rows, results["images"]["train"]), _floor_line(rows, floors.get(variant))]
    if floors:
        parts += ["### Matrix products, float32", _speeds(groups["floor"][0])]
    if "files" in groups:
        parts += [f"### {sum(results['images'].values()):,} PNG files", _files(groups["files"])]
    if "overhead" in groups:
        parts += ["### Start-up", _overheads(groups["overhead"])]
    if "linearity" in groups:
        parts += ["### Does time grow in proportion?", _linearity(groups["linearity"])]
    return "\n\n".join(part for part in parts if part)


def figure(rows: Sequence[Row]) -> Figure:
    """Seconds of an epoch, a bar for each way of training; ours in colour, each with its figure beside it."""
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    with mpl.rc_context(style.RC_PARAMS):
        sketch = Figure(figsize=(7.2, 0.9 + 0.29 * (len(rows) + 1.4 * len(variants))), layout="constrained")
        axes = sketch.subplots()
        place, marks = 0.0, []
        for variant in variants:
            axes.text(0, place, variant, fontweight="bold", va="center", transform=axes.get_yaxis_transform())
            for row in sorted((row for row in rows if row["variant"] == variant), key=_median):
                place += 1
                marks.append((place, row["name"].replace(" (reference)", "")))
                own = row["name"] == OURS
                bar = axes.barh(place, _median(row), height=0.72, color=style.COLOURS[0] if own else "#ADB5BD")
                axes.bar_label(bar, [f"{_median(row):.1f} s"], padding=3, fontsize=9)
            place += 1.4
        axes.set(ylim=(place - 0.7, -0.6), xlabel="seconds per run and epoch; less is better")
        axes.set_yticks([at for at, _ in marks], [name for _, name in marks])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.08)
    return sketch


def attempts(results: Row) -> str:
    """What was tried, as Markdown."""
    parts = [
        f"{_where(results['machine'])}. LeNet-5, batches of {results['batch']}, SGD with momentum, float32, random"
        f" images; milliseconds per seed, median and range of {results['rounds']} rounds of {results['steps']} steps,"
        " one thread unless it says otherwise."
    ]
    for title, rows in results["tables"].items():
        lines = [(row["name"], _shown(row["milliseconds"], 2), f"{row['times_used']:.2f}") for row in rows]
        parts.append(table((title, "ms per seed", "times the first"), lines))
    return "\n\n".join(parts)


def records(results: Row) -> str:
    """Seconds to 99 %, as Markdown."""
    lines = []
    for row in results["rows"]:
        accuracies = [100 * found["accuracy"] for found in row["measurements"]]
        accuracy = f"{mean(accuracies):.2f} ± {stdev(accuracies):.2f} ({min(accuracies):.2f} to {max(accuracies):.2f})"
        times = (_shown(spread(_all(row, key)), 2) for key in ("training", "seconds"))
        lines.append((row["name"], str(len(accuracies)), accuracy, *times, f"{_median_of(row, 'process'):.1f}"))
    heads = ("where", "seeds", "accuracy, %", "training, s", "with reading the data, s", "whole process, s")
    return f"{_where(results['machine'])}.\n\n{table(heads, lines)}"


SECTIONS = {"results": tables, "attempts": attempts, "record": records}


def document() -> None:
    """Put the tables of all that has been measured between their marks in docs/performance.md, the figure beside it."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, told in SECTIONS.items():
        if (recorded := HERE / f"{name}.json").exists():
            text = replaced(text, name, told(files.read_json(recorded)))
    files.write_text(DOCUMENT, text)
    if (recorded := HERE / "results.json").exists():
        epochs = [row for row in files.read_json(recorded)["cases"] if row["group"] == "epoch"]
        drawn = style.svg(figure(epochs), "performance")
        files.write_text(DOCUMENT.with_suffix(".svg"), style.standalone_svg(drawn))


def replaced(text: str, name: str, measured: str) -> str:
    """The text with something else between the marks of that name."""
    begin, end = (f"<!-- {name}: {side} -->" for side in ("begin", "end"))
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"the document has no line {begin} followed by one {end}")
    return f"{before}{begin}\n\n{measured}\n\n{end}{after}"


def _where(machine: Row) -> str:
    """Day, machine, versions and commit."""
    named = ("python", "torch", "torchvision", "pillow", "numpy")
    packages = ", ".join(f"{name} {machine[name]}" for name in named)
    commit = f"commit {machine['commit'][:10]}" if machine["commit"] else "no commit"
    changed = " with changes" if machine["dirty"] else ""
    return f"{machine['date']}, {machine['cores']} cores of {machine['processor']}; {packages}; {commit}{changed}"


def _origin(results: Row) -> str:
    images = results["images"]
    return (
        f"{_where(results['machine'])}; lightning {results['machine']['lightning']}. Median of {results['repeats']}"
        f" rounds, the range in brackets; {images['train']:,} training and {images['test']:,} test images; lenetlab"
        f" trains {results['seeds']} seeds for {results['epochs']} epochs."
    )


def _epochs(rows: Sequence[Row], images: int) -> str:
    lines = [
        (
            f"**{row['name']}**" if row["name"] == OURS else row["name"],
            _shown(row["seconds"], 2),
            f"{images / _median(row):,.0f}",
            _shown(row["times_ours"], 2) if "times_ours" in row else "–",
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


def _floors(results: Row) -> dict[str, dict[str, float]]:
    """For each variant the seconds of an epoch and its evaluation if all were matrix products at full speed."""
    found = [row for row in results["cases"] if row["group"] == "floor"]
    if not found:
        return {}
    images, measured = results["images"], found[0]["measurements"]
    speeds = {how: median(one["gflops"][how] for one in measured) * 1e9 for how in ("thread", "processes")}
    floors = {}
    for variant, count in measured[0]["flops"].items():
        total = images["train"] * count["train"] + images["test"] * count["evaluate"]
        floors[variant] = {how: total / speed for how, speed in speeds.items()}
        floors[variant] |= {f"{what}_mflop": count[what] / 1e6 for what in ("train", "evaluate")}
    return floors


def _speeds(row: Row) -> str:
    ways = {"thread": "one thread", "threads": "one process, a thread per core", "processes": "a process per core"}
    lines = [
        (words, _shown(spread([found["gflops"][how] for found in row["measurements"]]), 0))
        for how, words in ways.items()
    ]
    return table(("how", "GFLOP/s"), lines)


def _files(rows: Sequence[Row]) -> str:
    lines = [(row["name"], _shown(row["seconds"], 2), f"{_median_of(row, 'process'):.2f}") for row in rows]
    return table(("what", "s", "whole process with its imports, s"), lines)


def _overheads(rows: Sequence[Row]) -> str:
    return table(("what", "whole process, s"), [(row["name"], _shown(row["seconds"], 2)) for row in rows])


def _linearity(rows: Sequence[Row]) -> str:
    """Seconds of training all runs together, without the evaluation; per unit they should not change."""
    lines = []
    for name in dict.fromkeys(row["name"] for row in rows):
        group = [row for row in rows if row["name"] == name]
        first = _median_of(group[0], "training") / group[0]["amount"]
        for row in group:
            whole = spread(_all(row, "training"))
            lines.append(
                (name, f"{row['amount']:,}", _shown(whole, 2), f"{whole['median'] / row['amount'] / first:.2f}")
            )
    return table(("lenet5, more and more", "", "s of training", "per unit, against the first"), lines)


def table(heads: Sequence[str], lines: Iterable[Sequence[str]], words: int = 1) -> str:
    """A table in Markdown; behind the first columns, which hold words, figures to the right."""
    rule = "|" + "---|" * words + "--:|" * (len(heads) - words)
    return "\n".join([f"| {' | '.join(heads)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)])


def _shown(values: dict[str, float], digits: int) -> str:
    low, middle, high = (f"{values[key]:,.{digits}f}" for key in ("min", "median", "max"))
    return f"{middle} ({low} to {high})"


def _all(row: Row, key: str) -> list[float]:
    return [found[key] for found in row["measurements"]]


def _median(row: Row) -> float:
    return row["seconds"]["median"]


def _median_of(row: Row, key: str) -> float:
    return median(_all(row, key))


def _names(results: Row, key: str) -> list[str]:
    return list(dict.fromkeys(row[key] for row in results["cases"]))


if __name__ == "__main__":
    document()

"""The tables of `benchmarks.simulation` as Markdown."""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import write
from lenetlab.statistics import intervals

Row = dict[str, Any]
Column = Callable[[Row], str]


def tables(record: Row) -> str:
    """All results."""
    machine = record["machine"]
    packages = ", ".join(f"{name} {machine[name]}" for name in ("lenetlab", "numpy", "scipy"))
    head = (
        f"{machine['date']}, {packages}. {record['studies']:,} studies per row of normal accuracies,"
        f" {record['whole_studies']:,} per row of whole studies; {record['images']:,} test images each unless the table"
        f" says otherwise; margin of equivalence {points(record['margin'])} points. Shares are in %, with Wilson's 95 %"
        " interval in brackets; differences and deviations are in percentage points. *Images* is the deviation of a"
        " difference that is due to the images."
    )
    parts = [head, _excess(record["rows"]), "Calibration:", _calibration(record["calibration"])]
    for group, (introduction, columns) in TABLES.items():
        if rows := [row for row in record["rows"] if row["group"] == group]:
            lines = [[column(row) for column in columns.values()] for row in rows]
            parts += [introduction, write.table(list(columns), lines)]
    if not record["real"]:
        parts.append("No evaluations of real variants were there, so the rows about them are missing.")
    return "\n\n".join(parts)


def above_level(row: Row) -> list[str]:
    """The kinds of error that this row makes more often than in 5 % of studies, by more than chance."""
    shares = {"better or worse": row["false_difference"], "equivalent": row["false_equivalent"]}
    shares["equivalent, test alone"] = row.get("equivalence_alone", row["false_equivalent"])
    return [kind for kind, found in shares.items() if found["low"] > intervals.LEVEL]


def _excess(rows: Sequence[Row]) -> str:
    independent = [row for row in rows if row["group"] != "split"]  # halves of the same images and seeds
    wrong = [f"{row['group']}, {len(row['truths'])} pairs: {kind}" for row in independent for kind in above_level(row)]
    if wrong:
        return f"**Errors beyond 5 %, with the whole interval above:** {'; '.join(wrong)}."
    worst = max(
        (found for row in independent for found in (row["false_difference"], row["false_equivalent"])),
        key=lambda found: found["share"],
    )
    return f"Every interval of an error rate of the rule reaches below 5 %; the highest rate is {percent(worst)} %."


def percent(found: Row) -> str:
    middle, low, high = (f"{100 * found[part]:.1f}" for part in ("share", "low", "high"))
    return f"{middle} ({low} to {high})"


def points(fraction: float | None, digits: int = 2) -> str:
    return "–" if fraction is None else f"{100 * fraction:.{digits}f}"


def _calibration(rows: Sequence[Row]) -> str:
    heads = ("what", "accuracy", "deviation over seeds", "images")
    keys = ("accuracy", "deviation", "images")
    return write.table(heads, [(row["name"], *(points(row.get(key), 3) for key in keys)) for row in rows])


def _shares(*path: str) -> Column:
    def column(row: Row) -> str:
        found: Any = row
        for key in path:
            found = found[key]
        return percent(found) if found else "–"

    return column


def _whole(*path: str) -> Column:
    def column(row: Row) -> str:
        found = row
        for key in path:
            found = found[key]
        return f"{100 * float(found):.1f}"  # type: ignore[arg-type]

    return column


def _truths(row: Row) -> str:
    kinds = {truth: row["truths"].count(truth) for truth in row["truths"]}
    return ", ".join(f"{count} × {points(truth)}" for truth, count in kinds.items())


PAIRS: dict[str, Column] = {"pairs": lambda row: str(len(row["truths"]))}
IMAGES: dict[str, Column] = {"images": lambda row: points(row["images"])}
NAME: dict[str, Column] = {"": lambda row: row["name"]}
TRUTH: dict[str, Column] = {"truth": lambda row: points(row["truths"][0])}
PREDICTED: dict[str, Column] = {
    "better": _shares("verdicts", "better"),
    "predicted": _whole("predicted", "better"),
    "equivalent": _shares("verdicts", "equivalent"),
    "predicted ": _whole("predicted", "equivalent"),
}
INTERVALS: dict[str, Column] = {
    "intervals contain the truths": _shares("interval"),
    "intervals over seeds": _shares("interval_seeds"),
}
ERRORS: dict[str, Column] = {
    "false better or worse": _shares("false_difference"),
    "equivalent": _shares("verdicts", "equivalent"),
}
TABLES: dict[str, tuple[str, dict[str, Column]]] = {
    "stopping": (
        "**Looked at again and again.** Families of equal pairs; shares of families in which some pair was *better* or"
        " *worse* by this number of seeds. The old rule looked at 6, 9, 12 … 60 seeds and did not correct for it:",
        {
            **PAIRS,
            **IMAGES,
            **{f"old, {seeds}": _shares("old", str(seeds)) for seeds in (6, 12, 24, 60)},
            **{f"new, {seeds}": _shares("false_difference_by", str(seeds)) for seeds in (6, 12, 24, 96)},
        },
    ),
    "margin": (
        "**False *equivalent*.** Families of pairs that all differ by the margin, with up to 96 seeds; shares of"
        " families in which some pair was *equivalent*, by the rule, and if the test of equivalence alone decided:",
        {
            **PAIRS,
            **IMAGES,
            "false equivalent": _shares("false_equivalent"),
            "test alone": _shares("equivalence_alone"),
            "pairs found better": _shares("verdicts", "better"),
        },
    ),
    "passed on": (
        "**What Holm's correction passes on.** Some pairs of the family differ, the others are equal, up to 96"
        " seeds. Once a pair is found, the others get its share of 5 %, also at earlier looks:",
        {
            "true differences": _truths,
            **IMAGES,
            "false better or worse": _shares("false_difference"),
            "different pairs found": _shares("found"),
            "false equivalent": _shares("false_equivalent"),
        },
    ),
    "passed on to equivalence": (
        "The same for *equivalent*: the equal pairs are soon *equivalent*, the last one differs by the margin:",
        {
            "true differences": _truths,
            **IMAGES,
            "false equivalent": _shares("false_equivalent"),
            "test alone": _shares("equivalence_alone"),
            "false better or worse": _shares("false_difference"),
        },
    ),
    "difference": (
        "**What the rule finds.** One pair with up to 36 seeds, beside what `power.chances` predicts. *Estimate* is the"
        " mean difference of the studies that say *better*:",
        {
            "deviation": lambda row: points(row["deviation"], 3),
            **IMAGES,
            **TRUTH,
            **PREDICTED,
            "inconclusive": _shares("verdicts", "inconclusive"),
            "mean seeds": lambda row: f"{row['mean_seeds']:.1f}",
            "estimate": lambda row: points(row["estimate_if_better"], 3),
        },
    ),
    "whole": (
        "**Whole studies**, 12 seeds, looked at with 6, 9 and 12. Equal candidates against one baseline. The"
        " intervals, of 95 % each, are not corrected for looks or family; all of a family must contain the truth:",
        {"effect of images": NAME[""], **PAIRS, **ERRORS, **INTERVALS},
    ),
    "whole, different": (
        "Whole studies of one pair that differs, beside what `power.chances` predicts:",
        {"effect of images": NAME[""], **TRUTH, **PREDICTED, **INTERVALS},
    ),
    "few images": (
        "**Few test images.** One pair with 12 seeds; the candidate has an accuracy of 99.5 %. With one image, or where"
        " nothing varies, there is no verdict:",
        {
            "baseline": NAME[""],
            "test images": lambda row: str(row["test_images"]),
            "false better or worse": _shares("false_difference"),
            "false equivalent": _shares("false_equivalent"),
            **{word: _shares("verdicts", word) for word in ("better", "equivalent", "inconclusive")},
        },
    ),
    "split": (
        "**Real variants.** Seeds of one variant divided into two halves at random, on the real test images. These"
        " studies are not independent:",
        {**NAME, "seeds": lambda row: str(row["seeds"]), **ERRORS},
    ),
    "resampled": (
        "Seeds and images of real variants, drawn with replacement, 12 seeds: a variant against itself, and two"
        " variants on images with weights that make them equal:",
        {**NAME, **ERRORS, **INTERVALS},
    ),
}

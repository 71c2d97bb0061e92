"""What lenetlab check says about families, errors and time."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lenetlab.errors import UserError
from lenetlab.planning import duration, outlook, unfinished
from lenetlab.settings import params, study_schema
from lenetlab.statistics import power, sequential
from tests.settings import example

SPEEDS = duration.Speeds(defaultdict(lambda: 5.0), 6, 2, 55_000, "cpu: a processor")
PAIR = {"candidate": "lenet5", "baseline": "mlp"}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> study_schema.Study:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(duration, "known_speeds", lambda _: SPEEDS)
    example.write_params(tmp_path)
    return params.load(tmp_path / "params.yaml")


def with_seeds(study: study_schema.Study, seeds: int, most: int, **by_variant: int) -> study_schema.Study:
    variants = {
        name: study.variants[name].model_copy(update={"seeds": tuple(range(number))})
        for name, number in by_variant.items()
    }
    settle = study_schema.SettleSettings(most=most)
    changes = {"seeds": tuple(range(seeds)), "settle": settle, "variants": {**study.variants, **variants}}
    return study.model_copy(update=changes)


def with_families(study: study_schema.Study, **families: Sequence[dict]) -> study_schema.Study:
    comparisons = {
        name: tuple(study_schema.DeclaredComparison(**pair) for pair in pairs) for name, pairs in families.items()
    }
    return study.model_copy(update={"comparisons": comparisons})


def families(study: study_schema.Study) -> list[str]:
    return [line for line in outlook.lines(study) if line.startswith("comparisons.")]


def time_lines(study: study_schema.Study) -> list[str]:
    lines = list(outlook.lines(study))
    return lines[next(place for place, line in enumerate(lines) if line.startswith("training:")) :]


def test_a_family_finds_smaller_differences_with_most_seeds(study):
    plans = [sequential.Plan.of(seeds, 36) for seeds in (6, 36)]
    now, later = (f"{100 * power.detectable(power.TYPICAL, 2, 0.002, plan):.2f}" for plan in plans)
    assert float(later) < float(now) / 1.5
    assert families(study) == [
        f"comparisons.headline: the smallest difference of test accuracy that is found with 80 % power: {now}"
        f" percentage points with 6 seeds each, {later} percentage points with 36 seeds each (`make settle`)"
        " (comparisons: 2; variances usual on MNIST)"
    ]


@pytest.mark.parametrize("most", [0, 6])
def test_seeds_that_are_not_added_are_not_mentioned(study, most):
    [line] = families(with_seeds(study, 6, most))
    assert "with 6 seeds each" in line
    assert "settle" not in line


def test_all_measures_of_a_family_count(study):
    pairs = [PAIR, *({**PAIR, "measure": measure} for measure in ("test_loss", "gap"))]
    [line] = families(with_families(study, one=pairs))
    least = power.detectable(power.TYPICAL, 3, 0.002, sequential.Plan.of(6, 36))
    assert f"{100 * least:.2f} percentage points with 6 seeds each" in line
    assert "(comparisons: 3;" in line


def test_a_family_without_accuracy(study):
    [line] = families(with_families(study, one=[{**PAIR, "measure": "test_loss"}]))
    assert line == (
        "comparisons.one: no comparison of test accuracy; what 6 seeds each can find is known after training"
    )


def test_the_variant_with_the_fewest_seeds_decides(study):
    [line] = families(with_seeds(study, 12, 12, mlp=9))
    assert "with 9 seeds each" in line


FEW = [
    # most, seeds, comparisons, what it says; 2/924 allows seven at six seeds if there are more looks, else 23
    (36, 5, 2, "no verdict is possible with 5 seeds each: the first look is at 6 seeds; needed: 6; the smallest"),
    (36, 1, 2, "no verdict is possible with 1 seed each: the first look is at 6 seeds; needed: 6; the smallest"),
    (36, 5, 8, "no verdict is possible with 5 seeds each: the first look is at 6 seeds; needed: 9; the smallest"),
    (36, 6, 8, "no verdict can be better or worse: with 6 seeds each, p cannot be small enough among 8 comparisons;"),
    (6, 6, 8, "needed: 9, and settle.most must not be less (it is 6)"),
    (0, 1, 2, "no verdict is possible with 1 seed each: one seed has no variance; needed: 5"),
    (0, 3, 2, "no verdict can be better or worse: with 3 seeds each, p cannot be small enough among 2 comparisons;"),
    (0, 3, 1, "with 3 seeds each, p cannot be small enough among 1 comparison; needed: 4"),
    (0, 4, 2, "needed: 5"),
    (0, 5, 7, "needed: 6"),
    (0, 6, 24, "needed: 7"),
]


@pytest.mark.parametrize(("most", "seeds", "comparisons", "text"), FEW)
def test_seeds_that_are_too_few(study, most, seeds, comparisons, text):
    [line] = families(with_families(with_seeds(study, seeds, most), one=[PAIR] * comparisons))
    assert text in line
    if most <= seeds or most == 6:
        assert "the smallest difference" not in line


@pytest.mark.parametrize(("most", "seeds", "comparisons"), [(36, 6, 7), (0, 4, 1), (0, 5, 6), (0, 6, 23)])
def test_seeds_that_are_just_enough(study, most, seeds, comparisons):
    [line] = families(with_families(with_seeds(study, seeds, most), one=[PAIR] * comparisons))
    assert line.startswith("comparisons.one: the smallest difference")


@pytest.mark.parametrize(
    ("count", "end"),
    [(1, "of any wrong equivalent at most 5 %"), (2, "at most 10 % each"), (30, "at most 100 % each")],
)
def test_errors_add_up_over_families(study, count, end):
    several = with_families(study, **{f"f{number}": [PAIR] for number in range(count)})
    [line] = [line for line in outlook.lines(several) if line.startswith("errors:")]
    assert line.endswith(end)


def test_a_study_without_comparisons_has_a_time_only(study):
    lines = list(outlook.lines(with_families(study)))
    assert lines[0].startswith("training: about ")
    assert "settle" not in lines[0]


def test_the_time_of_all_trainings_and_of_those_that_settle_may_add(study):
    soon = duration.in_words(duration.seconds(SPEEDS, study, dict.fromkeys(study.study, 6)))
    later = duration.in_words(duration.seconds(SPEEDS, study, dict.fromkeys(study.study, 30)))
    assert time_lines(study) == [
        f"training: about {soon} for 18 trainings; at most {later} more if `make settle` goes to 36 seeds (open"
        " comparisons only)",
        "these times are for 55,000 images on an otherwise idle machine (cpu: a processor; 2 processes)",
    ]


@pytest.mark.parametrize(
    ("to_do", "most", "start"),
    [
        ({"mlp": 6}, 0, r"about \d+ min for 6 trainings; 12 of 18 are finished$"),
        ({"mlp": 1}, 0, r"about \d+ min for 1 training; 17 of 18 are finished$"),
        ({"mlp": 0}, 0, r"all 18 trainings are finished$"),
        ({"mlp": 0}, 36, r"all 18 trainings are finished; at most [\dhmin ]+ more if"),
    ],
)
def test_finished_trainings_take_no_time(study, monkeypatch, to_do, most, start):
    monkeypatch.setattr(unfinished, "count", lambda _: dict.fromkeys(study.study, 0) | to_do)
    assert re.match(f"training: {start}", time_lines(with_seeds(study, 6, most))[0])


def test_variants_without_comparisons_get_no_seeds(study):
    one_pair = with_families(study, one=[PAIR])
    later = duration.in_words(duration.seconds(SPEEDS, study, {"lenet5": 30, "mlp": 30}))
    assert f"at most {later} more" in time_lines(one_pair)[0]


def measuring(monkeypatch: pytest.MonkeyPatch, measure: Callable) -> None:
    monkeypatch.setattr(duration, "known_speeds", lambda _: None)
    monkeypatch.setattr(duration, "measure_speeds", measure)


def test_it_says_that_it_measures_before_it_does(study, monkeypatch):
    calls = []
    measuring(monkeypatch, lambda measured: calls.append(measured) or SPEEDS)
    lines = outlook.lines(study)
    while not next(lines).startswith("training: measuring the speed of this machine for some seconds"):
        pass
    assert calls == []
    assert next(lines).startswith("training: about ")
    assert calls == [study]


def test_a_failed_measurement_is_no_error_of_the_settings(study, monkeypatch):
    def fail(_: study_schema.Study) -> None:
        raise UserError("a worker process died: signal SIGKILL: out of memory?")

    measuring(monkeypatch, fail)
    assert time_lines(study)[-1] == (
        "training: the time it takes is not known: a worker process died: signal SIGKILL: out of memory?"
    )


def test_nothing_is_measured_if_nothing_is_to_be_trained(study, monkeypatch):
    measuring(monkeypatch, lambda _: pytest.fail("measured"))
    monkeypatch.setattr(unfinished, "count", lambda _: dict.fromkeys(study.study, 0))
    assert time_lines(with_seeds(study, 6, 6)) == ["training: all 18 trainings are finished"]

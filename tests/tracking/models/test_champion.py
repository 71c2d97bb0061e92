"""The rule by which a variant becomes champion."""

import pytest

from lenetlab.tracking.models import champion, registry

TRAINED = {name: f"fingerprint of {name}" for name in "abc"}


def present(variant: str, fingerprint: str | None = None, data: str = "digits") -> champion.Champion:
    return champion.Champion("1", variant, fingerprint or TRAINED.get(variant, "gone"), data)


@pytest.mark.parametrize(
    ("before", "wins", "variant", "reason"),
    [
        (None, ["ab"], "a", "a is better than b"),
        (None, ["ab", "ca", "cb"], "c", "c is better than a, b"),
        (None, [], None, "no champion: no comparison of test accuracy says better"),
        (None, ["ab", "cb"], None, "no champion: a, c won, and no verdict is between them"),
        (present("b"), ["ab"], "a", "a is better than b"),
        (present("a"), ["ab"], None, "a is champion (version 1): no verdict says that another variant is better"),
        (present("b"), [], None, "b is champion (version 1): no verdict says that another variant is better"),
        (
            present("b"),
            ["ac"],
            None,
            "b is champion (version 1): no verdict says that another variant is better",
        ),  # not about b
        (present("b"), ["ab", "cb"], None, "b is champion (version 1): a, c won, and no verdict is between them"),
        (present("b"), ["ab", "cb", "ca"], "c", "c is better than b"),
    ],
)
def test_only_a_verdict_about_the_champion_moves_it(before, wins, variant, reason):
    assert champion.decide(before, {tuple(pair) for pair in wins}, TRAINED, "digits") == (
        champion.Decision(variant, reason)
    )


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (
            present("version 7", data=""),  # the user set the alias
            "version 7 is champion (version 1): lenetlab did not make this version, so no verdict is about it; ",
        ),
        (
            present("b", data="letters"),
            "b is champion (version 1): it was trained on other data, so no verdict is about it; ",
        ),
        (
            present("b", "before"),
            "b is champion (version 1): its training is no longer in the study, so no verdict is about it",
        ),
        (
            present("d"),
            "d is champion (version 1): its training is no longer in the study, so no verdict is about it; ",
        ),
    ],
)
def test_a_champion_that_the_study_does_not_compare_stays(before, reason):
    decision = champion.decide(before, {("a", "b"), ("a", "d")}, TRAINED, "digits")
    assert decision.variant is None
    assert decision.reason.startswith(reason)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("mnist", "lenetlab-mnist"),
        ("My Images: 50%.tar", "lenetlab-my-images-50-tar"),
        ("«»", "lenetlab-images"),
        ("mnist with extra test images", "lenetlab-mnist-with-extra-test-images"),
    ],
)
def test_a_registered_model_has_a_name_that_mlflow_allows(data, name):
    assert registry.name_of(data) == name

"""Seeds are written into params.yaml, and every other character stays."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from lenetlab.errors import UserError
from lenetlab.settings import edit, params
from tests.settings import example

FILE = Path("params.yaml")
ROOT = Path(__file__).parents[2]
INPUT = "    input: {size: 32, resize: pad, normalize: true}\n"  # the first line of a block of the example
MLP = f"  mlp:\n{INPUT}"
LIST = "    - 0\n    - 5\n    - 1\n"


def edited(text: str, **seeds: int | tuple[int, ...]) -> str:
    numbers = {name: tuple(range(value)) if isinstance(value, int) else value for name, value in seeds.items()}
    return edit.with_seeds(FILE, text, numbers)


def with_mlp(lines: str) -> str:
    """The example, in which the block of mlp begins with these lines."""
    return example.PARAMS.replace(MLP, lines)


@pytest.mark.parametrize(
    ("seeds", "number", "more"),
    [
        ((0, 1, 2), 5, (0, 1, 2, 3, 4)),
        ((5, 7), 4, (5, 7, 0, 1)),
        ((1, 0), 4, (1, 0, 2, 3)),
        ((0, 1, 2), 2, (0, 1, 2)),  # never fewer
    ],
)
def test_new_seeds_are_the_smallest_that_are_not_there(seeds, number, more):
    assert edit.extend(seeds, number) == more


@pytest.mark.parametrize(
    ("before", "seeds", "after"),
    [
        (MLP, 9, f"  mlp:\n    seeds: 9\n{INPUT}"),
        (MLP, (5, 7, 0), f"  mlp:\n    seeds:\n    - 5\n    - 7\n    - 0\n{INPUT}"),
        (MLP, (1, 0), f"  mlp:\n    seeds:\n    - 1\n    - 0\n{INPUT}"),  # the order is a part of them
        (f"  mlp:  # {{\n\n    # why\n{INPUT}", 9, f"  mlp:  # {{\n\n    # why\n    seeds: 9\n{INPUT}"),
        (f"{MLP}    seeds: 6  # six\n", 9, f"{MLP}    seeds: 9  # six\n"),
        (f"{MLP}    seeds: [0, 1]   # two\n", 3, f"{MLP}    seeds: 3   # two\n"),
        (f"{MLP}    'seeds'  : [0, 5]\n", (0, 5, 1), f"{MLP}    'seeds'  :\n    - 0\n    - 5\n    - 1\n"),
        (f"{MLP}    seeds: [0,\n      5]  # two\n", (0, 5, 1), f"{MLP}    seeds:  # two\n{LIST}"),
        (f"{MLP}    seeds:\n      - 0\n      - 1  # one\n\n", 3, f"{MLP}    seeds: 3  # one\n\n"),
        (f"{MLP}    seeds:\n    - 0\n    - 5\n", (0, 5, 1), f"{MLP}    seeds:\n{LIST}"),
        (
            f"{MLP}    seeds:  # a\n      - 0\n      - 5  # b\n",
            (7, 0),
            f"{MLP}    seeds:  # a\n      - 7\n      - 0  # b\n",
        ),
        (f"{MLP}    seeds:\n      [0, 1]\n", 3, f"{MLP}    seeds: 3\n"),
        (f"  mlp:\n    seeds:  # none\n{INPUT}", 3, f"  mlp:\n    seeds: 3  # none\n{INPUT}"),
        (f"{MLP}    seeds: null\n", 3, f"{MLP}    seeds: 3\n"),
        (f"  mlp:\n    seeds:  # none\n{INPUT}", (0, 5, 1), f"  mlp:\n    seeds:  # none\n{LIST}{INPUT}"),
    ],
)
def test_only_the_seeds_of_a_block_change(before, seeds, after):
    assert edited(with_mlp(before), mlp=seeds) == with_mlp(after)


BRACES = """\
{MODEL: {name: mlp, hidden: [59], activation: relu}, input: {size: 32, resize: pad, normalize: true},
    regularization: {batch_norm: false, dropout: 0.0, weight_decay: 0, label_smoothing: 0, augmentation: none}}
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("MODEL", "seeds: 9, model"),
        ("\n    # why\n    MODEL", "\n    # why\n    seeds: 9, model"),
        ("'seeds': [0, 1], MODEL", "'seeds': 9, model"),
        ("seeds: 6 , MODEL", "seeds: 9 , model"),
    ],
)
def test_only_the_seeds_of_a_block_in_braces_change(before, after):
    start, _, rest = example.PARAMS.partition(MLP)
    rest = rest[rest.index("  lenet5-regularized:") :]
    text = f"{start}  mlp: {BRACES.replace('MODEL', before).replace('MODEL', 'model')}{rest}"
    assert edited(text, mlp=9) == f"{start}  mlp: {BRACES.replace('MODEL', after)}{rest}"


def test_several_variants_at_once():
    text = example.PARAMS.replace(INPUT, "    seeds: 6\n" + INPUT)
    assert edited(text, **{"mlp": 9, "lenet5-regularized": (3, 4)}) == (
        text[: text.index(MLP[:7])]
        + text[text.index(MLP[:7]) :].replace("seeds: 6", "seeds: 9", 1).replace("seeds: 6", "seeds:\n    - 3\n    - 4")
    )


def test_line_ends_and_a_mark_at_the_start_stay():
    text = "\ufeff" + example.PARAMS.replace("\n", "\r\n")
    assert edited(text, mlp=9) == text.replace("  mlp:\r\n", "  mlp:\r\n    seeds: 9\r\n")


def test_the_file_of_the_project():
    text = (ROOT / FILE).read_text()
    for name in params.parse(FILE, text).variants:
        lines, new = text.splitlines(), edited(text, **{name: 12}).splitlines()
        assert [line for line in new if line != "    seeds: 12"] == [line for line in lines if line != "    seeds: 12"]
        assert params.parse(FILE, "\n".join(new)).seeds_of(name) == tuple(range(12))


@pytest.mark.parametrize(
    "lines",
    [
        f"{MLP}    seeds:  # mine\n    - 0\n",
        f"{MLP}    seeds: [0,  # mine\n      1]\n",
        f"{MLP}    seeds: *epochs\n",  # of training
        f"  mlp: &mlp\n{INPUT}",  # which another variant takes over
    ],
)
def test_a_layout_that_needs_a_person_is_an_error(lines):
    text = with_mlp(lines).replace("epochs: 10", "epochs: &epochs 10") + "  copy:\n    <<: *mlp\n" * ("&mlp" in lines)
    params.parse(FILE, text)
    with pytest.raises(UserError, match=r"^params.yaml: variants.mlp.seeds: 12 cannot be added .*write it by hand$"):
        edited(text, mlp=12)


def test_a_merge_into_the_variant_itself_is_no_obstacle():
    text = example.PARAMS.replace("  lenet5:\n", "  lenet5: &base\n").replace(
        MLP, "  mlp:\n    <<: *base\n    seeds: 6\n"
    )
    assert edited(text, mlp=9) == text.replace("seeds: 6", "seeds: 9")
    assert edited(text.replace("    seeds: 6\n", ""), mlp=9) == text.replace(
        "    <<: *base\n    seeds: 6\n", "    seeds: 9\n    <<: *base\n"
    )


FORMS = (
    "", "seeds: 4", "seeds: [0, 1]", "seeds: [ 7,5 ]", "seeds: [0,\n      1]", "seeds:\n      - 0\n      - 3",
    "seeds:\n    - 0\n    - 3", "seeds: null", "seeds:", '"seeds": [3]',
)  # fmt: skip
COMMENTS = ("", "  # why", "  # seeds: 3, {a: [b]}", " # ä ✓")


@given(
    forms=some.lists(some.sampled_from(FORMS), min_size=3, max_size=3),
    comments=some.lists(some.sampled_from(COMMENTS), min_size=3, max_size=3),
    first=some.booleans(),
    line_end=some.sampled_from(("\n", "\r\n")),
    wanted=some.dictionaries(
        some.sampled_from(("lenet5", "mlp", "lenet5-regularized")),
        some.one_of(
            some.integers(1, 36).map(lambda number: tuple(range(number))),
            some.lists(some.integers(0, 2**32 - 1), min_size=1, max_size=5, unique=True).map(tuple),
        ),
        min_size=1,
    ),
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_layout_only_these_seeds_change(forms, comments, first, line_end, wanted):
    parts = iter(zip(forms, comments, strict=True))

    def block(_: re.Match[str]) -> str:
        form, comment = next(parts)
        line = f"    {form}{comment}\n" if form else ""
        return line + INPUT if first else INPUT + line

    text = re.sub(re.escape(INPUT), block, example.PARAMS).replace("\n", line_end)
    old, changed = params.parse(FILE, text), edit.with_seeds(FILE, text, wanted)
    new = params.parse(FILE, changed)
    for name in old.study:
        assert new.seeds_of(name) == wanted.get(name, old.seeds_of(name))

    def others(lines: str) -> list[str]:
        return [
            line for line in lines.split(line_end) if not re.match(r" {4,6}(\"?seeds|- [0-9]+$|- [0-9]+ |1\])", line)
        ]

    assert others(changed) == others(text)
    assert all(changed.count(comment) == text.count(comment) for comment in filter(None, comments))
    assert ("\r" in changed) == ("\r" in text)


VALUES = {
    ("data", "source"): "images",
    ("data", "size"): "64",
    ("data", "classes"): "[cat, dog]",
    ("study",): "\n- small",
    ("data", "accept"): "\n- grey\n- jpeg",
    ("seeds",): "[1, 2]",
}
SETTINGS = """\
seeds: 6            # a number
study:              # names
  - large  # why
  - small

# about data
data:
  source: data/mnist.toml  # a path
  classes:
    - one
    - two
  validation: 5  # images

# the end
"""


def test_values_are_written_and_comments_of_other_lines_stay():
    assert (
        edit.with_values(FILE, SETTINGS, VALUES)
        == """\
seeds: [1, 2]       # a number
study:              # names
- small

# about data
data:
  source: images           # a path
  classes: [cat, dog]
  validation: 5  # images
  accept:
  - grey
  - jpeg
  size: 64

# the end
"""
    )


def test_equal_values_stay_as_they_are_written():
    text = edit.with_values(FILE, SETTINGS, VALUES)
    assert edit.with_values(FILE, text, {**VALUES, ("seeds",): "\n  - 1\n  - 2", ("data", "size"): "0x40"}) == text


def test_values_in_braces_are_written():
    values = {("data", "size"): "\n- 3\n- 4", ("data", "source"): "b"}
    assert edit.with_values(FILE, "data: {source: a}  # c\n", values) == "data: {size: [3, 4], source: b}  # c\n"


@pytest.mark.parametrize(
    "text",
    [
        "data: &same\n  size: 28\nother: *same\n",  # the other block would change as well
        "data:\n  size: [28,  # why\n    28]\n",
        "other: 1\n",
    ],
)
def test_values_without_a_place_of_their_own_are_refused(text):
    with pytest.raises(UserError, match=r"params.yaml: data.size: 64 cannot be written"):
        edit.with_values(FILE, text, {("data", "size"): "64"})


def test_a_value_on_the_line_after_its_key_in_braces_is_replaced():
    """As YAML writers wrap long blocks."""
    text = "training: {epochs: 1, learning_rate:\n    0.01, momentum: 0.9}\n"
    changed = edit.with_values(Path("params.yaml"), text, {("training", "learning_rate"): "0.003"})
    assert changed == "training: {epochs: 1, learning_rate: 0.003, momentum: 0.9}\n"

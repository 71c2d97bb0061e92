"""Numbers as text."""

import pytest

from lenetlab.statistics import formatting


def test_a_missing_number_is_a_dash():
    assert [formatting.percent(None), formatting.points(None), formatting.span(None)] == ["–"] * 3
    assert formatting.points_span(None) == "–"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (formatting.percent(0.98765), "98.77"),
        (formatting.percent(1.0), "100.00"),
        (formatting.points(0.01349), "+1.35"),
        (formatting.points(-0.1), "−10.00"),
        (formatting.points(0.1), "+10.00"),
        (formatting.points(-0.00001), "0.00"),
        (formatting.points(0.0), "0.00"),
        (formatting.span((0.9, 0.95)), "90.00 to 95.00"),
        (formatting.points_span((-0.001, 0.002)), "−0.10 to +0.20"),
        (formatting.p_value(1.0), "1.0"),
        (formatting.p_value(0.07), "0.070"),
        (formatting.p_value(0.0043290), "0.0043"),
        (formatting.p_value(0.00001), "< 0.0001"),
        (formatting.p_value(0.0001), "0.00010"),
        (formatting.p_equals(0.00001), "< 0.0001"),
        (formatting.p_equals(0.013), "= 0.013"),
        (formatting.whole(61706), "61,706"),
        (formatting.three_digits(0), "0"),
        (formatting.three_digits(31_297), "31,300"),
        (formatting.three_digits(3.10), "3.1"),
        (formatting.three_digits(0.00001234), "0.0000123"),
        (formatting.duration(9000), "2.5 h"),
        (formatting.duration(60), "1 min"),
        (formatting.duration(4.631), "4.63 s"),
        (formatting.duration(0.44), "440 ms"),
        (formatting.duration(0.000145), "145 µs"),
        (formatting.duration(0), "0 µs"),
    ],
)
def test_numbers_are_rounded(text, expected):
    assert text == expected

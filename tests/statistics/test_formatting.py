"""Numbers as text."""

from lenetlab.statistics import formatting


def test_what_is_not_there_is_a_dash():
    assert [formatting.percent(None), formatting.points(None), formatting.span(None)] == ["–"] * 3

"""Problems with many files as few lines: equal ones together, with the first place."""

from dataclasses import dataclass, field

from lenetlab.data import archive

MAX_LINES = 20  # per error message


@dataclass
class Grouped:
    """Places by problem: (noun in singular, what they are, remedy)."""

    places: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)

    def add(self, noun: str, what: str, remedy: str, place: str) -> None:
        self.places.setdefault((noun, what, remedy), []).append(place)

    def lines(self) -> list[str]:
        """A line per problem, the most frequent first."""
        found = sorted(self.places.items(), key=lambda item: -len(item[1]))
        lines = []
        for (noun, what, remedy), places in found:
            first = archive.quoted_path(places[0])
            count = f"{len(places):,} {noun}s are {what}, the first is {first}" if places[1:] else f"{first}: {what}"
            lines.append(f"{count}; {remedy}")
        return archive.first_problems(lines, MAX_LINES)

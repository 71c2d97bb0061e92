"""The rule by which a variant becomes champion: only a verdict on test accuracy moves it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from lenetlab.prediction import verdicts


@dataclass(frozen=True)
class Champion:
    """The registered champion, from the tags of its version."""

    version: str
    variant: str
    fingerprint: str  # of the variant's training
    data: str  # the start of the digest of the training data


@dataclass(frozen=True)
class Decision:
    """Who becomes champion (None: nothing changes), and why."""

    variant: str | None
    reason: str


def decide(
    champion: Champion | None, wins: Collection[tuple[str, str]], trained: Mapping[str, str], data: str
) -> Decision:
    """`wins`: pairs of a better and a worse variant, of the present trainings; `trained`: fingerprint by variant."""
    if champion is None:
        found = verdicts.undefeated(wins)
        return _only(found, dict.fromkeys(found, wins), "no champion: no comparison of test accuracy says better")
    name = f"{champion.variant} is champion (version {champion.version})"
    if not champion.data:
        return Decision(None, f"{name}: lenetlab did not make this version, so no verdict is about it; {BY_HAND}")
    if champion.data != data:
        return Decision(None, f"{name}: it was trained on other data, so no verdict is about it; {BY_HAND}")
    if trained.get(champion.variant) != champion.fingerprint:
        return Decision(None, f"{name}: its training is no longer in the study, so no verdict is about it; {BY_HAND}")
    better = {winner for winner, loser in wins if loser == champion.variant}
    best = sorted(better - {loser for winner, loser in wins if winner in better})
    return _only(
        best,
        {one: [(one, champion.variant)] for one in best},
        f"{name}: no verdict says that another variant is better",
    )


BY_HAND = "to let the next winner take its place, delete the alias champion in MLflow"


def _only(found: list[str], wins: Mapping[str, Collection[tuple[str, str]]], otherwise: str) -> Decision:
    if len(found) > 1:
        return Decision(None, f"{otherwise.partition(':')[0]}: {', '.join(found)} won, and no verdict is between them")
    if not found:
        return Decision(None, otherwise)
    beaten = sorted({loser for winner, loser in wins[found[0]] if winner == found[0]})
    return Decision(found[0], f"{found[0]} is better than {', '.join(beaten)}")

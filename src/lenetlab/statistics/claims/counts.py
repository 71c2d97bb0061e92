"""The study's answers to published statements: confirmed, refuted or undecided.

What paper and pencil can decide needs no training. A stated figure is held against what one more training would show, a
stated order against tests over the seeds. Each statement is judged alone: nothing is corrected for how many there are,
except what a declared comparison already corrects.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lenetlab.settings import schema
from lenetlab.settings.claims import AddedLayersClaim, CountClaim, DifferentSettingClaim, LayerCountClaim, PairClaim
from lenetlab.statistics import comparison
from lenetlab.statistics.claims.evidence import Finding, combine

ABOUT = 10  # per cent: how far a difference may be from the stated one

BIASED = ("Conv2d", "PartialConv2d", "Linear")  # kinds of layers with a bias for each output


def parameter_count(claim: CountClaim, layers: list[dict[str, Any]]) -> Finding:
    """Paper and pencil: whole numbers that are right or wrong."""
    by_name = {layer["name"]: layer for layer in layers}
    counts = []
    if claim.value is not None:
        own = [layer["parameters"] for layer in layers if layer["parameters"]]
        total, terms = sum(own), " + ".join(f"{count:,}" for count in own)
        counts.append(compare_count(f"{terms} add up to", claim.value, total, sum(map(_biases, layers))))
    for name, value in (claim.layers or {}).items():
        part = compare_count(f"{name} has", value, by_name[name]["parameters"], _biases(by_name[name]))
        counts.append(replace(part, found=f"{name} {part.found}"))
    inputs = []
    for name, value in (claim.inputs or {}).items():
        reads = _reads(layers, name)
        verdict, but = ("confirmed", "") if reads == value else ("refuted", f", not {value:,}")
        inputs.append(Finding(verdict, f"{name} reads {reads:,}", f"{name} reads {reads:,}{but}"))
    found = combine([*counts, *inputs])
    # The statement is about one network: where its inputs are right, its counts are those of that very network.
    if inputs and found.verdict == "refuted" and all(part.verdict == "confirmed" for part in inputs):
        holds = " and ".join(part.reason for part in inputs)
        return replace(found, reason=f"both cannot hold: where {holds}, {found.reason}")
    return found


def compare_count(subject: str, stated: int, found: int, biases: int = 0) -> Finding:
    """A stated whole number against the true one, and by what rule it may have come about."""
    if stated == found:
        return Finding("confirmed", f"{found:,}", f"{subject} {found:,}")
    if biases and stated == found - biases:
        how = f"{biases:,} of them biases, which are missing in the stated {stated:,}"
    elif stated and found and max(stated, found) % min(stated, found) == 0:
        factor = max(stated, found) // min(stated, found)
        times = "twice" if factor == 2 else f"{factor:,} times"
        how = (
            f"{times} the stated {stated:,}" if found > stated else f"and the stated {stated:,} is exactly {times} that"
        )
    else:
        how = f"{abs(found - stated):,} {'more' if found > stated else 'fewer'} than the stated {stated:,}"
    return Finding("refuted", f"{found:,}", f"{subject} {found:,}, {how}")


def _biases(layer: Mapping[str, Any]) -> int:
    return int(layer["output"].split("×")[0]) if layer["kind"] in BIASED else 0


def _reads(layers: list[dict[str, Any]], name: str) -> int:
    """Maps or values that a layer is given: what the one before it yields, and one map of pixels at first."""
    at = [layer["name"] for layer in layers].index(name)
    return int(layers[at - 1]["output"].split("×")[0]) if at else 1


def relate_counts(claim: PairClaim, stated: str | int, study: schema.Study) -> Finding:
    """Two numbers of parameters: similar, fewer, more, or about so many apart."""
    candidate, baseline = (study.variants[name].parameters for name in (claim.candidate, claim.baseline))
    apart, smaller = abs(candidate - baseline), min(candidate, baseline)
    if isinstance(stated, int):
        holds = 100 * abs(apart - stated) <= ABOUT * stated
        reason = f"they are {apart:,} apart, {'' if holds else 'not '}within {ABOUT} % of {stated:,}"
    elif stated == "similar":
        holds, ratio = 100 * apart <= comparison.SIMILAR * smaller, 1 + apart / smaller
        larger = f"{100 * (ratio - 1):.1f} % above" if ratio < 2 else f"{ratio:.1f} times"
        reason = f"the larger number is {larger} the smaller, and similar means at most {comparison.SIMILAR} %"
    else:
        holds = candidate < baseline if stated == "fewer" else candidate > baseline
        order = f"{apart:,} {'fewer' if candidate < baseline else 'more'} than" if apart else "as many as"
        reason = f"{claim.candidate} has {order} {claim.baseline}"
    found = f"{candidate:,} against {baseline:,} parameters"
    return Finding("confirmed" if holds else "refuted", found, reason)


def layer_counts(claim: LayerCountClaim, layers: list[dict[str, Any]]) -> Finding:
    parts = []
    for kind, stated in claim.layers.items():
        names = [layer["name"] for layer in layers if layer["kind"] == kind]
        which = f" ({', '.join(names)})" if names else ""
        verdict, but = ("confirmed", "") if len(names) == stated else ("refuted", f", not {stated}")
        parts.append(Finding(verdict, f"{kind} {len(names)}", f"{claim.variant} has {len(names)} {kind}{which}{but}"))
    return combine(parts)


def added_layers(claim: AddedLayersClaim, candidate: list[dict[str, Any]], baseline: list[dict[str, Any]]) -> Finding:
    added, more = {}, []
    for kind in dict.fromkeys([*claim.added, *(layer["kind"] for layer in candidate)]):
        ours, theirs = ([layer for layer in side if layer["kind"] == kind] for side in (candidate, baseline))
        added[kind] = len(ours) - len(theirs)
        if added[kind] > 0:
            weights = "with weights" if any(layer["parameters"] for layer in ours) else "without weights"
            more.append(f"{added[kind]} {kind} ({weights})")
    found = ", ".join(more) or "nothing"
    reason = f"what {claim.candidate} adds to {claim.baseline} is {found}"
    if all(added[kind] == count for kind, count in claim.added.items()):
        return Finding("confirmed", found, reason)
    stated = " and ".join(f"{count} {kind}" for kind, count in claim.added.items())
    return Finding("refuted", found, f"{reason}, not {stated}")


def different_setting(claim: DifferentSettingClaim, study: schema.Study) -> Finding:
    block, key = claim.differs.split(".")
    shown = []
    for name in (claim.candidate, claim.baseline):
        settings = study.training_of(name) if block == "training" else getattr(study.variants[name], block)
        value = getattr(settings, key, "none")
        shown.append(", ".join(map(str, value)) if isinstance(value, tuple) else str(value).lower())
    first, second = shown
    if first == second:
        return Finding("refuted", f"{first} in both", f"{claim.differs} is {first} in both")
    reason = f"{claim.differs} is {first} in {claim.candidate} and {second} in {claim.baseline}"
    return Finding("confirmed", f"{first} against {second}", reason)

"""Statements that counting decides, without training: parameters, layers and settings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lenetlab.settings import study_schema
from lenetlab.settings.claim_schema import (
    AddedLayersClaim,
    CountClaim,
    DifferentSettingClaim,
    LayerCountClaim,
    PairClaim,
)
from lenetlab.statistics import comparison
from lenetlab.statistics.claims.evidence import Finding, combine

ABOUT = 10  # per cent: how far a difference of parameters may be from the stated one

BIASED = ("Conv2d", "PartialConv2d", "Linear")  # kinds of layers with a bias for each output

Layers = Sequence[Mapping[str, Any]]  # a layer table


def parameter_count(claim: CountClaim, layers: Layers) -> Finding:
    """Parameters of the network and its layers, and what layers read."""
    by_name = {layer["name"]: layer for layer in layers}
    counts = []
    if claim.value is not None:
        terms = [layer["parameters"] for layer in layers if layer["parameters"]]
        text = f"the network has {' + '.join(f'{term:,}' for term in terms)} = {sum(terms):,} parameters"
        counts.append(compare_count(text, claim.value, sum(terms), sum(map(_biases, layers))))
    for name, value in (claim.layers or {}).items():
        count = by_name[name]["parameters"]
        part = compare_count(f"{name} has {count:,} parameters", value, count, _biases(by_name[name]))
        counts.append(replace(part, found=f"{name} {part.found}"))
    inputs = [_input_count(name, value, layers) for name, value in (claim.inputs or {}).items()]
    finding = combine([*counts, *inputs])
    # The statement is about one network: the counts must be those of the network whose inputs are as stated.
    if inputs and finding.verdict == "refuted" and all(part.verdict == "confirmed" for part in inputs):
        condition = " and ".join(part.reason for part in inputs)
        return replace(finding, reason=f"both cannot be true: if {condition}, {finding.reason}")
    return finding


def compare_count(counted: str, stated: int, count: int, biases: int = 0) -> Finding:
    """A stated number against the counted one, with the error that explains it, if it is a known one.

    `counted` is the sentence that says what was counted.
    """
    if stated == count:
        return Finding("confirmed", f"{count:,}", counted)
    if biases and stated == count - biases:
        how = f"{biases:,} of them biases, which are missing in the stated {stated:,}"
    elif stated and count and max(stated, count) % min(stated, count) == 0:
        factor = max(stated, count) // min(stated, count)
        times = "twice" if factor == 2 else f"{factor:,} times"
        how = (
            f"{times} the stated {stated:,}" if count > stated else f"and the stated {stated:,} is exactly {times} that"
        )
    else:
        how = f"{abs(count - stated):,} {'more' if count > stated else 'fewer'} than the stated {stated:,}"
    return Finding("refuted", f"{count:,}", f"{counted}, {how}")


def _biases(layer: Mapping[str, Any]) -> int:
    return int(layer["output"].split("×")[0]) if layer["kind"] in BIASED else 0


def _input_count(name: str, stated: int, layers: Layers) -> Finding:
    """Maps or values that a layer reads: the outputs of the layer before it, or the one map of pixels."""
    at = [layer["name"] for layer in layers].index(name)
    count = int(layers[at - 1]["output"].split("×")[0]) if at else 1
    text = f"{name} reads {count:,}"
    if count == stated:
        return Finding("confirmed", text, text)
    return Finding("refuted", text, f"{text}, not {stated:,}")


def relate_counts(claim: PairClaim, stated: str | int, study: study_schema.Study) -> Finding:
    """Numbers of parameters of two variants: similar, fewer, more, or (an integer) different by about this many."""
    candidate, baseline = (study.variants[name].parameters for name in (claim.candidate, claim.baseline))
    if candidate is None or baseline is None:
        text = "the number of parameters of a class of yours does not follow from params.yaml"
        return Finding("not applicable", text, text)
    apart, smaller = abs(candidate - baseline), min(candidate, baseline)
    if isinstance(stated, int):
        holds = 100 * abs(apart - stated) <= ABOUT * stated
        reason = f"they differ by {apart:,}, which is {'' if holds else 'not '}within {ABOUT} % of {stated:,}"
    elif stated == "similar":
        holds, ratio = 100 * apart <= comparison.SIMILAR * smaller, 1 + apart / smaller
        larger = f"{100 * (ratio - 1):.1f} % above" if ratio < 2 else f"{ratio:.1f} times"
        reason = f"the larger number is {larger} the smaller; similar means at most {comparison.SIMILAR} % above"
    else:
        holds = candidate < baseline if stated == "fewer" else candidate > baseline
        order = f"{apart:,} {'fewer' if candidate < baseline else 'more'} parameters than"
        reason = f"{claim.candidate} has {order if apart else 'as many parameters as'} {claim.baseline}"
    found = f"{candidate:,} against {baseline:,} parameters"
    return Finding("confirmed" if holds else "refuted", found, reason)


def layer_counts(claim: LayerCountClaim, layers: Layers) -> Finding:
    """Layers of each stated kind."""
    parts = []
    for kind, stated in claim.layers.items():
        names = [layer["name"] for layer in layers if layer["kind"] == kind]
        which = f" ({', '.join(names)})" if names else ""
        found, text = f"{kind} {len(names)}", f"{claim.variant} has {_layers(len(names), kind)}{which}"
        if len(names) == stated:
            parts.append(Finding("confirmed", found, text))
        else:
            parts.append(Finding("refuted", found, f"{text}, not {stated}"))
    return combine(parts)


def _layers(count: int, kind: str) -> str:
    return f"{count} {kind} {'layer' if count == 1 else 'layers'}"


def added_layers(claim: AddedLayersClaim, candidate: Layers, baseline: Layers) -> Finding:
    """Layers that the candidate has more than the baseline, by kind."""
    added, texts = {}, []
    for kind in dict.fromkeys([*claim.added, *(layer["kind"] for layer in candidate)]):
        ours, theirs = ([layer for layer in layers if layer["kind"] == kind] for layers in (candidate, baseline))
        added[kind] = len(ours) - len(theirs)
        if added[kind] > 0:
            weights = "with weights" if any(layer["parameters"] for layer in ours) else "without weights"
            texts.append(f"{added[kind]} {kind} ({weights})")
    found = ", ".join(texts) or "nothing"
    reason = f"{claim.candidate} adds to {claim.baseline}: {found}"
    if all(added[kind] == count for kind, count in claim.added.items()):
        return Finding("confirmed", found, reason)
    stated = " and ".join(f"{count} {kind}" for kind, count in claim.added.items())
    return Finding("refuted", found, f"{reason}; not {stated}")


def different_setting(claim: DifferentSettingClaim, study: study_schema.Study) -> Finding:
    """A setting of two variants, such as input.size."""
    block, key = claim.differs.split(".")
    texts = []
    for name in (claim.candidate, claim.baseline):
        settings = study.training_of(name) if block == "training" else getattr(study.variants[name], block)
        value = getattr(settings, key, "none")
        texts.append(", ".join(map(str, value)) if isinstance(value, tuple) else str(value).lower())
    first, second = texts
    if first == second:
        return Finding("refuted", f"{first} in both", f"{claim.differs} is {first} in both variants")
    reason = f"{claim.differs} is {first} in {claim.candidate} and {second} in {claim.baseline}"
    return Finding("confirmed", f"{first} against {second}", reason)

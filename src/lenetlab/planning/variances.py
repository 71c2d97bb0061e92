"""Which variances to expect of a family's comparisons before training: measured ones, or those usual on MNIST."""

from statistics import median

from lenetlab.errors import UserError
from lenetlab.evaluation import predictions
from lenetlab.settings import study_schema
from lenetlab.statistics import difference, measures, power
from lenetlab.statistics.difference import VarianceComponents
from lenetlab.storage import files, paths, provenance

Family = tuple[study_schema.DeclaredComparison, ...]

MNIST = "mnist"  # what `data.name` calls it


def expected(study: study_schema.Study, family: Family) -> tuple[VarianceComponents, str] | None:
    """Components of a comparison of test accuracy, and where they are from, in words; None if nobody knows yet.

    Medians over those comparisons of the family whose variants were evaluated with the present settings and data.
    """
    pairs = dict.fromkeys((pair.candidate, pair.baseline) for pair in family if pair.measure == "test_accuracy")
    measured = [components for pair in pairs if (components := _measured(study, *pair))]
    if measured:
        seeds = tuple(median(components.seeds[side] for components in measured) for side in (0, 1))
        images = median(components.images for components in measured)
        return VarianceComponents((seeds[0], seeds[1]), images, measured[0].image_count), "of the last evaluation"
    if study.data.name == MNIST:
        return power.TYPICAL, "usual on MNIST"
    return None


def _measured(study: study_schema.Study, candidate: str, baseline: str) -> VarianceComponents | None:
    """None if a variant has no evaluation of this study, or fewer than two seeds, or if nothing varies."""
    try:
        files_of_pair = [paths.EVALUATIONS / name / paths.PREDICTIONS for name in (candidate, baseline)]
        answers = [predictions.read(path, len(study.data.classes)) for path in files_of_pair]
        records = [files.read_json(paths.EVALUATIONS / name / paths.VARIANT_RECORD) for name in (candidate, baseline)]
        for name, record in zip((candidate, baseline), records, strict=True):
            recipe = provenance.recipe(study, name)
            if {key: record["identity"][key] for key in recipe} != recipe:
                return None
        if records[0]["test_data"] != records[1]["test_data"] or not _is_of_present_data(records[0]):
            return None
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return None
    candidate_sample, baseline_sample = (measures.sample(one, "test_accuracy") for one in answers)
    components = difference.variance_components(candidate_sample, baseline_sample)
    return components if components and components.variance((1, 1)) else None


def _is_of_present_data(record: dict[str, object]) -> bool:
    """Whether an evaluation is of the prepared test images; those of other data say nothing."""
    try:
        return bool(files.read_json(paths.PREPARED_TEST / paths.PROFILE)["digest"] == record["test_data"])
    except OSError:  # not prepared here
        return True

"""Compare the variants and write the report: python stages/compare.py"""

import sys
from pathlib import Path

from lenetlab import files, params, plain_errors, tracking

EVALUATIONS, JOURNALS, REPORTS = Path("evaluations"), Path("journals"), Path("reports")
COSTS, SENSITIVITY, CLAIMS = Path("costs.json"), Path("docs/sensitivity.json"), Path("claims.yaml")


def main() -> None:
    study = params.load(Path("params.yaml"))
    with tracking.follow("compare"), files.folder(REPORTS) as outputs:
        # Not before: these load scipy and matplotlib, which takes as long as MLflow needs, in the other process.
        from lenetlab import answers, claims, comparison, predictions, provenance, records, report

        stated = claims.load(CLAIMS, study)
        answered = {name: predictions.read(EVALUATIONS / name / "predictions.npz") for name in study.study}
        outcomes = comparison.compare(study, answered, records.diverged(EVALUATIONS, study.study))
        costs = records.costs(COSTS, study.study)["variants"]
        found = answers.decide(stated, study, outcomes, EVALUATIONS, costs)
        sources = records.Sources(EVALUATIONS, JOURNALS, COSTS, SENSITIVITY)
        collected = records.collect(study, sources, outcomes, found, provenance.origin())
        report.write(collected, outputs)
    for variant in collected.variants:
        if variant.diverged:
            print(f"{variant.name}: diverged: {variant.diverged}")
    for outcome in outcomes:
        confounded = f"; confounded by {', '.join(outcome.confounds)}" if outcome.confounds else ""
        print(f"{outcome.candidate} against {outcome.baseline}: {outcome.verdict}; {outcome.reason}{confounded}")
    print(f"report: {REPORTS / 'report.html'}")


if __name__ == "__main__":
    with plain_errors():
        params.arguments(sys.argv)
        main()

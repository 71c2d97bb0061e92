"""Compare the variants and write the report: python stages/compare.py"""

from pathlib import Path

from lenetlab import files, params, plain_errors, tracking

EVALUATIONS, REPORTS = Path("evaluations"), Path("reports")


def main() -> None:
    study = params.load(Path("params.yaml"))
    with tracking.follow("compare"), files.folder(REPORTS) as outputs:
        # Not before: these load scipy and matplotlib, which takes as long as MLflow needs, in the other process.
        from lenetlab import comparison, predictions, provenance, report

        found = {name: predictions.read(EVALUATIONS / name / "predictions.npz") for name in study.study}
        outcomes = comparison.compare(study, found)
        report.write(report.collect(study, EVALUATIONS, outcomes, provenance.origin()), outputs)
    for outcome in outcomes:
        print(f"{outcome.candidate} against {outcome.baseline}: {outcome.verdict}; {outcome.reason}")
    print(f"report: {REPORTS / 'report.html'}")


if __name__ == "__main__":
    with plain_errors():
        main()

"""Compare the variants and write the report: python stages/compare.py"""

from pathlib import Path

from lenetlab import comparison, files, params, plain_errors, predictions, provenance, report, tracking

EVALUATIONS, REPORTS = Path("evaluations"), Path("reports")


def main() -> None:
    study = params.load(Path("params.yaml"))
    with tracking.follow("compare"), files.folder(REPORTS) as outputs:
        found = {name: predictions.read(EVALUATIONS / name / "predictions.npz") for name in study.study}
        outcomes = comparison.compare(study, found)
        report.write(report.collect(study, EVALUATIONS, outcomes, provenance.origin()), outputs)
    for outcome in outcomes:
        print(f"{outcome.candidate} against {outcome.baseline}: {outcome.verdict}; {outcome.reason}")
    print(f"report: {REPORTS / 'report.html'}")


if __name__ == "__main__":
    with plain_errors():
        main()

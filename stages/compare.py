"""Compare the variants and write the report: python stages/compare.py"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))  # this project's code, whichever is installed

from lenetlab.errors import reporting_errors
from lenetlab.settings import claims, command_line, params
from lenetlab.storage import dependencies, files, paths, provenance
from lenetlab.tracking.beside_stage import publishing


def main() -> None:
    statements = claims.load(Path((study := params.load(paths.PARAMS)).claims), study)
    with publishing("compare", study=study.study, data=study.data.name), files.writing_folder(paths.REPORTS) as outputs:
        # Imported here: SciPy and matplotlib load while the process beside this one loads MLflow.
        from lenetlab.evaluation import model_folder
        from lenetlab.report import collect, declarations, headline, inputs, page
        from lenetlab.statistics import comparison
        from lenetlab.statistics.claims import answers

        predictions = inputs.read_predictions(paths.EVALUATIONS, study.study, len(study.data.classes))
        diverged = inputs.read_diverged_seeds(paths.EVALUATIONS, study.study)
        costs = inputs.read_costs(paths.COSTS, study.study)["variants"]
        trained = inputs.read_parent_fingerprints(paths.EVALUATIONS, study.study)
        previous = declarations.read_record(record := declarations.record_path())
        made = comparison.compare(study, predictions, diverged)
        outcomes = declarations.with_changes(made, study, trained, previous)
        answered = answers.decide(statements, study, outcomes, paths.EVALUATIONS, costs)
        report = collect.collect(study, inputs.PROJECT_OUTPUTS, outcomes, answered, provenance.origin())
        page.write_report(report, outputs)
        chosen = comparison.recommended(outcomes, {one.name: one.mean_accuracy for one in report.variants})
        model_folder.write(paths.MODEL, *chosen, study.data)
        declarations.write_record(record, outcomes, previous)
    print("\n".join([*headline.summary(report), f"report: {paths.REPORTS / paths.REPORT_PAGE}"]))


if __name__ == "__main__":
    with reporting_errors(), dependencies.unchanged():
        command_line.stage_arguments(sys.argv)
        main()

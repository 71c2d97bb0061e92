"""lenetlab settle adds seeds to the variants of open comparisons, and can be stopped at any moment."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path

import pytest

from lenetlab.errors import UserError
from lenetlab.planning import settle
from lenetlab.report.results import ORIGIN_KEYS
from lenetlab.settings import params, study_schema
from lenetlab.statistics.comparison import Outcome
from lenetlab.statistics.verdict import Look
from lenetlab.storage import files, paths, provenance
from lenetlab.storage.digests import sha256_file
from tests.pipeline.projects import copy_of, edit, environment, read_yaml, run, stages_run
from tests.report.example import costs
from tests.settings import example

SIX = ("seeds: [0, 1, 2, 3, 4, 5]", "seeds: 6")
MLP, REGULARIZED = ("lenet5", "mlp"), ("lenet5-regularized", "lenet5")  # the comparisons of the example

LOOK = Look(seeds=6, difference=0.0008, p=0.2, level=0.01, p_equivalence=0.3, level_equivalence=0.01)

Rule = Callable[[int], Mapping[str, object]]  # from the seeds of each side to fields of an outcome


def outcome(pair: tuple[str, str], **values: object) -> Outcome:
    empty = {field.name: None for field in fields(Outcome) if field.default is field.default_factory is MISSING}
    known = {"candidate": pair[0], "baseline": pair[1], "family": "headline", "measure": "test_accuracy"}
    numbers = {"difference": 0.0008, "verdict": "inconclusive", "looks": [], "mcnemar": []}
    return Outcome(**{**empty, **known, **numbers, **values})


def better_from(look: int, most: int = 36) -> Rule:
    """Decided at that look; until then the next one is asked for."""

    def rule(seeds: int) -> Mapping[str, object]:
        if seeds >= look:
            return {"verdict": "better", "seeds": look}
        following = next((number for number in study_schema.LOOKS if seeds < number <= most), None)
        return {"next_step": "seeds" if following else "most", "next_seeds": following}

    return rule


def open_for(step: str, **values: object) -> Rule:
    return lambda _: {"next_step": step, **values}


class Pipeline:
    """Stands in for dvc repro: writes the outcomes that the rule of each pair gives for the seeds in params.yaml.

    `seeds` holds those of every variant at each call.
    """

    def __init__(self, rules: Mapping[tuple[str, str], Rule]) -> None:
        self.rules = rules
        self.seeds: list[dict[str, tuple[int, ...]]] = []

    def __call__(self) -> None:
        study = params.load(paths.PARAMS)
        self.seeds.append({name: study.seeds_of(name) for name in study.study})
        outcomes = []
        for pair, rule in self.rules.items():
            seeds = min(len(study.seeds_of(name)) for name in pair)
            outcomes.append(outcome(pair, **{"seeds": seeds, **rule(seeds)}))
        files.write_json(paths.REPORTS / paths.COMPARISON, [asdict(one) for one in outcomes])
        files.write_json(paths.REPORTS / paths.ANSWERS, [])
        files.write_json(paths.REPORTS / paths.ORIGIN, dict.fromkeys(ORIGIN_KEYS))

    @property
    def counts(self) -> list[tuple[int, ...]]:
        """The numbers of seeds at each call, of lenet5, mlp and lenet5-regularized."""
        return [tuple(map(len, seeds.values())) for seeds in self.seeds]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: six seeds for each of three variants, of which two pairs are compared."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    example.write_params(tmp_path, ("device: auto", "device: cpu"), SIX)
    study, measured = params.load(paths.PARAMS), costs()
    measured["recipes"] = {name: provenance.cost_recipe(study, name) for name in study.study}
    measured["conditions"]["processes"] = 2
    files.write_json(paths.COSTS, measured)
    return tmp_path


def test_only_variants_of_open_comparisons_get_seeds():
    pipeline = Pipeline({MLP: better_from(6), REGULARIZED: better_from(12)})
    before = paths.PARAMS.read_text()
    list(settle.settle(pipeline))
    assert pipeline.counts == [(6, 6, 6), (9, 6, 9), (12, 6, 12)]
    lines = re.sub(r"(  lenet5(-regularized)?:\n)", r"\1    seeds: 12\n", before)
    assert paths.PARAMS.read_text() == lines


def test_a_shared_variant_follows_the_comparison_that_needs_more():
    pipeline = Pipeline({MLP: better_from(24), REGULARIZED: better_from(9)})
    list(settle.settle(pipeline))
    assert pipeline.counts == [(6, 6, 6), (9, 9, 9), (12, 12, 9), (18, 18, 9), (24, 24, 9)]


def test_a_variant_never_loses_seeds_and_keeps_their_order(tmp_path):
    example.write_params(
        tmp_path, ("device: auto", "device: cpu"), SIX, ("  mlp:\n", "  mlp:\n    seeds: [7, 5, 0, 1, 2, 3, 4]\n")
    )
    pipeline = Pipeline({MLP: better_from(9)})
    list(settle.settle(pipeline))
    assert pipeline.seeds[-1]["mlp"] == (7, 5, 0, 1, 2, 3, 4, 6, 8)
    assert pipeline.seeds[-1]["lenet5"] == tuple(range(9))


def test_nothing_is_added_if_all_have_a_verdict():
    pipeline = Pipeline({MLP: better_from(6), REGULARIZED: better_from(6)})
    before = paths.PARAMS.read_bytes()
    lines = list(settle.settle(pipeline))
    assert (pipeline.counts, paths.PARAMS.read_bytes()) == ([(6, 6, 6)], before)
    assert lines[-1] == "comparisons with a verdict: 2 of 2"


def test_each_look_says_what_was_found_and_how_long_the_next_takes():
    """Three new seeds are groups of two and one in two processes: ten epochs of 6 × (2.1 + 3.1) × (0.1 + 0.9 × 2/6) s.

    Up to 36 seeds: three rounds of groups of five. 1 - exp(-6 / 15) = 33 % of the error is spent with six seeds.
    """
    pipeline = Pipeline({MLP: better_from(6), REGULARIZED: lambda seeds: {**better_from(9)(seeds), "looks": [LOOK]}})
    lines = list(settle.settle(pipeline))
    assert lines[:3] == [
        "headline: lenet5 against mlp, test accuracy: better, +0.08 percentage points with 6 seeds each;"
        " 0 % of the allowed error is spent",
        "headline: lenet5-regularized against lenet5, test accuracy: inconclusive, +0.08 percentage points with 6 seeds"
        " each; 33 % of the allowed error is spent",
        "adding seeds: lenet5-regularized from 6 to 9, lenet5 from 6 to 9; training for the next look: about 2 min;"
        " in all: at most 13 min",
    ]
    assert "better, +0.08 percentage points with 9 seeds each; 45 % of the allowed error is spent" in lines[4]


@pytest.mark.parametrize(
    ("rule", "seeds", "advice"),
    [
        (open_for("images"), 6, "needs more test images (data.extra_test); more seeds would hardly help"),
        (open_for("training", reason="2 seeds diverged"), 6, "needs other training settings: 2 seeds diverged"),
        (better_from(99), 36, "settle.most (36) is reached; a larger one, such as 48, may decide it"),
    ],
)
def test_it_ends_where_seeds_do_not_help_and_says_what_does(rule, seeds, advice):
    pipeline = Pipeline({MLP: better_from(6), REGULARIZED: rule})
    lines = list(settle.settle(pipeline))
    assert pipeline.counts[-1] == (seeds, 6, seeds)
    assert lines[-2:] == [
        f"open: headline: lenet5-regularized against lenet5, test accuracy: {advice}",
        "comparisons with a verdict: 1 of 2",
    ]


def test_after_the_last_look_only_images_are_left(tmp_path):
    example.write_params(
        tmp_path, ("device: auto", "device: cpu"), ("seeds: [0, 1, 2, 3, 4, 5]", "seeds: 72"), ("most: 36", "most: 96")
    )
    pipeline = Pipeline({MLP: better_from(99, most=96)})
    lines = list(settle.settle(pipeline))
    assert pipeline.counts == [(72, 72, 72), (96, 96, 72)]
    assert "the last look (96 seeds) is reached; more test images may help" in lines[-2]


COMPARISONS = example.PARAMS[example.PARAMS.index("comparisons:") : example.PARAMS.index("settle:")]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (("most: 36", "most: 0"), "settle.most: 0 declares a fixed number of seeds, .* allowed .* settle: 6, 9, 12"),
        ((COMPARISONS, "comparisons: {}\n"), "comparisons: empty; lenetlab settle needs at least one"),
    ],
)
def test_a_study_without_a_plan_is_refused_before_anything_runs(tmp_path, edit, message):
    example.write_params(tmp_path, SIX, edit)
    pipeline = Pipeline({})
    with pytest.raises(UserError, match=f"^params.yaml: {message}"):
        list(settle.settle(pipeline))
    assert pipeline.seeds == []


@pytest.mark.parametrize("stop", [0, 1, 2])
@pytest.mark.parametrize("ends", [KeyboardInterrupt, SystemExit])
def test_after_a_stop_it_goes_on_and_ends_with_the_same_seeds(stop, ends):
    """A kill between the new seeds and dvc repro looks the same: seeds without results."""
    pipeline = Pipeline({MLP: better_from(6), REGULARIZED: better_from(12)})
    calls = iter(range(10))

    def stopped() -> None:
        if next(calls) == stop:
            raise ends
        pipeline()

    with pytest.raises(ends):
        list(settle.settle(stopped))
    list(settle.settle(pipeline))
    assert pipeline.counts[-1] == (12, 6, 12)
    assert len(pipeline.counts) <= 4  # no look is repeated that was finished


def test_a_second_one_is_refused():
    pipeline = Pipeline({MLP: better_from(6)})
    files.make_folder(Path(".lenetlab"))
    with Path(".lenetlab/settle.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"^lenetlab settle: already runs in this folder; remedy: wait until it"):
            list(settle.settle(pipeline))
    assert pipeline.seeds == []
    list(settle.settle(pipeline))


def test_a_layout_that_needs_a_person_leaves_the_file_as_it_is(tmp_path):
    example.write_params(
        tmp_path, ("device: auto", "device: cpu"), SIX, ("  mlp:\n", "  mlp:\n    seeds: # six\n      - 0\n")
    )
    before = paths.PARAMS.read_bytes()
    with pytest.raises(UserError, match=r"params.yaml: variants.mlp.seeds: 6 cannot be added .*write it by hand"):
        list(settle.settle(Pipeline({MLP: better_from(6)})))
    assert paths.PARAMS.read_bytes() == before


def test_a_link_to_the_settings_stays_a_link():
    paths.PARAMS.rename("elsewhere.yaml")
    paths.PARAMS.symlink_to("elsewhere.yaml")
    list(settle.settle(Pipeline({MLP: better_from(9)})))
    assert paths.PARAMS.is_symlink()
    assert Path("elsewhere.yaml").read_text().count("seeds: 9") == 2


# dvc repro, with a stand-in for the program.


@pytest.fixture
def write_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def write(script: str) -> None:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "dvc").write_text(f"#!/bin/bash\necho $* >> log\n{script}\n")
        (tmp_path / "bin" / "dvc").chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return write


@pytest.mark.parametrize(("script", "status"), [("exit 3", 3), ("exit 255", 255), ("kill -KILL $$", 137)])
def test_the_status_of_dvc_passes_through(write_dvc, script, status):
    write_dvc(script)
    with pytest.raises(SystemExit) as ended:
        settle.run_dvc()
    assert ended.value.code == status
    assert Path("log").read_text() == "repro\n"


def test_without_dvc_the_environment_is_missing(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"^dvc: not found; remedy: source .venv/bin/activate"):
        settle.run_dvc()


def started() -> subprocess.Popen:
    """lenetlab settle in a process group of its own, as a shell starts it."""
    return subprocess.Popen(
        [sys.executable, "-c", "from lenetlab import cli; cli.main()", "settle"],
        env={**environment(), "PATH": os.environ["PATH"]},
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for(file: str) -> str:
    deadline = time.monotonic() + 60
    while not (Path(file).exists() and Path(file).read_text()):
        assert time.monotonic() < deadline, f"no {file} within a minute"
        time.sleep(0.05)
    return Path(file).read_text()


def test_ctrl_c_waits_until_dvc_has_ended_in_good_order(write_dvc, count):
    write_dvc("trap 'sleep 1; echo ended >> log; kill $! 2> /dev/null; exit 255' INT; sleep 100 & echo > ready; wait")
    process = started()
    wait_for("ready")
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, Path("log").read_text()) == (130, "repro\nended\n")
    assert said.strip() == "stopped; finished epochs are kept: the same command continues there"
    count("lenetlab settle stopped")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, dvc repro goes on")
def test_dvc_ends_if_settle_is_killed(write_dvc, count):
    write_dvc("echo $$ > ready; exec sleep 100")
    process = started()
    child = Path("/proc") / wait_for("ready").strip()
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 20
    while child.exists() and "Z (zombie)" not in (child / "status").read_text():
        assert time.monotonic() < deadline, "dvc still runs"
        time.sleep(0.05)
    count("lenetlab settle stopped")


# The whole pipeline.


def digests(project: Path, *seeds: int) -> dict[str, str]:
    """Of the results of these seeds."""
    folders = [folder for seed in seeds for folder in (project / "runs").glob(f"*/seed-{seed}")]
    found = [path for folder in folders for path in folder.iterdir()]
    return {str(path.relative_to(project)): sha256_file(path) for path in found}


@pytest.mark.slow
@pytest.mark.usefixtures("without_mlflow")
def test_a_study_is_settled_after_a_kill_and_then_nothing_is_left_to_do(finished, tmp_path, count):
    """Two seeds of each variant are finished; the first look needs six."""
    project = copy_of(finished, tmp_path / "project")
    edit(project, lambda content: content["settle"].update(most=9))
    run(project, "git", "commit", "--quiet", "--all", "--message", "most")
    before, measured = digests(project, 0, 5), (project / "costs.json").read_bytes()

    process = subprocess.Popen(
        ["lenetlab", "settle"], cwd=project, env=environment(project), stdout=subprocess.DEVNULL, process_group=0
    )
    deadline = time.monotonic() + 300
    while read_yaml(project / "params.yaml")["variants"]["lenet5"].get("seeds") != [0, 5, 1, 2, 3, 4]:
        assert time.monotonic() < deadline, "no seeds were added within five minutes"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    count("lenetlab settle stopped")

    said = run(project, "lenetlab", "settle")
    seeds = {len(list(folder.iterdir())) for folder in (project / "runs").iterdir()}
    ended = {6: "comparisons with a verdict: 1 of 1|needs more test images", 9: "1 of 1|settle.most (9) is reached"}
    assert len(seeds) == 1
    assert any(text in said for text in ended[seeds.pop()].split("|"))
    assert "2 of 6 seeds were finished before and are kept" in said
    assert digests(project, 0, 5) == before
    assert (project / "costs.json").read_bytes() == measured
    assert "these variants were measured before; their costs are kept" in said
    assert stages_run(run(project, "dvc", "repro")) == []
    assert "variants.lenet5.seeds" in run(project, "dvc", "params", "diff")

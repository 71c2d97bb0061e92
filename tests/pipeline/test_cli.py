"""The commands of lenetlab, called in this process as the program calls them."""

import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lenetlab import errors
from lenetlab.data import sources
from lenetlab.planning import duration
from lenetlab.settings import params
from lenetlab.storage import files, provenance
from tests.settings import example

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with settings and statements."""
    write_settings(tmp_path)
    (tmp_path / "claims.yaml").write_text(example.CLAIMS)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mnist.toml").touch()
    return tmp_path


def write_settings(folder: Path, *edits: tuple[str, str]) -> None:
    example.write_params(folder, ("device: auto", "device: cpu"), *edits)


@pytest.fixture
def lenetlab(project: Path, monkeypatch: pytest.MonkeyPatch, command_line: Callable) -> Callable[..., Result]:
    """`command_line` in the folder `project`, on a machine of known speed."""
    monkeypatch.chdir(project)
    speeds = duration.Speeds(defaultdict(lambda: 5.0), 6, 2, 55_000, "cpu: a processor")
    monkeypatch.setattr(duration, "known_speeds", lambda _: speeds)
    return lambda *arguments: Result(*command_line(*arguments))


def test_check_prints_the_size_of_the_study(lenetlab):
    result = lenetlab("check")
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith(
        "params.yaml is valid: 3 variants, 6 seeds each, 2 comparisons, 10 epochs, device cpu\n"
    )


def test_check_prints_the_fewest_and_the_most_seeds(project, lenetlab):
    write_settings(project, ("  mlp:\n", "  mlp:\n    seeds: 9\n"))
    assert "3 variants, 6 to 9 seeds, 2 comparisons" in lenetlab("check").out


def test_check_prints_what_families_can_find_and_how_long_training_takes(lenetlab):
    lines = lenetlab("check").out.splitlines()
    assert [line.partition(":")[0] for line in lines[1:4]] == ["comparisons.headline", "errors", "training"]
    assert "percentage points with 6 seeds each, " in lines[1]


def test_check_with_known_speeds_does_not_load_torch(project):
    """It would take seconds, before every `make repro`."""
    study = params.load(project / "params.yaml")
    measured = {
        "conditions": {"device": "cpu: x", "training_images": 55_000, "side_by_side": 6, "processes": 2},
        "recipes": {name: provenance.cost_recipe(study, name) for name in study.study},
        "variants": {name: {"seconds_per_epoch": [5.0], "on_processor": [1.0]} for name in study.study},
    }
    files.write_json(project / "costs.json", measured)
    script = "import sys; from lenetlab import cli; sys.argv[1:] = ['check']; cli.main(); print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], cwd=project, check=True, capture_output=True, text=True)
    assert "training: about 8 min for 18 trainings" in result.stdout
    assert result.stdout.endswith("\nFalse\n")


@pytest.mark.parametrize(
    ("name", "content", "remedy"),
    [
        ("dvc.lock", "", "git checkout dvc.lock, or, if git does not have it, rm dvc.lock;"),
        ("dvc.lock", "schema: '2.0'\nstages:\n  fetch:\n    cmd: 'pyth", "git checkout dvc.lock"),
        ("dvc.lock", "{", "git checkout dvc.lock"),
        (".dvc/tmp/rwlock", "", "rm .dvc/tmp/rwlock;"),
        (".dvc/tmp/rwlock", '{"read": {"/a": [', "rm .dvc/tmp/rwlock;"),
    ],
)
def test_check_finds_files_that_dvc_did_not_finish(project, lenetlab, name, content, remedy):
    (project / ".dvc" / "tmp").mkdir(parents=True)
    (project / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    (project / ".dvc" / "tmp" / "rwlock").write_text('{"read": {}, "write": {}}')
    assert lenetlab("check").status == 0
    (project / name).write_text(content)
    result = lenetlab("check")
    assert result.status == 1
    assert f"{name}: incomplete, as if DVC was killed while writing it; remedy: {remedy}" in result.err


def test_check_lists_the_errors_of_both_files_and_of_the_sources(project, lenetlab):
    write_settings(project, ("data/mnist.toml", "my/digits"), ("data/none.txt", "my/more"))
    (project / "claims.yaml").write_text("claims:\n  - {id: a, kind: guess, statement: b}\n")
    problems = sources.find_problems(Path("my/digits"), Path("my/more"))
    assert [problem.split("; ")[0] for problem in problems] == [
        "data.source: 'my/digits' does not exist",
        "data.extra_test: 'my/more' does not exist",
    ]
    result = lenetlab("check")
    assert result.status == 1
    assert result.err.splitlines() == [
        f"error: params.yaml: {problems[0]}",
        f"params.yaml: {problems[1]}",
        "claims.yaml: claims[0] (a).kind: 'guess' is not allowed; allowed: parameters, accuracy, relation, structure,"
        " loss",
    ]


def test_check_lists_all_errors_and_fails(project, lenetlab):
    write_settings(project, ("epochs: 10", "epochs: 0"), ("  - mlp\n", "  - mpl\n"), ("momentum: 0.9", "momentum: 9"))
    result = lenetlab("check")
    assert (result.status, result.out) == (1, "")
    for part in ("training.epochs: 0", "study[1]: 'mpl'", "training.momentum: 9"):
        assert part in result.err


def test_check_finds_a_device_that_does_not_exist(project, lenetlab):
    example.write_params(project, ("device: auto", "device: cuda:77"))
    result = lenetlab("check")
    assert result.status == 1
    assert "device: 'cuda:77' is not on this machine; allowed here: auto, cpu" in result.err


def test_check_without_files(project, lenetlab):
    (project / "claims.yaml").unlink()
    assert lenetlab("check").err == "error: claims.yaml: cannot be read: No such file or directory\n"


def test_check_reads_the_statements_that_params_yaml_names(project, lenetlab):
    write_settings(project, ("claims: claims.yaml", "claims: my/statements.yaml"))
    assert lenetlab("check").err == "error: my/statements.yaml: cannot be read: No such file or directory\n"
    (project / "my").mkdir()
    (project / "claims.yaml").rename(project / "my" / "statements.yaml")
    assert lenetlab("check").status == 0
    (project / "my" / "statements.yaml").write_text("claims: [7]")
    assert lenetlab("check").err.startswith("error: my/statements.yaml: claims[0]: 7 is not allowed; allowed: a block")


COMMANDS = [
    ("check",),
    ("settle",),
    ("sensitivity",),
    ("report",),
    ("sync",),
    ("reproduce", "mlp seed 0"),
    ("reproduce", "--variant", "mlp", "--seed", "0"),
    ("ui",),
]


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_command_in_a_subfolder_names_the_folder_of_the_project(
    project, lenetlab, monkeypatch, arguments, count: Callable[[str], None]
):
    monkeypatch.chdir(project / "data")
    before = sorted(project.rglob("*"))
    assert lenetlab(*arguments) == Result(
        1, "", f"error: params.yaml: not found in {project}/data; remedy: cd {project}\n"
    )
    assert sorted(project.rglob("*")) == before
    count("other working folders")


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_command_outside_a_project_says_so(project, lenetlab, arguments, count: Callable[[str], None]):
    (project / "params.yaml").unlink()
    before = sorted(project.rglob("*"))
    remedy = "cd to the folder of the project, which has it, or make one: lenetlab init FOLDER"
    assert lenetlab(*arguments) == Result(1, "", f"error: params.yaml: not found in {project}; remedy: {remedy}\n")
    assert sorted(project.rglob("*")) == before
    count("other working folders")


def test_check_names_sources_that_queued_experiments_do_not_find(project, lenetlab):
    for part in ("train", "test"):
        (project / "digits" / part).mkdir(parents=True)
    write_settings(project, ("data/mnist.toml", "digits"))
    subprocess.run(["git", "init", "--quiet"], check=True)
    note = (
        "data.source: neither git nor DVC holds 'digits', so dvc exp run --queue and --temp do not find it;"
        f" for these, set it to '{project}/digits'\n"
    )
    result = lenetlab("check")
    assert result.status == 0
    assert note in result.out
    (project / "digits.dvc").touch()  # of `dvc add digits`
    assert note not in lenetlab("check").out
    (project / "digits.dvc").unlink()
    write_settings(project, ("data/mnist.toml", f"{project}/digits"))
    assert "data.source" not in lenetlab("check").out


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("mlp seed 0", "--variant", "mlp", "--seed", "0"),
        ("--variant", "mlp"),
        ("--seed", "0"),
        ("x", "--seed", "0"),
        ("x", "--all"),
        ("--all", "--variant", "mlp", "--seed", "0"),
        ("--all", "--seed", "0"),
    ],
)
def test_reproduce_needs_one_way_to_name_runs(lenetlab, arguments):
    result = lenetlab("reproduce", *arguments)
    assert (result.status, result.err) == (
        1,
        "error: reproduce: needs either RUN, or both --variant and --seed, or --all\n",
    )


def test_a_wrong_command_has_exit_status_2(lenetlab):
    result = lenetlab("chek")
    assert result.status == 2
    assert "No such command 'chek'" in result.err


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (errors.UserError("one", "two"), 1, "error: one\ntwo\n"),
        (KeyboardInterrupt(), 130, "\nstopped; finished epochs are kept: the same command continues there\n"),
        (MemoryError(), 1, "error: out of memory; remedy: a smaller batch_size"),
        (RuntimeError("std::bad_alloc"), 1, "error: out of memory; remedy: a smaller batch_size"),
        (
            OSError(28, "", "runs/a\nb"),
            1,
            "error: 'runs/a\\nb': No space left on device; remedy: make room on that disk",
        ),
    ],
)
def test_an_error_that_a_user_can_correct_has_an_exit_status_and_no_traceback(capsys, error, status, text):
    with pytest.raises(SystemExit) as ended, errors.reporting_errors():
        raise error
    assert ended.value.code == status
    assert capsys.readouterr().err.startswith(text)


def test_any_other_error_has_a_traceback():
    with pytest.raises(ValueError, match="a defect"), errors.reporting_errors():
        raise ValueError("a defect")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["fetch", "extra", "prepare", "train", "evaluate", "cost", "compare"])
def test_a_stage_checks_params_yaml_too(project, stage):
    write_settings(project, ("epochs: 10", "epochs: 0"))
    before = sorted(project.iterdir())
    arguments = ["lenet5"] if stage in ("train", "evaluate") else []
    command = [sys.executable, ROOT / "stages" / f"{stage}.py", *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 1
    assert (
        done.stderr == "error: params.yaml: training.epochs: 0 is not allowed; allowed: a whole number from 1 to 1000\n"
    )
    assert sorted(project.iterdir()) == before


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["fetch", "extra", "prepare", "train", "evaluate", "cost", "compare"])
def test_a_stage_outside_its_project_says_so(tmp_path, stage, count: Callable[[str], None]):
    arguments = ["lenet5"] if stage in ("train", "evaluate") else []
    command = [sys.executable, ROOT / "stages" / f"{stage}.py", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    remedy = "cd to the folder of the project, which has it, or make one: lenetlab init FOLDER"
    expected = f"error: params.yaml: not found in {tmp_path}; remedy: {remedy}\n"
    assert done.stderr == expected
    assert not list(tmp_path.iterdir())
    count("other working folders")

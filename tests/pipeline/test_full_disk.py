"""Full disks, missing permissions and too little memory: one message, nothing half-written; then it continues."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from lenetlab.training import devices
from tests.pipeline.projects import edit, environment, forked

PAGE = resource.getpagesize()
MOST = 60_000_000  # bytes, the size of the small disk
ROOMS = 5  # sizes to try of each stage where many are tried

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: mount namespaces and /proc"),
]


class Stage(NamedTuple):
    command: str
    needs: tuple[str, ...]  # inputs of this stage alone
    makes: tuple[str, ...]
    reads: str  # one file of its inputs
    keeps: tuple[str, ...] = ()  # written, but no output

    @property
    def name(self) -> str:
        return self.command.split()[0]

    @property
    def words(self) -> list[str]:
        program, *arguments = self.command.split()
        return ["python", f"stages/{program}.py", *arguments]


STAGES = {
    "fetch": Stage(
        "fetch",
        ("digits",),
        ("data/raw/train.tar", "data/raw/test.tar", "data/raw/conversions.json"),
        "digits/train/00000_0.png",
    ),
    "prepare": Stage(
        "prepare",
        ("data/raw",),
        ("data/prepared/train", "data/prepared/test", "data/prepared/samples.png"),
        "data/raw/train.tar",
    ),
    "train": Stage(
        "train mlp",
        ("data/prepared",),
        ("runs/mlp", "journals/mlp"),
        "data/prepared/train/pixels.npy",
        keeps=(".lenetlab/resume",),
    ),
    "evaluate": Stage(
        "evaluate mlp", ("data/prepared", "runs"), ("evaluations/mlp",), "runs/mlp/seed-0/epoch-01.safetensors"
    ),
    "cost": Stage("cost", ("data/prepared",), ("costs.json",), "data/prepared/train/index.csv"),
    "compare": Stage(
        "compare",
        ("runs", "evaluations", "journals", "costs.json"),
        ("reports", "model"),
        "evaluations/mlp/predictions.npz",
    ),
}
VARIES = ("costs.json", "journals")  # contain times; everything else repeats bit for bit


def side_by_side(check: Callable, cases: Iterable) -> None:
    """In as many threads as there are cores: a stage mostly waits for imports."""
    with ThreadPoolExecutor(devices.cores()) as several:
        list(several.map(check, cases))


@pytest.fixture(scope="module")
def whole(finished: Path, tmp_path_factory: pytest.TempPathFactory, alone: dict[str, str]) -> Path:
    """A project in which nothing failed; as in the tests, it is no git repository, so reports name no commit."""
    folder = tmp_path_factory.mktemp("whole") / "project"
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns(".git", ".dvc", "mlruns", "mlflow.db"))
    done = run(STAGES["compare"].words, folder, forked(alone))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def alone(no_mlflow: Path) -> dict[str, str]:
    """The environment of a stage without MLflow, which other tests cover."""
    known = os.environ.get("PYTHONPATH")
    return environment() | {"PYTHONPATH": f"{no_mlflow}:{known}" if known else str(no_mlflow)}


def run(words: list[str], folder: Path, environment: dict[str, str], **options) -> subprocess.CompletedProcess:
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, **options)


def start(stage: Stage, whole: Path, folder: Path, again: bool = False) -> None:
    """Copy what a stage needs; `again`: its outputs of the first run too."""
    if folder.exists():
        shutil.rmtree(folder)
    for name in ("params.yaml", "claims.yaml", "docs", "stages", *stage.needs, *(stage.makes if again else ())):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (whole / name).is_dir():
            shutil.copytree(whole / name, folder / name)
        else:
            shutil.copyfile(whole / name, folder / name)


def content(place: Path) -> dict[str, bytes]:
    """Every file of an output."""
    found = [path for path in place.rglob("*") if path.is_file()] if place.is_dir() else [place]
    return {str(path.relative_to(place)): path.read_bytes() for path in found}


def check_outputs(stage: Stage, folder: Path, whole: Path, all_of_them: bool) -> None:
    """Each output equals that of the project without faults, or is missing unless `all_of_them`."""
    for name in stage.makes:
        if all_of_them or (folder / name).exists():
            found, expected = content(folder / name), content(whole / name)
            assert found.keys() == expected.keys(), name
            assert name.startswith(VARIES) or found == expected, name
    assert list(folder.rglob("*.part")) == []


def only_message(done: subprocess.CompletedProcess) -> str:
    """The error or warning of a failed stage; there must be exactly one, and no traceback."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    found = [line for line in re.split(r"[\r\n]+", done.stderr) if line.startswith(("error", "warning"))]
    assert len(found) == 1, done.stderr
    return found[0]


def check_continues(stage: Stage, folder: Path, whole: Path, alone: dict[str, str]) -> None:
    done = run(stage.words, folder, forked(alone))
    assert done.returncode == 0, done.stderr
    check_outputs(stage, folder, whole, all_of_them=True)


# A disk that can be full.


class Disk:
    """A file system in memory; only programs started in its namespace see it, and this process through /proc."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        if not (shutil.which("unshare") and shutil.which("nsenter")):
            pytest.skip("needs unshare and nsenter for a small disk of its own")
        for options in (["--user", "--map-root-user"], []):  # as any user if allowed, else as root
            words = [
                "unshare",
                *options,
                "--mount",
                "sh",
                "-c",
                f'mount -t tmpfs -o size={MOST} disk "$0" && echo && read _',
            ]
            self.holder = subprocess.Popen(
                [*words, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            self.own_user = ["--user"] if options else []
            if self.holder.stdout.readline():
                break
            self.__exit__()
        else:
            pytest.skip("needs a mount namespace for a small disk of its own: unshare --user --mount is not permitted")
        self.seen = Path(f"/proc/{self.holder.pid}/root{place}")
        self.project = self.seen / "project"

    def __enter__(self) -> "Disk":
        return self

    def __exit__(self, *_: object) -> None:
        self.holder.stdin.close()
        self.holder.wait()
        self.holder.stdout.close()

    def inside(self, script: str, *words: str) -> list[str]:
        """A command that sees the disk: a piece of shell script, then the words. Mounts end with the command."""
        enter = ["nsenter", "--target", str(self.holder.pid), *self.own_user, "--mount", "unshare", "--mount"]
        return [*enter, "sh", "-c", f'cd "$0" && {script} exec "$@"', str(self.place / "project"), *words]

    def fill(self, room: int) -> None:
        """Fill the disk so that `room` bytes are left."""
        found = os.statvfs(self.seen)
        with (self.seen / "ballast").open("wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, found.f_bavail * found.f_bsize - room // PAGE * PAGE)

    def clear(self) -> None:
        (self.seen / "ballast").unlink(missing_ok=True)


def needed(stage: Stage, whole: Path) -> int:
    """Bytes that a stage writes, in whole pages."""
    places = [whole / name for name in (*stage.makes, *stage.keeps)]
    return sum(-len(found) // PAGE * -PAGE for place in places for found in content(place).values())


def test_a_full_disk_is_reported_and_the_stage_continues_once_there_is_room(whole, tmp_path, alone, large, count):
    def check(stage: Stage) -> None:
        with Disk(tmp_path / stage.name) as disk:
            need = needed(stage, whole)
            for step in range(ROOMS) if large else (ROOMS // 2,):
                start(stage, whole, disk.project, again=step % 2 == 0)
                disk.fill(need * step // ROOMS)
                line = only_message(run(disk.inside("", *stage.words), tmp_path, alone))
                remedy = (
                    "remedy: make room on that disk, then run the same command again: it continues where it stopped"
                )
                found = re.fullmatch(rf"error: (\S+): No space left on device; {remedy}", line)
                assert found, line
                check_named(stage, found[1], disk)
                check_outputs(stage, disk.project, whole, all_of_them=False)
                # With room: outside, where the stage starts as a fork.
                continued = shutil.copytree(disk.project, tmp_path / f"{stage.name}-{step}")
                check_continues(stage, continued, whole, alone)
                disk.clear()
                count("full disk")

    side_by_side(check, STAGES.values())


def check_named(stage: Stage, name: str, disk: Disk) -> None:
    """The name is that of an output, not a temporary name or the source of a copy."""
    relative = name.removeprefix(f"{disk.place / 'project'}/")
    trained = len(list((disk.project / ".lenetlab").rglob("run.json"))) == 2
    assert relative.startswith(stage.makes if trained else (*stage.makes, *stage.keeps)), name
    assert ".part" not in name


def test_a_full_disk_below_mlflow_costs_a_warning_and_no_output(whole, tmp_path, large, count):
    stage, folder = STAGES["prepare"], tmp_path / "project"
    for room in (0, 200_000, 900_000) if large else (200_000,):
        with Disk(tmp_path / f"disk-{room}") as disk:
            disk.project.mkdir()
            disk.fill(room)
            start(stage, whole, folder)
            store = {"MLFLOW_TRACKING_URI": f"sqlite:///{disk.place}/mlflow.db"}
            done = run(disk.inside(f"cd '{folder}' &&", *stage.words), tmp_path, environment() | store)
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(r"warning: the record of this stage in MLflow .*is not complete: .*\n", done.stderr)
        assert "lenetlab sync" in done.stderr
        check_outputs(stage, folder, whole, all_of_them=True)
        count("full disk")


# No permission.


def some(large: bool, *names: str) -> list[Stage]:
    """The named stages; all of them in `make torture`."""
    return [stage for name, stage in STAGES.items() if large or name in names]


def unprivileged(words: list[str]) -> list[str]:
    """The command as a user to whom permissions apply; root may do everything."""
    if os.getuid():
        return words
    if not shutil.which("setpriv"):
        pytest.skip("needs a user who is not root, or setpriv")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *words]


def test_a_read_only_folder_is_reported(whole, tmp_path, alone, large, count):
    def check(stage: Stage) -> None:
        with Disk(tmp_path / stage.name) as disk:
            start(stage, whole, disk.project)
            script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && cd "$0" &&'
            line = only_message(run(disk.inside(script, *stage.words), tmp_path, alone))
            found = re.fullmatch(
                r"error: \S+: Read-only file system; remedy: work in a folder that can be written", line
            )
            assert found, line
            check_outputs(stage, disk.project, whole, all_of_them=False)
            count("no permission")

    side_by_side(check, some(large, "fetch", "train"))


def test_a_folder_without_permission_is_reported_and_the_stage_continues_with_it(whole, tmp_path, alone, large, count):
    def check(stage: Stage) -> None:
        folder = tmp_path / stage.name
        start(stage, whole, folder)
        folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        for path in folders:
            path.chmod(0o555)
        line = only_message(run(unprivileged(stage.words), folder, alone))
        for path in folders:
            path.chmod(0o755)
        assert re.fullmatch(r"error: \S+: Permission denied; remedy: give yourself permission for it", line), line
        check_outputs(stage, folder, whole, all_of_them=False)
        check_continues(stage, folder, whole, alone)
        count("no permission")

    side_by_side(check, some(large, "fetch"))


def test_an_input_without_permission_is_reported(whole, tmp_path, alone, large, count):
    def check(stage: Stage) -> None:
        folder = tmp_path / stage.name
        start(stage, whole, folder)
        (folder / stage.reads).chmod(0)
        done = run(unprivileged(stage.words), folder, alone)
        only_message(done)
        assert Path(stage.reads).name in done.stderr
        assert "Permission denied" in done.stderr
        check_outputs(stage, folder, whole, all_of_them=False)
        count("no permission")

    side_by_side(check, some(large, "fetch", "prepare"))


# No memory.

WITH_LITTLE_MEMORY = """
import os, resource, runpy, sys
from lenetlab.evaluation import cost
from lenetlab.training import execution
megabytes, processes, sys.argv[:] = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:processes])
with open("/proc/self/statm") as sizes:
    pages = int(sizes.read().split()[0])
most = pages * resource.getpagesize() + megabytes * 2**20
resource.setrlimit(resource.RLIMIT_AS, (most, most))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def ask_much(content: dict) -> None:
    """About 300 MB for a process that trains a seed."""
    content |= {"study": ["lenet5"], "comparisons": {}}
    content["training"]["batch_size"] = 60_000


@pytest.mark.parametrize(("command", "processes"), [("train lenet5", 1), ("train lenet5", 2), ("cost", 1)])
def test_a_batch_that_does_not_fit_into_memory_is_reported(command, processes, whole, tmp_path, alone, large, count):
    if processes == 1 and not large:
        pytest.skip("make torture tries it")
    if processes > devices.cores():
        pytest.skip(f"needs {processes} processors")
    stage = STAGES[command.partition(" ")[0]]._replace(command=command, makes=("runs", "journals", "costs.json"))
    for megabytes in (20, 50, 100, 150) if large else (100,):
        start(stage, whole, tmp_path / "project")
        edit(tmp_path / "project", ask_much)
        words = [sys.executable, "-c", WITH_LITTLE_MEMORY, str(megabytes), str(processes), *stage.words[1:]]
        line = only_message(run(words, tmp_path / "project", alone))
        assert line.startswith("error: out of memory; remedy: a smaller batch_size"), line
        assert not any((tmp_path / "project" / name).exists() for name in stage.makes)
        assert list((tmp_path / "project").rglob("*.part")) == []
        count("no memory")


@pytest.mark.parametrize("name", ["train", "cost"])
def test_a_killed_worker_is_reported_and_the_next_run_continues(name, whole, tmp_path, alone, large, count):
    """The system kills a process in this way if memory runs out."""
    if name == "cost" and not large:
        pytest.skip("make torture tries it")
    if name == "train" and devices.cores() < 2:
        pytest.skip("needs two processors")
    stage = STAGES[name]
    folder = tmp_path / "project"
    start(stage, whole, folder)
    with subprocess.Popen(
        stage.words, cwd=folder, env=alone, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as program:
        os.kill(worker(program), signal.SIGKILL)
        _, errors = program.communicate(timeout=300)
    line = only_message(subprocess.CompletedProcess(stage.words, program.returncode, stderr=errors))
    assert "process died" in line
    assert "out of memory?" in line
    assert not any((folder / name).exists() for name in stage.makes)  # what it was writing is cleared by the next run
    check_continues(stage, folder, whole, alone)
    count("no memory")


def worker(program: subprocess.Popen) -> int:
    """The first forked worker of a stage. A child about to start another program looks like one at first."""
    before: set[int] = set()
    while program.poll() is None:
        found = {child for child in children(program.pid) if command_line(child) == command_line(program.pid)}
        if before & found:
            return min(before & found)
        before = found
        time.sleep(0.01)
    raise AssertionError(f"it ended without a worker: {program.stderr.read()}")


def children(process: int) -> list[int]:
    found = subprocess.run(["pgrep", "--parent", str(process)], capture_output=True, text=True)
    return [int(child) for child in found.stdout.split()]


def command_line(process: int) -> bytes | None:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:  # it is gone
        return None

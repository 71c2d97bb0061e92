"""Does a test notice it when the code is wrong? Each defect of tests/mutations.toml is put into a copy and tested.

python -m benchmarks.mutants [NAME ...], which is `make mutants`: ten minutes on two cores. Without a defect the same
tests must pass. Ends with status 1 if a defect is not noticed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
MUTATIONS = ROOT / "tests" / "mutations.toml"


class Mutation(NamedTuple):
    name: str  # what is wrong then
    file: str
    old: str  # occurs once in the file
    new: str
    tests: list[str]  # arguments of pytest: the tests that should fail

    def apply(self, project: Path) -> None:
        path = project / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise SystemExit(f"{self.name}: {self.file} has {self.old!r} {text.count(self.old)} times")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


def read() -> list[Mutation]:
    """All defects of the file."""
    return [Mutation(**entry) for entry in tomllib.loads(MUTATIONS.read_text(encoding="utf-8"))["mutation"]]


def copy_project(folder: Path) -> Path:
    """The files that git knows, in a folder of their own."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in names.splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    for command in ("init", "add .", "-c user.name=mutants -c user.email=mutants@example.org commit --message copy"):
        subprocess.run(["git", *command.split()], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder


def tests_fail(project: Path, arguments: Sequence[str]) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *arguments]
    environment = os.environ | {"PYTHONPATH": str(project / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    status = subprocess.run(command, cwd=project, env=environment, capture_output=True).returncode
    if status not in (0, 1):
        raise SystemExit(f"pytest {' '.join(arguments)} ended with status {status}, so it tested nothing")
    return status == 1


def noticed(mutation: Mutation) -> bool:
    """Whether the tests fail with the defect."""
    with tempfile.TemporaryDirectory() as folder:
        project = copy_project(Path(folder))
        mutation.apply(project)
        return tests_fail(project, mutation.tests)


def pass_without_a_defect(mutations: Sequence[Mutation]) -> bool:
    """Whether the tests of all these defects pass in a copy without one."""
    arguments = list(dict.fromkeys(argument for mutation in mutations for argument in mutation.tests))
    with tempfile.TemporaryDirectory() as folder:
        return not tests_fail(copy_project(Path(folder)), [*arguments, "-n", "2", "--dist", "worksteal"])


def main(names: Sequence[str]) -> int:
    mutations = [one for one in read() if not names or one.name in names]
    if not pass_without_a_defect(mutations):
        raise SystemExit("the tests fail without a defect")
    missed = []
    with ThreadPoolExecutor(2) as pool:
        for mutation, found in zip(mutations, pool.map(noticed, mutations), strict=True):
            print(f"{'noticed' if found else 'MISSED '}  {mutation.name}", flush=True)
            missed += [] if found else [mutation.name]
    print(f"{len(mutations) - len(missed)} of {len(mutations)} defects noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The structure that docs/design.md describes: who may import whom, and what a stage depends on."""

import ast
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from lenetlab.storage import code
from tests.pipeline.projects import read_yaml

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "lenetlab"
STAGES = read_yaml(ROOT / "dvc.yaml")["stages"]


def module_map() -> list[str]:
    """The modules, with their packages, in the order in which docs/design.md lists them."""
    text = (ROOT / "docs" / "design.md").read_text()
    rows = re.findall(r"^( *)(\w+)(/?)  +\S", text.partition("```modules\n")[2].partition("```")[0], re.MULTILINE)
    names, packages = [], []
    for indent, name, slash in rows:
        packages = [*packages[: len(indent) // 2], name]
        if not slash:
            names.append(".".join(packages))
    return names


MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.stem != "__init__"
}
SOURCES = [*MODULES.values(), *(ROOT / "stages").glob("*.py")]


# Run in a fresh interpreter: imports scripts without running them, and prints for each the package's modules that were
# loaded, and those that functions in them would load (modulefinder reads the bytecode of every function).
MODULES_OF = """
import json, modulefinder, runpy, sys
from pathlib import Path

package, *scripts = sys.argv[1:]


def ours(names):
    return {name for name in names if name.split(".")[0] == "lenetlab"}


found = {}
for script in scripts:
    for name in ours(sys.modules):
        del sys.modules[name]
    runpy.run_path(script, run_name="imported")
    loaded = ours(sys.modules)
    finder = modulefinder.ModuleFinder(path=[str(Path(package).parent)])
    for source in [script, *(sys.modules[name].__file__ for name in sorted(loaded))]:
        finder.run_script(source)
        loaded |= ours(finder.modules)
    found[script] = sorted(loaded)
print(json.dumps(found))
"""


@cache
def files_of_stages() -> dict[str, set[str]]:
    """For each stage's script, the files of the package's modules that it may load."""
    scripts = [f"stages/{name}.py" for name in STAGES]
    command = [sys.executable, "-c", MODULES_OF, str(PACKAGE), *scripts]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)
    return {
        script: {str(source.relative_to(ROOT)) for name in names if (source := MODULES.get(name.partition(".")[2]))}
        for script, names in found.items()
    }


def covers(dependency: str, path: str) -> bool:
    return path == dependency or path.startswith(f"{dependency}/")


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_all_the_code_it_runs_and_on_no_other_package(name):
    script = f"stages/{name}.py"
    declared = [dependency for dependency in STAGES[name]["deps"] if dependency.startswith(("src/", "stages/"))]
    loaded = {script, *files_of_stages()[script]}
    assert {path for path in loaded if not any(covers(dependency, path) for dependency in declared)} == set()
    assert [dependency for dependency in declared if not any(covers(dependency, path) for path in loaded)] == []


def test_packages_hold_no_code_of_their_own():
    """So no stage needs to depend on them; and importing a module loads only what that module names."""
    for path in PACKAGE.rglob("__init__.py"):
        assert len(ast.parse(path.read_text()).body) == 1, path  # the docstring


@pytest.mark.parametrize(
    ("edited", "rerun"),
    [
        ("src/lenetlab/report/templates/report.html", {"compare"}),
        ("src/lenetlab/report/page.py", {"compare"}),
        ("src/lenetlab/statistics/verdict.py", {"compare"}),
        ("src/lenetlab/report/figures.py", {"prepare", "evaluate", "compare"}),
        ("src/lenetlab/evaluation/mistakes.py", {"evaluate", "compare"}),
        ("src/lenetlab/evaluation/cost.py", {"cost", "evaluate", "compare"}),
        ("src/lenetlab/training/loop.py", {"train", "evaluate", "cost"}),
        ("networks/README.md", {"train", "evaluate", "cost", "compare"}),
        ("src/lenetlab/tracking/content.py", {"prepare", "train", "evaluate", "compare"}),
    ],
)
def test_what_an_edit_reruns(edited, rerun):
    """Stages that depend on the file; what follows them runs only if their outputs change."""
    assert (ROOT / edited).is_file()
    assert {name for name, stage in STAGES.items() if any(covers(dep, edited) for dep in stage["deps"])} == rerun


def test_training_does_not_depend_on_the_test_set():
    assert not any("test" in dependency for dependency in STAGES["train"]["deps"])


def test_the_module_map_names_every_module():
    assert sorted(module_map()) == sorted(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_modules_above_it(module):
    above = module_map()[: module_map().index(module)]
    reached = {name.partition(".")[2] for name in code.modules_reached(f"lenetlab.{module}")}
    assert reached & set(MODULES) - {module} <= set(above)


@pytest.mark.parametrize("folder", [PACKAGE, *(path.parent for path in PACKAGE.rglob("__init__.py"))], ids=str)
def test_a_package_has_at_most_twelve_entries(folder):
    """Except the whole: a package per step, the command line and the errors."""
    entries = [path for path in folder.iterdir() if path.name not in ("__init__.py", "__pycache__")]
    assert len(entries) <= (14 if folder == PACKAGE else 12)


@pytest.mark.parametrize("module", MODULES)
def test_modules_and_functions_are_short(module):
    source = MODULES[module].read_text()
    assert len(source.splitlines()) <= 420
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    assert [node.name for node in functions if node.end_lineno - node.lineno >= 60] == []


def imported_packages(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize(
    ("package", "places"),
    [("mlflow", {"tracking"}), ("ruamel", {"settings"}), ("matplotlib", {"report"}), ("click", {"lenetlab"})],
)
def test_some_packages_are_imported_in_one_place(package, places):
    found = (path.relative_to(PACKAGE.parent) for path in SOURCES if package in imported_packages(path))
    assert {path.parts[1] if path.parts[2:] else "lenetlab" for path in found} == places


def test_params_yaml_is_read_in_one_place():
    assert [path.stem for path in SOURCES if "ruamel" in imported_packages(path)] == ["yaml_file"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_imports_are_plain(path):
    """What finds the code of a stage or a fingerprint reads import statements, so there is no other way to import."""
    # for the versions of packages, and for files of the user
    allowed = {"importlib"} if path.stem in ("installed", "provenance", "own_module", "folder") else set()
    assert not {"importlib", "runpy", "imp"} & imported_packages(path) - allowed
    assert "__import__" not in path.read_text()


def test_the_walk_that_fingerprints_use_finds_what_the_interpreter_loads():
    names = "[name for name in sys.modules if name.split('.')[0] == 'lenetlab']"
    command = [sys.executable, "-c", f"import json, sys, {code.TRAINER}; print(json.dumps({names}))"]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert code.modules_reached(code.TRAINER) == sorted(json.loads(loaded))


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_script_is_short(name):
    assert len((ROOT / "stages" / f"{name}.py").read_text().splitlines()) <= 42

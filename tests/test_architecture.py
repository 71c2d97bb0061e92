"""The structure that docs/design.md describes: who may import whom, and what a stage depends on."""

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from lenetlab import provenance

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "lenetlab"
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def module_map() -> list[str]:
    """The modules in the order of the table in docs/design.md."""
    text = (ROOT / "docs" / "design.md").read_text()
    rows = text.partition("| module | its one job |\n|---|---|\n")[2].partition("\n\n")[0].splitlines()
    return [row.split("`")[1] for row in rows]


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
def modules_of_stages() -> dict[str, set[str]]:
    """For each stage's script, paths of all modules of the package that it may load, in whatever form."""
    scripts = [f"stages/{name}.py" for name in STAGES]
    command = [sys.executable, "-c", MODULES_OF, str(PACKAGE), *scripts]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)
    return {
        script: {f"src/lenetlab/{name.removeprefix('lenetlab').removeprefix('.') or '__init__'}.py" for name in names}
        for script, names in found.items()
    }


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_declares_exactly_the_code_it_runs(name):
    script = f"stages/{name}.py"
    declared = {dependency for dependency in STAGES[name]["deps"] if dependency.endswith(".py")}
    assert declared == {script} | modules_of_stages()[script]


def test_training_does_not_depend_on_the_test_set():
    assert not any("test" in dependency for dependency in STAGES["train"]["deps"])


def test_the_module_map_names_every_module():
    assert set(module_map()) == {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("module", sorted(path.stem for path in PACKAGE.glob("*.py")))
def test_a_module_imports_only_from_modules_above_it(module):
    order = ["__init__", *module_map()]
    above = set(order[: order.index(module)])
    reached = provenance.modules_reached("lenetlab" if module == "__init__" else f"lenetlab.{module}")
    names = {name.partition(".")[2] or "__init__" for name in reached}
    assert names - {module} <= above


def imported_packages(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    return names


def test_mlflow_is_imported_in_one_place():
    sources = [*PACKAGE.glob("*.py"), *(ROOT / "stages").glob("*.py")]
    assert [path.stem for path in sources if "mlflow" in imported_packages(path)] == ["tracking"]


def test_params_yaml_is_read_in_one_place():
    sources = [*PACKAGE.glob("*.py"), *(ROOT / "stages").glob("*.py")]
    assert [path.stem for path in sources if "yaml" in imported_packages(path)] == ["params"]


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_imports_are_plain(path):
    """What finds a stage's modules reads import statements, so there is no other way to import."""
    assert not {"importlib", "runpy", "imp"} & (
        imported_packages(path) - ({"importlib"} if path.stem == "provenance" else set())
    )
    assert "__import__" not in path.read_text()


def test_the_walk_that_fingerprints_use_finds_what_the_interpreter_loads():
    code = "import json, sys, lenetlab.training; print(json.dumps([n for n in sys.modules if n.startswith('lenetlab')]))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert provenance.modules_reached("lenetlab.training") == sorted(json.loads(loaded))


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_script_is_short(name):
    assert len((ROOT / "stages" / f"{name}.py").read_text().splitlines()) <= 40

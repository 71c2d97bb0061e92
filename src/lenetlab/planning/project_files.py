"""The files of a new project: those of this repository, made to run the installed package."""

import re
import tomllib
from pathlib import Path

from lenetlab.errors import UserError
from lenetlab.planning import proposal
from lenetlab.storage import code, installed, paths

IN_WHEEL = code.PACKAGE / "project"  # filled by setup.py
MAKEFILE = "Makefile"
CODE = re.compile(r"^ +- src/lenetlab/(\S+)\n", re.MULTILINE)  # a dependency of a stage
CLAIMS = re.compile(r"^claims: \S+ +", re.MULTILINE)
PARAMS = re.compile(r"^    params:\s*\[", re.MULTILINE)
STAGE = re.compile(r"^(?=  [\w-]+:)", re.MULTILINE)
HEAD = re.compile(r"^# A stage depends on the packages.*?(?=^stages:)", re.MULTILINE | re.DOTALL)
PROJECT_HEAD = f"""\
# The code is that of the installed lenetlab. {installed.RECORD} has a digest of each part of it, and a stage depends on
# those of the parts that it runs; `{installed.UPDATE}` writes them anew. train@VARIANT does not depend on the test
# set, so no choice made in training can have seen it.
"""
README = """\
# {name}

A study with [lenetlab](docs/own-project.md): networks are trained with several seeds, and the report says whether each
difference between them is real. `dvc` and `lenetlab` must be on the PATH; `make help` lists all commands.

```
lenetlab import PATH --write    # images of your own; without it, MNIST is downloaded
make repro                      # train and compare; or: lenetlab check && dvc repro && lenetlab sync
make ui                         # all runs in MLflow; the report is reports/report.html
```

`params.yaml` says what is trained and compared. [docs/own-project.md](docs/own-project.md) describes the other files.
"""


def project_files(name: str) -> dict[str, bytes]:
    """The files of a new project called `name`, by their paths in it, without the record of the code."""
    contents = _originals()
    contents[MAKEFILE] = contents.pop("pipeline.mk")
    contents[str(paths.DVC_STAGES)] = pipeline(contents[str(paths.DVC_STAGES)].decode()).encode()
    contents[str(paths.PARAMS)] = without_claims(contents[str(paths.PARAMS)].decode()).encode()
    contents[str(paths.SENSITIVITY)] = b"{}\n"  # not measured yet
    contents["README.md"] = README.format(name=name).encode()
    return contents


def without_claims(text: str) -> str:
    """The text of a params.yaml that names the file without published statements; comments stay in their column."""
    return CLAIMS.sub(lambda old: f"claims: {proposal.NO_CLAIMS} ".ljust(len(old[0])), text)


def parts() -> set[str]:
    """The parts of the package that stages depend on, such as `settings` and `evaluation/curves`."""
    return set(_parts(_originals()[str(paths.DVC_STAGES)].decode()))


def pipeline(text: str) -> str:
    """The text of a dvc.yaml in which digests of code.json replace the dependencies on the package's files."""
    return "".join(map(_stage, STAGE.split(HEAD.sub(PROJECT_HEAD, text))))


def _stage(text: str) -> str:
    if not (found := _parts(text)):
        return text
    keys = f"{{{installed.RECORD}: [{', '.join(found)}]}}"
    return PARAMS.sub(f"    params:\n      [{keys},\n       ", CODE.sub("", text))


def _parts(text: str) -> list[str]:
    return [name.removesuffix(".py") for name in CODE.findall(text)]


def _originals() -> dict[str, bytes]:
    """From the wheel; or, if the package is that of a clone, from the clone."""
    if IN_WHEEL.is_dir():
        return {str(path.relative_to(IN_WHEEL)): path.read_bytes() for path in _files(IN_WHEEL, "**/*")}
    clone = code.PACKAGE.parents[1]
    try:
        settings = tomllib.loads((clone / "pyproject.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{IN_WHEEL}: not found; remedy: install lenetlab again, from its wheel or a clone") from None
    patterns = settings["tool"]["lenetlab"]["project-files"]
    return {str(path.relative_to(clone)): path.read_bytes() for pattern in patterns for path in _files(clone, pattern)}


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if path.is_file() and "__pycache__" not in path.parts)

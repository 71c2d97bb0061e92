"""Puts the files that a project starts with into the wheel; pyproject.toml has everything else."""

import tomllib
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PATTERNS = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["lenetlab"]["project-files"]


def project_files() -> list[str]:
    return sorted({str(path) for pattern in PATTERNS for path in Path().glob(pattern)})


class BuildWithProject(build_py):
    """An editable installation gets no copies: `lenetlab init` reads the files of the repository then."""

    def run(self) -> None:
        super().run()
        for name in [] if self.editable_mode else project_files():
            target = Path(self.build_lib, "lenetlab", "project", name)
            self.mkpath(str(target.parent))
            self.copy_file(name, str(target))

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), *project_files()]  # so that a source distribution has them too


setup(cmdclass={"build_py": BuildWithProject})

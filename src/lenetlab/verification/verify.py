"""lenetlab verify: projects that others hand in, each in a process of its own, with this environment and code."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lenetlab.storage import code
from lenetlab.verification import folder


@dataclass(frozen=True)
class Verdict:
    """What was found about a project."""

    project: Path
    findings: folder.Findings

    @property
    def verified(self) -> bool:
        return not self.findings.problems

    def __str__(self) -> str:
        """One line."""
        if self.verified:
            notes = f" (differs: {'; '.join(self.findings.notes)})" if self.findings.notes else ""
            return f"{self.project}: verified: {'; '.join(self.findings.agreements)}{notes}"
        return f"{self.project}: NOT verified: {'; '.join(self.findings.problems)}"


def verify(projects: Sequence[Path], options: folder.Options) -> Iterator[Verdict]:
    """Verify projects one after another. The code that runs is this package's, never that of a project, except its
    networks in `networks/`.
    """
    for number, project in enumerate(projects, start=1):
        if len(projects) > 1:
            print(f"{number} of {len(projects)}: {project}", file=sys.stderr)
        yield Verdict(project, _findings(project, options))


def _findings(project: Path, options: folder.Options) -> folder.Findings:
    if not project.is_dir():
        return folder.Findings(problems=["not a folder"])
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DVC_")}
    with tempfile.TemporaryDirectory() as progress:  # for what a training writes: nothing is written in the project
        environment |= {"DVC_ROOT": progress, "PYTHONPATH": str(code.PACKAGE.parent)}
        # -P: Python does not look for modules in the project's folder.
        process = subprocess.run(
            [sys.executable, "-P", "-m", "lenetlab.verification.folder", json.dumps(asdict(options))],
            cwd=project,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            check=False,
        )
    try:
        return folder.Findings(**json.loads(process.stdout.splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        return folder.Findings(problems=[f"the check ended with exit status {process.returncode}"])

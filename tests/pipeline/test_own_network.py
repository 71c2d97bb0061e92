"""docs/own-network.md does what it says: its code is trained and evaluated with its lines of params.yaml."""

import re
from pathlib import Path

import pytest

from lenetlab.data import dataset
from lenetlab.evaluation import evaluate
from lenetlab.settings import params
from lenetlab.storage import files, paths
from lenetlab.training import execution
from tests.pipeline.projects import ROOT

PAGE = (ROOT / "docs" / "own-network.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.slow
def test_the_page_works(prepared, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "networks").mkdir()
    [source] = blocks("python")
    (tmp_path / "networks" / "mine.py").write_text(source)
    assert len([line for line in source.splitlines() if line]) <= 20
    variants = "".join(block.removeprefix("variants:\n") for block in blocks("yaml"))
    study = params.parse(Path("params.yaml"), f"{(ROOT / 'params.yaml').read_text()}\n{variants}")
    settings = study.training.model_copy(update={"images": 300, "epochs": 2})
    study = study.model_copy(update={"device": "cpu", "seeds": (0, 1), "training": settings})
    for name in ("small", "listed"):
        plan = execution.plan_training(study, name, dataset.load(prepared / "train"))
        execution.train_variant(plan, Path("runs", name), Path("journals", name))
        result = evaluate.evaluate(study, name, Path("runs", name), prepared / "test")
        assert result.seeds == [0, 1]
        assert sum(layer["parameters"] for layer in result.record["layers"]) == result.record["parameters"]
        start, *_ = files.read_json_lines(Path("journals", name, f"{paths.seed_name(0)}.jsonl"))
        assert start["provenance"]["one_by_one"]
    assert list(result.record["identity"]) == list(plan.jobs[0].record["identity"])
    assert "small: its seeds are trained one after another, since Small is not a network of" in capfd.readouterr().err

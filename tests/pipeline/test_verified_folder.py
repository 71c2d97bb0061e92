"""A check of a handed-in folder that cannot go on ends in one line."""

import json

import pytest

from lenetlab.verification import folder


def stop(error: BaseException):
    def check(_: folder.Options):
        raise error

    return check


def test_a_file_that_cannot_be_read_is_a_problem(monkeypatch, capsys):
    monkeypatch.setattr(folder, "check", stop(PermissionError(13, "Permission denied", "dvc.lock")))
    folder.main(["{}"])

    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert problem.startswith("dvc.lock: Permission denied")


def test_ctrl_c_gives_no_traceback(monkeypatch, capsys):
    monkeypatch.setattr(folder, "check", stop(KeyboardInterrupt()))
    with pytest.raises(SystemExit) as ended:
        folder.main(["{}"])

    assert ended.value.code == 130
    assert capsys.readouterr().out == ""

"""What results say of the machine and the code that made them."""

from pathlib import Path

import pytest

from hiddenmix.study import environment


@pytest.mark.parametrize(("status", "dirty"), [("", False), (" M a.py", True), (None, None)])
def test_changes_that_git_does_not_tell_are_unknown(
    monkeypatch: pytest.MonkeyPatch, status: str | None, dirty: bool | None
) -> None:
    def git(_: Path, *arguments: str) -> str | None:
        return "abc" if arguments[0] == "rev-parse" else status

    monkeypatch.setattr(environment, "_git", git)
    monkeypatch.setattr(Path, "exists", lambda _: True)
    assert environment._commit() == {"commit": "abc", "dirty": dirty}

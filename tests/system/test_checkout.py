"""What results and verdicts say of the code that made them."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hiddenmix.system import checkout


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """The commit is asked for once a process."""
    caches = (checkout.commit, checkout.changed_code)
    for each in caches:
        each.cache_clear()
    yield
    for each in caches:
        each.cache_clear()


@pytest.mark.parametrize(("status", "dirty"), [("", False), (" M a.py", True), (None, None)])
def test_changes_that_git_does_not_tell_are_unknown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: str | None, dirty: bool | None
) -> None:
    def git(*arguments: str) -> str | None:
        return "abc" if arguments[0] == "rev-parse" else status

    monkeypatch.setattr(checkout, "_git", git)
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    assert checkout.commit() == (None, None)  # an installed package
    checkout.commit.cache_clear()
    (tmp_path / ".git").mkdir()
    assert checkout.commit() == ("abc", dirty)


def test_changes_of_the_code_are_told_from_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(("git", "-C", str(tmp_path), *who, *arguments), check=True)

    (tmp_path / "hiddenmix").mkdir()
    (tmp_path / "hiddenmix/code.py").write_text("1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    (tmp_path / "report.md").write_text("a report")
    found = subprocess.check_output(("git", "-C", str(tmp_path), "rev-parse", "HEAD"), text=True)
    assert checkout.commit() == (found.strip(), True)
    assert not checkout.changed_code()
    checkout.changed_code.cache_clear()
    (tmp_path / "hiddenmix/code.py").write_text("2")
    assert checkout.changed_code()

"""Nothing that a user may have downloaded is executed, and nothing is written outside."""

import ast
import io
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

import hiddenmix
from hiddenmix import evaluate
from hiddenmix.study import checkpoints
from tests.support.bad_input import Evil, signed
from tests.support.commands import ALONE, Command, cells, command

PACKAGE = Path(hiddenmix.__file__).parent


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    return command(tmp_path, monkeypatch, capsys)


def evil_archive() -> bytes:
    """What `torch.save` writes, its pickle replaced by a malicious one."""
    good = io.BytesIO()
    torch.save({"training": torch.zeros(3)}, good)
    evil = io.BytesIO()
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(evil, "w") as target:
        for name in source.namelist():
            content = pickle.dumps(Evil()) if name.endswith("data.pkl") else source.read(name)
            target.writestr(name, content)
    return evil.getvalue()


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize("sign", [True, False])
def test_a_malicious_checkpoint_does_not_execute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: bool, sign: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    payload = evil_archive() if archive else pickle.dumps(Evil())
    folder = tmp_path / "a-cell"
    folder.mkdir()
    path = folder / checkpoints.CURRENT
    if sign:
        signed(path, payload)
    else:
        path.write_bytes(payload)
    warned: list[str] = []
    assert checkpoints.load(folder, "a-cell", warned.append) is None
    assert len(warned) == 1
    assert not (tmp_path / "executed").exists()


def test_the_malicious_bytes_are_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.load(io.BytesIO(evil_archive()), weights_only=False)
    assert (tmp_path / "executed").exists()


def test_malicious_weights_do_not_execute(run: Command, tmp_path: Path, capsys: Any) -> None:
    """model.safetensors, as somebody may send it with a study."""
    assert run(*ALONE).code == 0
    [cell] = cells(tmp_path)
    for content in (pickle.dumps(Evil()), evil_archive()):
        (cell / "model.safetensors").write_bytes(content)
        result = (cell / "result.json").read_text()
        if '"weights"' in result:  # as an older study lacks it
            lines = [line for line in result.splitlines() if '"weights"' not in line]
            text = "\n".join(lines).replace(",\n}", "\n}")
            (cell / "result.json").write_text(text)
        assert evaluate.main(["outputs/default"]) == 1
        assert "model.safetensors is damaged" in capsys.readouterr().out
        assert not (tmp_path / "executed").exists()


def calls(tree: ast.AST) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def test_the_package_unpickles_nothing_else() -> None:
    """Of what might execute a file, `torch.load(..., weights_only=True)` alone is used, and
    `np.load(..., allow_pickle=False)`."""
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        imported = {
            alias.name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for alias in node.names
        } | {
            str(node.module).split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
        }
        if imported & {"joblib"}:  # for its count of cores alone
            assert "from joblib import cpu_count\n" in path.read_text()
            assert "joblib." not in path.read_text()
        assert not imported & {"pickle", "dill", "cloudpickle", "shelve", "marshal"}
        dangerous = {"eval", "exec", "os.system", "os.popen", "pd.read_pickle"}
        assert not calls(tree) & dangerous
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                options = {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert options.get("weights_only") == "True", path
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.load":
                options = {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert options.get("allow_pickle") == "False", path
            if isinstance(node, ast.Call):
                assert not any(
                    word.arg == "shell" and ast.unparse(word.value) != "False"
                    for word in node.keywords
                ), path


def test_yaml_tags_do_not_execute(tmp_path: Path) -> None:
    """A configuration folder of somebody else's: YAML can name Python objects."""
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    evil = "# @package _global_\nstudy: !!python/object/apply:os.mkdir [executed]\n"
    (tmp_path / "conf" / "experiment" / "evil.yaml").write_text(evil)
    command = [sys.executable, "-m", "hiddenmix.train", "--config-dir=conf", "experiment=evil"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert [path.name for path in tmp_path.iterdir()] == ["conf"]


def test_only_the_study_is_written(run: Command, tmp_path: Path) -> None:
    assert run(*ALONE, "study=here").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["here"]

"""What a tuning takes from an experiment file of the user's, and what it adds."""

import shlex
from dataclasses import asdict
from pathlib import Path

import pytest

from hiddenmix.config import Range, UserError, compose_each, from_plain
from hiddenmix.report import Trial
from hiddenmix.study.tuning import _Search
from hiddenmix.study.tuning_space import Request, complete
from hiddenmix.terminal import without_config_dir


def asked(folder: Path, text: str, *fixed: str) -> Request:
    (folder / "experiment").mkdir()
    (folder / "experiment/mine.yaml").write_text(f"# @package _global_\n{text}")
    others, own = without_config_dir(["--config-dir", str(folder), "x"])
    assert others == ["x"]
    return Request([*fixed, "experiment=mine", *own], {"alpha": Range(0.1, 4.0)}, 2, 2)


def test_a_file_keeps_the_study_and_the_share_that_it_names(tmp_path: Path) -> None:
    given = asked(tmp_path, "study: mine\ndataset:\n  validation: 0.1\n")
    request, base = complete(given)
    assert (base.study, base.dataset.validation) == ("mine", 0.1)
    assert request.fixed == given.fixed


def test_what_a_file_leaves_open_has_the_tunings_own_defaults(tmp_path: Path) -> None:
    request, base = complete(asked(tmp_path, "alpha: 0.5\n"))
    assert (base.study, base.dataset.validation) == ("tune", 0.2)
    assert [*request.fixed][-2:] == ["study=tune", "dataset.validation=0.2"]


def test_a_typed_value_stands_even_where_it_is_the_default(tmp_path: Path) -> None:
    _, base = complete(asked(tmp_path, "study: mine\n", "study=default"))
    assert base.study == "default"


def test_a_key_to_which_a_file_gives_one_value_keeps_it(tmp_path: Path) -> None:
    given = asked(tmp_path, "alpha: 0.5\nmode: triplet\noptimizer:\n  lr: 0.1\n")
    request, base = complete(Request(given.fixed, {}, 2, 2))
    assert list(request.space) == ["layer"]
    assert (base.alpha, base.mode, base.optimizer.lr) == (0.5, "triplet", 0.1)


def test_a_folder_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match="--config-dir nowhere is no folder"):
        without_config_dir(["--config-dir=nowhere"])


def search(request: Request) -> _Search:
    """As far as configurations need it: no data, no storage."""
    made = object.__new__(_Search)
    made.request, made.base = complete(request)
    return made


@pytest.mark.parametrize("fixed", [(), ("dataset.validation=0.3",)])
@pytest.mark.parametrize(
    "held", ["alpha: 0.5", "dataset:\n  validation: 0.1", "repeats: 4\nseed: 7"]
)
def test_the_command_of_a_choice_trains_what_was_compared(
    tmp_path: Path, held: str, fixed: tuple[str, ...]
) -> None:
    found = search(asked(tmp_path, f"{held}\n", *fixed))
    trial = Trial(0, {"alpha": "0.7"}, "complete", (0.5,))
    for side in ("hidden", "input"):
        [trained] = compose_each([shlex.split(found._final_command(side, trial))[3:]])
        assert trained == found._final(side, trial)
        assert trained.dataset.validation == 0


def test_a_trial_asks_for_no_outside_set_and_its_stored_configuration_can_be_read(
    tmp_path: Path,
) -> None:
    text = "evaluation: full\ndataset:\n  outside: {far: elsewhere}\n"
    found = search(asked(tmp_path, text))
    config = found._configuration("hidden", {"alpha": "0.7"})
    assert (config.evaluation, config.dataset.outside) == ("clean", None)
    assert from_plain(asdict(config)) == config
    assert found.base.dataset.outside == {"far": "elsewhere"}  # of the choices

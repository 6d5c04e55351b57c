"""Trials of a side, shared by several processes: two storages of one file stand for two of them."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from hiddenmix.config import Choice, Range, Space, UserError
from hiddenmix.report import Trial
from hiddenmix.study.tuning import choose
from hiddenmix.study.tuning_trials import SideTrials, storage

SPACE: Space = {"layer": Choice(("conv1", "conv2")), "alpha": Range(0.1, 4.0, log=True)}


class Process:
    """One of several that make the trials of one side."""

    def __init__(self, folder: Path, stack: ExitStack, space: Space = SPACE) -> None:
        found = stack.enter_context(storage(folder))
        self.trials = SideTrials(folder, found, "side", space, {"layer": "conv2"}, seed=5)
        self.holds = stack.enter_context(ExitStack())

    def make(self, most: int, value: float = 0.5) -> dict[str, str] | None:
        """A trial from claim to end; its values."""
        with ExitStack() as stack:
            claim = self.trials.claim(most, stack)
            if claim is None:
                return None
            self.trials.report(claim, [value])
            self.trials.end(claim, "complete", [value])
            return claim.values


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


def test_two_processes_never_make_the_same_trial(tmp_path: Path, stack: ExitStack) -> None:
    one, two = Process(tmp_path, stack), Process(tmp_path, stack)
    first, second = one.trials.claim(3, one.holds), two.trials.claim(3, two.holds)
    assert first is not None
    assert second is not None
    assert (first.place, second.place) == (0, 1)
    assert first.values["layer"] == "conv2"  # as it was told to begin
    assert one.make(3) is not None
    assert one.make(3) is None
    assert one.trials.elsewhere(3)
    for process, claim in ((one, first), (two, second)):
        process.trials.end(claim, "complete", [0.7])
        process.holds.close()
    assert not one.trials.elsewhere(3)
    assert [each.state for each in two.trials.trials(3)] == ["complete"] * 3
    assert two.trials.trials(3)[1].validation == (0.7,)


def test_a_trial_whose_process_is_gone_is_made_again_with_its_values(
    tmp_path: Path, stack: ExitStack
) -> None:
    gone, other = Process(tmp_path, stack), Process(tmp_path, stack)
    lost = gone.trials.claim(2, gone.holds)
    assert lost is not None
    gone.holds.close()  # the lock dies with its owner
    assert other.make(2) == lost.values
    assert other.make(2) is not None
    assert [each.place for each in other.trials.trials(2)] == [0, 1]
    assert other.trials.left(2) == 0


def test_a_trial_that_ends_while_its_place_is_looked_at_is_not_made_again(
    tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = Process(tmp_path, stack), Process(tmp_path, stack)
    claim = one.trials.claim(1, one.holds)
    assert claim is not None
    planned = SideTrials._planned

    def end_first(self: SideTrials, *arguments: Any) -> Any:
        one.trials.end(claim, "complete", [0.5])
        one.holds.close()
        return planned(self, *arguments)

    monkeypatch.setattr(SideTrials, "_planned", end_first)
    assert two.trials.elsewhere(1)
    assert two.make(1) is None
    assert not two.trials.elsewhere(1)


def test_what_failed_is_tried_by_the_next_command_alone(tmp_path: Path, stack: ExitStack) -> None:
    one, two = Process(tmp_path, stack), Process(tmp_path, stack)
    with ExitStack() as holds:
        claim = one.trials.claim(1, holds)
        assert claim is not None
        one.trials.end(claim, "failed", [])
    assert one.make(1) is None
    assert not one.trials.elsewhere(1)
    assert two.make(1) == claim.values


def test_a_place_draws_the_same_values_however_the_search_was_interrupted(
    tmp_path: Path, stack: ExitStack
) -> None:
    whole = Process(tmp_path / "whole", stack)
    at_once = [whole.make(4) for _ in range(4)]
    for made in (at_once[:2], at_once[2:]):
        with ExitStack() as own:
            process = Process(tmp_path / "parts", own)
            assert [process.make(4) for _ in made] == made
    assert len({str(each) for each in at_once}) == 4


def test_a_setting_below_the_median_after_as_many_seeds_is_stopped(
    tmp_path: Path, stack: ExitStack
) -> None:
    process = Process(tmp_path, stack)
    for value in (0.5, 0.6, 0.7, 0.8, 0.9):
        assert process.make(7, value) is not None
    with ExitStack() as holds:
        claims = [process.trials.claim(7, holds) for _ in range(2)]
        for claim, value, stops in zip(claims, (0.69, 0.71), (True, False), strict=True):
            assert claim is not None
            assert process.trials.report(claim, [value]) is stops
            process.trials.end(claim, "stopped" if stops else "complete", [value])
    found = process.trials.trials(7)
    assert [each.state for each in found] == [*["complete"] * 5, "stopped", "complete"]
    assert found[5].validation == (0.69,)


def test_the_choice_is_the_best_complete_trial_and_of_equal_ones_the_first() -> None:
    means = [("stopped", 0.9), ("complete", 0.7), ("complete", 0.8), ("complete", 0.8)]
    trials = [Trial(place, {}, state, (mean,)) for place, (state, mean) in enumerate(means)]
    chosen = choose(trials)
    assert chosen is not None
    assert chosen.place == 2
    assert choose(trials[:1]) is None


def test_a_small_space_is_tried_once_each(tmp_path: Path, stack: ExitStack) -> None:
    space: Space = {"layer": Choice(("a", "conv2")), "epochs": Range(1, 5, step=2)}
    process = Process(tmp_path, stack, space)
    made = []
    while (values := process.make(20)) is not None:
        made.append((values["layer"], values["epochs"]))
    assert sorted(made) == [(a, e) for a in ("a", "conv2") for e in ("1", "3", "5")]
    assert process.trials.size == 6
    assert process.trials.left(20) == 0


def test_a_damaged_file_of_trials_is_named(tmp_path: Path) -> None:
    (tmp_path / "optuna.db").write_bytes(b"no database" * 100)
    with (
        pytest.raises(UserError, match=r"^optuna\.db in .* cannot be used: file is not a database"),
        storage(tmp_path),
    ):
        pass

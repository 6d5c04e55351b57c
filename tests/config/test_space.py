"""The grammar of what a tuning searches."""

import math

import pytest

from hiddenmix.config import Choice, Range, UserError, read_space, without_log


def test_one_value_is_fixed_and_several_are_searched() -> None:
    typed = ["seed=3", "layer=conv1,[input,conv1]", "mode=choice(siamese)", "alpha=log(0.1, 4)"]
    typed += [
        "model.dropout=interval(0,0.5)",
        "epochs=range(10,31,5)",
        "model.width=int(interval(8,64))",
    ]
    fixed, space = read_space(without_log(typed))
    assert fixed == ["seed=3"]
    assert space == {
        "layer": Choice(("conv1", "[input,conv1]")),
        "mode": Choice(("siamese",)),
        "alpha": Range(0.1, 4.0, log=True),
        "model.dropout": Range(0.0, 0.5),
        "epochs": Range(10, 30, step=5),
        "model.width": Range(8, 64),
    }
    assert [each.size for each in space.values()] == [2, 1, math.inf, math.inf, 5, 57]
    shown = ["conv1,[input,conv1]", "siamese", "log(0.1,4)", "interval(0,0.5)", "10 to 30 by 5"]
    assert [str(each) for each in space.values()][:5] == shown


def test_intervals_of_a_key_of_whole_numbers_are_of_whole_numbers() -> None:
    typed = ["epochs=interval(10,30)", "batch_size=log(16,256)", "mode=interval(2,4)"]
    _, space = read_space(without_log([*typed, "alpha=interval(1,4)"]))
    assert [repr(each) for each in space.values()] == [
        "Range(low=10, high=30, log=False, step=None)",
        "Range(low=16, high=256, log=True, step=None)",
        "Range(low=2, high=4, log=False, step=None)",
        "Range(low=1.0, high=4.0, log=False, step=None)",
    ]
    assert space["epochs"].size == 21
    with pytest.raises(UserError) as refused:
        read_space(without_log(["epochs=log(1.5,30)"]))
    assert str(refused.value) == (
        "epochs=log(1.5,30) has no whole ends\n  allowed: a whole number from 1 to 1000000"
    )


def test_the_long_form_of_a_logarithm_is_hydras_own() -> None:
    long = ["alpha=tag(log,interval(0.1,4))"]
    assert without_log(["alpha=log(0.1,4)"]) == long
    assert without_log(long) == long
    assert without_log(["alpha=loguniform(0.1,4)"]) == long
    assert without_log(["alpha=uniform(0.1,4)"]) == ["alpha=interval(0.1,4)"]


@pytest.mark.parametrize(
    "typed",
    [
        "log(0,4)",
        "log(0.1)",
        "uniform(1)",
        "interval(4,1)",
        "range(5,1)",
        "glob(*)",
        "tag(x,interval(1,2))",
    ],
)
def test_what_cannot_be_searched_is_named_as_it_was_typed(typed: str) -> None:
    with pytest.raises(UserError) as refused:
        read_space(without_log([f"alpha={typed}"]))
    assert str(refused.value).startswith(f"alpha={typed} cannot be searched\n  allowed: a,b,c; ")


def test_a_key_that_is_searched_is_given_once() -> None:
    with pytest.raises(UserError, match="alpha is given twice"):
        read_space(["alpha=1,2", "alpha=3"])
    with pytest.raises(UserError, match=r"allowed: alpha=1,2"):
        read_space(["+alpha=1,2"])

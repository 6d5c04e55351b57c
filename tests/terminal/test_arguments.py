"""What people type at a shell reaches the configuration as it is, or is explained in their words."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from hiddenmix.config import UserError
from hiddenmix.terminal import as_hydra_reads
from hiddenmix.terminal.arguments import nearest

NAMES = [
    *(
        "été",
        "データ",
        "photos (1)",
        "photos[1]",
        "R&D",
        "it's",
        "a=b",
        "~/x",
        "a,b",
        "007",
        "true",
    ),
    *("C:\\x\\", "#1", "100%", "x{y}", " a ", "it\\'s", "$5", "a|b", "1e3", "-", "a;b", "*"),
]


def read(argument: str) -> object:
    [text] = as_hydra_reads([argument])
    return OverridesParser.create().parse_override(text).value()


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_typed_as_it_is_called(name: str) -> None:
    assert read(f"dataset.root={name}") == name


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_any_text_survives(name: str) -> None:
    if name[0] not in "'\"" and name != "null" and "${" not in name:
        assert read(f"dataset.title={name}") == name


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("dataset.root='a b'", "a b"),
        ('dataset.root="x"', "x"),
        ("dataset.root=null", None),
        ("layer=[input,conv1]", ["input", "conv1"]),
        ("alpha=0.5", 0.5),
    ],
)
def test_what_hydra_reads_by_itself_stays(argument: str, value: object) -> None:
    assert read(argument) == value


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("layer=2", "2"),
        ("layer=1.10", "1.10"),
        ("layer=[input,0,body.2,layer1.0.1]", ["input", "0", "body.2", "layer1.0.1"]),
        ("layer='3'", "3"),
    ],
)
def test_a_layer_may_be_called_by_a_number(argument: str, value: object) -> None:
    assert read(argument) == value


def test_in_a_sweep_commas_part_the_values() -> None:
    arguments = ["-m", "dataset.root=a b,it's", "dataset.title=choice(x,y)"]
    flag, roots, titles = as_hydra_reads(arguments)
    assert flag == "-m"
    parse = OverridesParser.create().parse_override
    assert [str(each) for each in parse(roots).sweep_string_iterator()] == ["'a b'", "'it\\'s'"]
    assert list(parse(titles).sweep_string_iterator()) == ["x", "y"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["layer", "=", "conv1"], "write layer=conv1, without spaces around ="),
        (["layer=", "conv1"], "conv1 is no key=value"),
        (["conv1"], "write conv1=<value>"),
        (["layer=[conv1,conv2"], "layer=[conv1,conv2 has a bracket that is not closed"),
        (["model.arguments={width: 64"], "has a brace that is not closed"),
        (["alpha=1 ="], "alpha=1 = is not understood"),
    ],
)
def test_what_cannot_be_read_is_explained(arguments: list[str], words: str) -> None:
    with pytest.raises(UserError) as refused:
        as_hydra_reads(arguments)
    assert words in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 2


def test_flags_and_their_values_pass() -> None:
    arguments = ["--config-dir", "my folder", "-m", "--cfg=job", "~experiment", "+x=1"]
    assert as_hydra_reads(arguments) == arguments


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("layers", "layer"),
        ("lr", "optimizer.lr"),
        ("alpah", "alpha"),
        ("batchsize", "batch_size"),
        ("model.widht", "model.width"),
        ("root", "dataset.root"),
    ],
)
def test_the_nearest_key_is_named(typed: str, meant: str) -> None:
    assert nearest(typed) == f"; did you mean {meant}?"


def test_nothing_near_is_nothing_said() -> None:
    assert nearest("zzz") == ""

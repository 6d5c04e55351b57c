"""What people type at a shell reaches the configuration as it is, or is explained in their words."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from hiddenmix.config import UserError
from hiddenmix.terminal import as_hydra_reads, decimal_commas, given_twice, layer_text
from hiddenmix.terminal.hints import nearest_key

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
    if name[0] not in "'\"" and name.lower() != "null" and name != "None" and "${" not in name:
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


def test_small_numbers_stay_numbers_in_a_sweep() -> None:
    """hydra-ecosystem/hydra#999: 1e-05 became a text."""
    _, swept = as_hydra_reads(["-m", "alpha=1e-05,1e-4"])
    parse = OverridesParser.create().parse_override
    values = [parse(f"alpha={each}").value() for each in parse(swept).sweep_string_iterator()]
    assert values == [1e-05, 1e-4]
    assert all(isinstance(each, float) for each in values)


def test_a_word_needs_no_quotes_but_where_it_is_hydras_own() -> None:
    assert as_hydra_reads(["mode=siamese", "study=true"]) == ["mode=siamese", "study='true'"]


def test_in_a_sweep_commas_part_the_values() -> None:
    arguments = ["-m", "dataset.root=a b,it's", "dataset.title=choice(x,y)"]
    flag, roots, titles = as_hydra_reads(arguments)
    assert flag == "-m"
    parse = OverridesParser.create().parse_override
    assert [str(each) for each in parse(roots).sweep_string_iterator()] == ["'a b'", "'it\\'s'"]
    [_, commas] = as_hydra_reads(["-m", "dataset.root=a\\,b,c"])
    assert list(parse(commas).sweep_string_iterator()) == ["'a,b'", "c"]
    assert list(parse(titles).sweep_string_iterator()) == ["x", "y"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["layer", "=", "conv1"], "write layer=conv1, without spaces around ="),
        (["layer=", "conv1"], "conv1 is no key=value\n  write layer=conv1, without"),
        (["conv1"], "write layer=conv1"),
        (
            ["layer=[conv1,conv2"],
            "a bracket that is not closed or not opened\n  write layer=[conv1,conv2]",
        ),
        (["layer=conv1,conv2]"], "write layer=[conv1,conv2]"),
        (
            ["model.arguments={width: 64"],
            "a brace that is not closed or not opened\n  write model.arg",
        ),
        (["alpha=1 ="], "alpha=1 = is not understood\n  write alpha=1"),
        (["layer==conv1"], "layer==conv1 is not understood\n  write layer=conv1"),
        (["layer:conv1"], "layer:conv1 is no key=value\n  write layer=conv1"),
        (["layer=[conv1,conv2,]"], "write layer=[conv1,conv2]"),
        (["layer=(conv1,conv2)"], "write layer=[conv1,conv2]"),
        (["layer=conv1;conv2"], "write layer=[conv1,conv2]"),
        (["-m", "alpha=(0.1,0.2)"], "write alpha=0.1,0.2"),
        (["-m", "alpha=0.2,", "0.5"], "write alpha=0.2,0.5, without spaces around the comma"),
        (["-m", "alpha=0.2,"], "alpha=0.2, is not understood\n  write alpha=0.2"),
        (["layer=#conv1"], "allowed: none, input, a layer's name, or a list"),
        (["alpha=½"], "alpha=½ is not understood\n  allowed: a number above 0 to 1000000"),
        (["dataset.root=my", "photos"], "write 'dataset.root=my photos'"),
        (["dataset.root=“my", "photos”"], "the shell takes “ ” ‘ ’ for letters"),
        (["help"], "write --help"),
        (["?"], "write --help"),
        (["version"], "write --version"),
        (["resnet18"], "write model=torchvision model.arch=resnet18"),
        (["=1"], "=1 has no key"),
        (["--layer", "conv1"], "--layer is no flag of train\n  write layer=conv1"),
        (["--layer conv1"], "--layer is no flag of train\n  write layer=conv1"),
        (["--batch-size=32"], "write batch_size=32"),
        (["—lr=0.1"], "write optimizer.lr=0.1"),
        (["--multi-run"], "did you mean --multirun?"),
        (["-"], "- is no flag of train"),
        (["~dataset.root"], "allowed: dataset.root=<value>"),
        (["model@m=cnn"], "model@m is not allowed\n  allowed: model=cnn"),
        (["dataset=[digits,mnist]"], "one of them, or -m dataset=digits,mnist"),
        (["-m", "layer=glob(conv*)"], "write the values, layer=<one>,<two>"),
    ],
)
def test_what_cannot_be_read_is_explained(arguments: list[str], words: str) -> None:
    with pytest.raises(UserError) as refused:
        as_hydra_reads(arguments)
    assert words in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 2


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("layer=“conv1”", "conv1"), ("layer=‘conv1’", "conv1"), ("layer=conv1\r", "conv1")),
        *(
            ("layer=conv1\u00a0", "conv1"),
            ("\u200blayer=conv1", "conv1"),
            (" layer =conv1", "conv1"),
        ),
        *(("alpha=１", 1), ("alpha=−0.5", -0.5), ("alpha=.5", 0.5), ("alpha=1e-3", 0.001)),
        *(("epochs=1e1", 10), ("seed=3.0", 3), ("dataset.train_size=5e4", 50_000)),
        *(("seed=1.5", 1.5), ("epochs=1_000", 1000), ("workers=2.", 2), ("repeats=auto", "auto")),
        *(
            ("study=1e3", "1e3"),
            ("study=1_000", "1_000"),
            ("study=true", "true"),
            ("study=été", "été"),
        ),
        *(("dataset.root=None", None), ("dataset.root=Null", None), ("dataset.resize=None", None)),
        *(("dataset.root='Tis", "'Tis"), ("dataset.root=photos\r\n", "photos")),
        *(("+alpha=0.5", 0.5), ("++alpha=0.5", 0.5), ("dataset.train_size=None", None)),
        ("dataset.outside={far: été, near: photos (1)}", {"far": "été", "near": "photos (1)"}),
    ],
)
def test_what_is_meant_is_read(argument: str, value: object) -> None:
    assert read(argument) == value


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("range(0,3)", ["0", "1", "2"]),
        ("sort(range(0,2),reverse=true)", ["1", "0"]),
        ("0,1.10,conv1", ["'0'", "'1.10'", "conv1"]),
        ("res-1,3-a,1-x.0", ["res-1", "3-a", "1-x.0"]),
        ("été,[input,层.0],'a b'", ["'été'", "[input,'层.0']", "'a b'"]),
        ("choice(0,ä)", ["'0'", "'ä'"]),
    ],
)
def test_layers_of_any_name_are_swept_over(typed: str, values: list[str]) -> None:
    [_, text] = as_hydra_reads(["-m", f"layer={typed}"])
    override = OverridesParser.create().parse_override(text)
    assert list(override.sweep_string_iterator()) == values


@pytest.mark.parametrize("name", ["conv1", "layer1.0.bn2", "res-1", "0.10", "été", "a b", "it's"])
def test_a_layers_name_is_shown_as_it_is_typed(name: str) -> None:
    assert read(f"layer={layer_text(name)}") == name


@pytest.mark.parametrize("value", ["c_${hydra:job.name}", "b_${hydra.job.num}"])
def test_hydra_itself_is_no_part_of_a_value(value: str) -> None:
    with pytest.raises(UserError) as refused:
        as_hydra_reads(["-m", f"study={value}"])
    assert str(refused.value) == (
        "${hydra:...} cannot be used in study\n  allowed: ${<key>}, ${now:...}"
    )
    as_hydra_reads([f"hydra.sweep.dir=outputs/{value}"])


def test_flags_stand_anywhere() -> None:
    arguments = ["epochs=3", "-m", "layer=a,b", "--config-dir", "x", "repeats=1"]
    assert as_hydra_reads(arguments) == [
        "-m",
        "--config-dir",
        "x",
        "epochs=3",
        "layer=a,b",
        "repeats=1",
    ]
    assert as_hydra_reads(["–m", "—config-dir=x", "layer=a"]) == ["-m", "--config-dir=x", "layer=a"]
    assert as_hydra_reads(["layer=[", "--help"]) == ["--help"]


def test_the_users_folder_may_be_below_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert as_hydra_reads(["--config-dir=~/mine"]) == ["--config-dir=/home/me/mine"]


def test_what_says_nothing_is_left_away() -> None:
    assert as_hydra_reads(["", "experiment=null", "experiment=None", "alpha=1"]) == ["alpha=1"]
    assert as_hydra_reads(["\\", "\\alpha=1", "^"]) == ["alpha=1"]


def test_of_two_values_the_last_is_taken_and_said() -> None:
    [said] = given_twice(["-m", "layer=conv1", "layer=conv2", "seed=1", "seed=1"])
    assert said == (
        "layer is given twice: conv2 is taken, conv1 is not (both: layer=conv1,conv2 with -m)"
    )


def test_two_values_that_may_be_one_fraction_are_said() -> None:
    assert decimal_commas(["-m", "alpha=1,5", "optimizer.lr=0,05", "seed=1,2", "alpha=0.5,1"]) == [
        "alpha=1,5 are two values, 1 and 5; a fraction is alpha=1.5",
        "optimizer.lr=0,05 are two values, 0 and 05; a fraction is optimizer.lr=0.05",
    ]


@pytest.mark.parametrize(
    ("typed", "meant"), [("triplet", "mode=triplet"), ("conv1", "layer=conv1"), ("input", "layer=input")]
)  # fmt: skip
def test_a_layer_or_mode_without_its_key_is_told_with_it(typed: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"\n  write {meant}, without"):
        as_hydra_reads([typed])


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
        ("learning_rate", "optimizer.lr"),
        ("optimizer.learning_rate", "optimizer.lr"),
        ("model/arch", "model.arch"),
        ("gpu", "device"),
        ("Batch-Size", "batch_size"),
    ],
)
def test_the_nearest_key_is_named(typed: str, meant: str) -> None:
    assert nearest_key(typed) == meant


def test_nothing_near_is_nothing_said() -> None:
    assert nearest_key("zzz") is None

"""Names in any script: a font that has them, or a readable substitute; never a box."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from fontTools.fontBuilder import FontBuilder  # type: ignore[import-untyped]  # of matplotlib's own
from fontTools.pens.ttGlyphPen import TTGlyphPen  # type: ignore[import-untyped]
from matplotlib import font_manager, ft2font
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hiddenmix.report import lettering
from hiddenmix.report.answers import Answers
from hiddenmix.report.comparison import settings_table
from hiddenmix.report.drawing import Drawing, groups
from hiddenmix.report.figures import draw
from hiddenmix.report.lettering import cut, families, file_part, readable, width, wrapped
from hiddenmix.report.reading import read_study
from tests.support.made_study import made_result, write_cell

JAPANESE, ARABIC, EMOJI = "日本語データ", "صور القطط", "😀🫠"
OWN = [
    entry
    for entry in font_manager.fontManager.ttflist
    if Path(entry.fname).is_relative_to(Path(font_manager.__file__).parent)
]
"""The fonts that matplotlib brings."""


@pytest.fixture(autouse=True)
def no_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test finds of fonts is forgotten after it, and fonts that it adds are not kept."""
    monkeypatch.setattr(lettering, "_known", {})
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [*font_manager.fontManager.ttflist])
    lettering._fonts.cache_clear()
    yield
    lettering._fonts.cache_clear()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any font but matplotlib's own."""
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(OWN))
    monkeypatch.setattr(font_manager, "findSystemFonts", list)


def made_font(folder: Path, name: str, signs: str, ink: bool = True) -> Path:
    """A font with a square for each of `signs`, or with blanks."""
    order = [".notdef", *(f"u{ord(sign):04X}" for sign in signs)]
    glyphs = {}
    for glyph in order:
        pen = TTGlyphPen(None)
        if ink:
            pen.moveTo((100, 0))
            for point in ((900, 0), (900, 800), (100, 800)):
                pen.lineTo(point)
            pen.closePath()
        glyphs[glyph] = pen.glyph()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(order)
    font.setupCharacterMap({ord(sign): f"u{ord(sign):04X}" for sign in signs})
    font.setupGlyf(glyphs)
    font.setupHorizontalMetrics(dict.fromkeys(order, (1000, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": name, "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    path = folder / f"{name}.ttf"
    font.save(path)
    return path


def install(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> None:
    """As `apt install fonts-...` does: the fonts lie in a folder, matplotlib's list is older."""
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(path) for path in paths])


# In figures


def drawings(folder: Path) -> list[Drawing]:
    for layer in ("input", "conv1"):
        for seed in (0, 1):
            result = made_result(layer, "siamese", 1.0, seed)
            result["title"] = f"{JAPANESE} {ARABIC} {EMOJI} $"
            result["data"]["classes"] = ["猫", "にゃー", ARABIC, EMOJI, "été", "한국", *"6789"]
            result["shift"] = {f"霧_{s}": {"accuracy": 0.5} for s in (1, 2)}
            result["outside"] = {f"{JAPANESE}:霧_{s}": {"accuracy": 0.5} for s in (1, 2)}
            result["outside"][ARABIC] = {"accuracy": 0.5}
            write_cell(folder, result)
    study = read_study(folder)
    [group] = groups(study, settings_table(study.cells))
    return list(draw(group, study, Answers(folder, study.cells)))


def texts(drawing: Drawing) -> Iterator[str]:
    root = ET.fromstring(drawing.save("svg"))  # noqa: S314  # our own file
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        yield "".join(text.itertext())


def boxes(drawing: Drawing) -> set[str]:
    """The characters of a figure that none of its fonts has."""
    names = [name for name in drawing.fonts if name != "sans-serif"]
    files = [font_manager.findfont(name, fallback_to_default=False) for name in names]
    known = {code for file in files for code in ft2font.FT2Font(file).get_charmap()}
    return {sign for text in texts(drawing) for sign in text if ord(sign) not in known}


def test_no_figure_has_boxes_whatever_fonts_the_machine_has(tmp_path: Path) -> None:
    found = drawings(tmp_path)
    assert {"by_class_siamese", "outside_severity_siamese"} <= {each.name for each in found}
    for drawing in found:
        assert drawing.save("png")  # a glyph that is missing warns, and warnings are errors
        assert not boxes(drawing)


def test_without_fonts_a_substitute_is_shown(tmp_path: Path, bare: None) -> None:
    for drawing in drawings(tmp_path):
        assert drawing.save("png")
        assert not boxes(drawing)
        text = " ".join(texts(drawing))
        assert "U+65E5 U+672C U+8A9E de-ta" in text
        if drawing.name == "by_class_siamese":
            assert {"U+732B (36)", "niya- (36)", "hangug (36)"} <= {*texts(drawing)}


def test_a_font_that_was_installed_later_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bare: None
) -> None:
    install(monkeypatch, made_font(tmp_path, "Made Gothic", "日本語データ猫にゃ霧"))
    for drawing in drawings(tmp_path):
        assert "Made Gothic" in drawing.fonts
        assert drawing.save("png")
        assert not boxes(drawing)
        assert JAPANESE in " ".join(texts(drawing))
        if drawing.name == "by_class_siamese":
            # Beside them, what still no font has is spelled.
            assert {"猫 (36)", "にゃー (36)", "hangug (36)"} <= {*texts(drawing)}


def test_matplotlib_warns_of_a_box() -> None:
    """Else nothing above would fail."""
    figure = Figure()
    FigureCanvasAgg(figure)
    figure.suptitle("\ue123")
    drawing = Drawing("name", "heading", "reading", figure)
    with pytest.raises(UserWarning, match="missing from"):
        drawing.save("png")
    with warnings.catch_warnings(action="ignore"):
        assert boxes(drawing) == {"\ue123"}


# Fonts


@pytest.mark.parametrize(
    ("name", "ink"), [("Last Resort", True), ("Adobe Blank", False), ("Colour Emoji", False)]
)
def test_fonts_of_boxes_and_blanks_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bare: None, name: str, ink: bool
) -> None:
    install(monkeypatch, made_font(tmp_path, name, "日", ink))
    assert readable("日") == "U+65E5"
    assert families("日") == ["DejaVu Sans", "sans-serif"]


def test_a_sign_for_private_use_is_no_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bare: None
) -> None:
    install(monkeypatch, made_font(tmp_path, "Made Icons", "\ue000"))
    assert readable("\ue000") == "U+E000"


def test_as_few_fonts_as_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bare: None
) -> None:
    made = [("A", "日"), ("B", "日本猫"), ("C", "霧")]
    install(monkeypatch, *(made_font(tmp_path, f"Made {name}", signs) for name, signs in made))
    assert families("x日本") == ["DejaVu Sans", "Made B", "sans-serif"]
    assert families("日本霧犬") == ["DejaVu Sans", "Made B", "Made C", "sans-serif"]


def test_a_damaged_font_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bare: None
) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"\0" * 100)
    install(monkeypatch, broken, tmp_path / "gone.ttf", made_font(tmp_path, "Made", "日"))
    assert readable("日") == "日"


def test_latin_text_looks_up_no_font(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(lettering, "_look_up", refused)
    assert readable("Digits, cnn") == "Digits, cnn"


# Substitutes


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("CIFAR-10 データ, cnn", "CIFAR-10 de-ta, cnn"),
        ("(日本)", "(U+65E5 U+672C)"),
        ("한국어", "hangugeo"),
        ("ＡＢＣ　１", "ABC 1"),
        ("👩‍🚀x", "[woman] [rocket] x"),
        ("👍🏽", "[thumbs up sign]"),
        ("🇯🇵", "JP"),
        ("\ue000", "U+E000"),
        ("a\u202eb\u200bc", "abc"),
        ("e\u0301té α → ≥ …", "été α → ≥ …"),
    ],
)
def test_substitutes_can_be_read(bare: None, text: str, shown: str) -> None:
    assert readable(text) == shown
    assert readable(shown) == shown


def test_arabic_is_spelled_where_its_letters_would_not_be_joined(
    monkeypatch: pytest.MonkeyPatch, bare: None
) -> None:
    monkeypatch.setattr(lettering, "_JOINS_LETTERS", True)
    assert readable("قطط") == "قطط"
    monkeypatch.setattr(lettering, "_known", {})
    monkeypatch.setattr(lettering, "_JOINS_LETTERS", False)
    assert readable("قطط") == "U+0642 U+0637 U+0637"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Digits, cnn, optimizer.lr=0.1", "digits_cnn_optimizer.lr_0.1"),
        ("Été / ../日本", "ete_.._u65e5_u672c"),
        (f"a{'b' * 100}, lr=0.1", f"a{'b' * 28}_{'b' * 22}_lr_0.1"),
        ("قطط", "u0642_u0637_u0637"),
        ("//", ""),
    ],
)
def test_names_of_files_are_ascii_and_short(text: str, name: str) -> None:
    assert file_part(text) == name


def test_width_and_cut() -> None:
    assert (width("abc"), width("日本"), width("e\u0301")) == (3, 4, 1)
    assert cut("abcdefghij", 10) == "abcdefghij"
    assert cut("abcdefghijk", 10) == "abcd…ghijk"
    assert cut("one two three four", 13) == "one…four"
    assert cut("日本語データ", 7) == "日…タ"


def test_wrapped_lines_fit() -> None:
    assert wrapped("one two three", 7, 2) == "one two\nthree"
    assert wrapped("sketches_by_hand", 10, 2) == "sketches_\nby_hand"
    assert wrapped("abcdefgh", 3, 3) == "abc\ndef\ngh"
    for text in ("one two three four five " * 5, "日本 " * 40, "x" * 99, "a_b-" * 30):
        for room in (5, 12, 33):
            lines = wrapped(text, room, 2).split("\n")
            assert len(lines) <= 2
            assert max(map(width, lines)) <= room

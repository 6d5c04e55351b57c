"""`mode`: a name, or the number of images."""

import pytest

from hiddenmix.config import Config, ConfigError, check, configurations, images_of, mode_rank


def test_a_number_of_images_is_one_mode_with_its_name() -> None:
    found = configurations(["mode=siamese,triplet,4,2,3,12"])
    modes = [config.mode for config in found]
    assert modes == ["siamese", "triplet", "4", "siamese", "triplet", "12"]
    assert [images_of(mode) for mode in modes] == [2, 3, 4, 2, 3, 12]
    assert sorted(modes, key=mode_rank) == [*["siamese"] * 2, *["triplet"] * 2, "4", "12"]
    assert Config(mode="2") == Config()


@pytest.mark.parametrize("mode", ["1", "0", "-2", "1001", "2.5", "4.0", "04", "", "٤"])
def test_other_numbers_are_refused(mode: str) -> None:
    with pytest.raises(ConfigError, match="a whole number of images from 2 to 1000"):
        check(Config(mode=mode))

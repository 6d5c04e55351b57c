"""Signals are remembered, and handed on to the engine whose handlers stood there."""

import os
import signal
from collections.abc import Iterator

import pytest

from hiddenmix.system import Interrupted, Interrupts

told: list[int] = []


@pytest.fixture
def engine() -> Iterator[None]:
    """Handlers as submitit's."""
    told.clear()
    numbers = (signal.SIGTERM, signal.SIGUSR2)
    former = {
        number: signal.signal(number, lambda each, _: told.append(each)) for number in numbers
    }
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    "sent", [(signal.SIGUSR2, signal.SIGTERM), (signal.SIGTERM, signal.SIGUSR2, signal.SIGTERM)]
)
def test_an_engine_is_told_of_every_signal_and_the_first_is_the_exit_code(
    sent: tuple[signal.Signals, ...],
) -> None:
    with Interrupts().installed() as interrupts, interrupts.deferred():
        for number in sent:
            os.kill(os.getpid(), number)
        with pytest.raises(Interrupted) as ended:
            interrupts.check()
        assert told == []
    assert ended.value.exit_code == 128 + sent[0]
    assert told == list(dict.fromkeys(sent))

"""In which of torch's forms a network is trained: eager, compiled, recorded."""

from dataclasses import dataclass

import torch

from hiddenmix.config import Config


@dataclass(frozen=True)
class Form:
    """In which of torch's forms a network is trained."""

    compiled: bool
    """Whether its passes run through torch.compile."""

    recorded: bool
    """Whether its steps are recorded as CUDA graphs and replayed."""

    text: str
    """The form and the reason for it, in one line."""


def choose_form(
    config: Config,
    device: torch.device,
    memory_format: torch.memory_format = torch.channels_last,
) -> Form:
    """What `compile` comes to on `device`; the layout is the network's, the precision the user's."""
    fast = memory_format == torch.channels_last
    name = "channels_last" if fast else "contiguous as the network does not run in channels_last"
    layout = f"{name}, {config.precision}"
    cuda = device.type == "cuda"
    if config.compile is True:
        graphs = ", recorded as CUDA graphs" if cuda else ""
        return Form(True, cuda, f"form: compiled{graphs}, {layout}: compile=true")
    if config.compile is False:
        return Form(False, False, f"form: eager, {layout}: compile=false")
    if cuda:
        reason = "one call launches a step, so that the GPU need not wait for Python"
        return Form(False, True, f"form: eager, recorded as CUDA graphs, {layout}: {reason}")
    if device.type != "cpu":
        reason = f"neither recorded nor compiled, which is not measured on {device.type}"
        return Form(False, False, f"form: eager, {layout}: {reason}")
    # docs/performance.md: not faster than eager channels_last, and 25 s to compile a network.
    reason = "compile does not pay on the CPU"
    if fast:
        reason += ", where channels_last alone is as fast"
    return Form(False, False, f"form: eager, {layout}: {reason}")

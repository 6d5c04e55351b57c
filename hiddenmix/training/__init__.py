"""One network: its step, schedules, the draws of an epoch, recorded steps."""

from hiddenmix.training.forms import choose_form
from hiddenmix.training.loop import Epoch, NonFiniteLossError, Training

__all__ = ["Epoch", "NonFiniteLossError", "Training", "choose_form"]

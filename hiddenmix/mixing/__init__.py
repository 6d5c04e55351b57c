"""Mixing the feature maps of several images at a layer: draws, mixing, hook and loss.

Oki & Kurita (2018): K weight-sharing branches carry K images to a layer, their maps h(x_b) are added
with weights w ~ Dirichlet(alpha, ..., alpha), z = sum_b w_b h(x_b), and the rest g of the network is
trained on z with the target sum_b w_b onehot(y_b). K = 2 ("siamese") has w = (lambda, 1 - lambda)
with lambda ~ Beta(alpha, alpha), as in Zhang et al. (2018); K = 3 is "triplet".

With partners taken from the same batch, x_b = x[pi_b], weight sharing gives h(x[pi]) = h(x)[pi]
exactly, BatchNorm in training mode included (a permuted batch has the same statistics), so that K
branches cost one. Dropout below the layer is the exception: the K branches of a literal network
would drop different units, here a sample has one dropout mask in every branch that it appears in.

CutMix (`boxes.py`) pastes boxes of the partners' maps instead of adding them (Yun et al. 2019).

The functions are pure and take the draw as an argument; the drawing stands apart. K is the number of
branches, B the batch size.
"""

from hiddenmix.mixing.boxes import cut_branches, cutmix, position_axes
from hiddenmix.mixing.draws import (
    BRANCHES,
    OPERATIONS,
    Draw,
    branches_of,
    draw,
    draw_centres,
    draw_partners,
    draw_weights,
)
from hiddenmix.mixing.hooks import LayerMixing, branch_maps, mixing_at
from hiddenmix.mixing.losses import (
    branch_cross_entropy,
    mixed_cross_entropy,
    mixed_loss,
    mixed_targets,
)
from hiddenmix.mixing.operations import mix, mix_branches
from hiddenmix.mixing.places import mixable_tensors, replace_tensor, unwrapped

__all__ = [
    "BRANCHES",
    "OPERATIONS",
    "Draw",
    "LayerMixing",
    "branch_cross_entropy",
    "branch_maps",
    "branches_of",
    "cut_branches",
    "cutmix",
    "draw",
    "draw_centres",
    "draw_partners",
    "draw_weights",
    "mix",
    "mix_branches",
    "mixable_tensors",
    "mixed_cross_entropy",
    "mixed_loss",
    "mixed_targets",
    "mixing_at",
    "position_axes",
    "replace_tensor",
    "unwrapped",
]

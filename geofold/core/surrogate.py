"""Short-horizon surrogate: what a corrected latent costs over the next H steps of the frozen backbone.

m = sum_h gamma^h loss_h / sum_h gamma^h (GeoSSM, Eq. 3, divided by the sum of its weights so that its
slope is that of the loss). Imagined steps commit, observe again and take the backbone's proposal as it is
(K = 0).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from geofold.core.backbone import Backbone
from geofold.core.domain import Domain, Loss, Prediction


def horizon_loss(
    domain: Domain, backbone: Backbone, memory: Any, z: Tensor, state: Any, goal: Any, *, steps: int, discount: float
) -> tuple[Tensor, Prediction, Loss]:
    """Surrogate m of latents z (B, d), with the prediction and the loss of the present step.

    Parameters
    ----------
    memory
        State of the backbone after its proposal.
    steps, discount
        H and gamma.

    Returns
    -------
    (B,), Prediction, Loss
        m is infinite where the decoding is not valid.
    """
    with torch.no_grad():
        prediction = domain.decode(z, state)
        loss = domain.loss(prediction, state, goal)
        total, weight = loss.total, 1.0
        imagined, memory = prediction, backbone.write(memory, z)
        for h in range(1, steps):
            state = domain.commit(imagined, state)
            proposal, memory = backbone.step(domain.observe(state, goal), memory)
            imagined = domain.decode(proposal, state)
            total = total + discount**h * domain.loss(imagined, state, goal).total
            weight += discount**h
        worth = torch.where(prediction.valid, total / weight, torch.full_like(total, torch.inf))
    return torch.where(worth.isnan(), torch.full_like(worth, torch.inf), worth), prediction, loss

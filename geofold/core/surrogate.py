"""Short-horizon surrogate: what a latent costs over the next H steps of the frozen backbone.

m = sum_h gamma^h loss_h / sum_h gamma^h (GeoSSM, Eq. 3, divided by the sum of its weights so that its
slope is that of the loss). Imagined steps commit, observe again and take the backbone's proposal as it is
(K = 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from geofold.core.backbone import Backbone, take_rows
from geofold.core.domain import Domain, Loss, Prediction
from geofold.core.linearise import loss_value


class Trial(NamedTuple):
    """A latent that was tried against the one at hand.

    now, then : (B,) surrogate m of the latent at hand and of the trial; infinite where it cannot be decoded.
    prediction, loss : of the trial, at the present step.
    """

    now: Tensor
    then: Tensor
    prediction: Prediction
    loss: Loss


@dataclass(frozen=True)
class Horizon:
    """H steps ahead, each worth gamma of the one before."""

    steps: int = 3
    discount: float = 0.97

    @property
    def total(self) -> float:
        """Sum of the weights."""
        return sum(self.discount**h for h in range(self.steps))

    def compare(
        self,
        domain: Domain,
        backbone: Backbone,
        memory: Any,
        state: Any,
        goal: Any,
        z: Tensor,
        seen: Prediction,
        loss: Tensor,
        trial: Tensor,
    ) -> Trial:
        """Surrogate of latents z (B, d), whose prediction and loss (B,) are known, and of trials (B, d).

        Both roll out in one batch of 2B rows where the domain can double its state (`Selectable`).

        Parameters
        ----------
        memory
            State of the backbone after its proposal.
        """
        with torch.no_grad():
            prediction = domain.decode(trial, state)
            tried = loss_value(domain, prediction, state, goal)
            now, then = loss, tried.total
            # A predictor that holds still over a domain at rest imagines the present loss again and again.
            resting = getattr(backbone, "no_motion", False) and getattr(domain, "rests", False)
            if self.steps > 1 and not resting:
                rest = _rollout_losses(self, domain, backbone, memory, state, goal, (z, seen), (trial, prediction))
                now, then = (now + rest[0]) / self.total, (then + rest[1]) / self.total
        then = torch.where(prediction.valid & ~then.isnan(), then, torch.inf)
        return Trial(now, then, prediction, tried)

    def rollout_loss(
        self, domain: Domain, backbone: Backbone, memory: Any, z: Tensor, prediction: Prediction, state: Any, goal: Any
    ) -> Tensor:
        """sum_{h >= 1} gamma^h loss_h (B,) after a latent's prediction is committed."""
        total, memory = torch.zeros_like(z[:, 0]), backbone.write(memory, z)
        for h in range(1, self.steps):
            state = domain.commit(prediction, state)
            proposal, memory = backbone.step(domain.observe(state, goal), memory)
            prediction = domain.decode(proposal, state)
            judge = domain.loss if torch.is_grad_enabled() else partial(loss_value, domain)
            total = total + self.discount**h * judge(prediction, state, goal).total
        return total

    def gradient(self, domain: Domain, backbone: Backbone, memory: Any, z: Tensor, state: Any, goal: Any) -> Tensor:
        """Gradient (B, d) of m at latents z, by one backward pass through all H steps.

        Raises
        ------
        RuntimeError
            If the domain's `commit` or the backbone cannot be differentiated.
        """
        leaf = z.detach().requires_grad_(True)
        with torch.enable_grad():
            prediction = domain.decode(leaf, state)
            total = domain.loss(prediction, state, goal).total
            total = total + self.rollout_loss(domain, backbone, memory, leaf, prediction, state, goal)
            return torch.autograd.grad(total.sum() / self.total, leaf)[0]


def _rollout_losses(
    horizon: Horizon,
    domain: Domain,
    backbone: Backbone,
    memory: Any,
    state: Any,
    goal: Any,
    one: tuple[Tensor, Prediction],
    other: tuple[Tensor, Prediction],
) -> tuple[Tensor, Tensor]:
    """`ahead` of two latents, in one batch where that can be."""
    select = getattr(domain, "select", None)  # see `Selectable`
    if select is None:
        both = (horizon.rollout_loss(domain, backbone, memory, z, p, state, goal) for z, p in (one, other))
        return next(both), next(both)
    rows = torch.arange(len(one[0]), device=one[0].device).repeat(2)
    pair = [p for _, p in (one, other)]
    stacked = Prediction(
        torch.cat([p.mean for p in pair]),
        torch.cat([p.precision.expand_as(p.mean) for p in pair]),
        torch.cat([p.valid for p in pair]),
    )
    total = horizon.rollout_loss(
        domain,
        backbone,
        take_rows(memory, rows),
        torch.cat([one[0], other[0]]),
        stacked,
        select(state, rows),
        goal,
    )
    return total.tensor_split(2)  # type: ignore[return-value]

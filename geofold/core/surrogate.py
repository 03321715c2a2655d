"""Short-horizon surrogate: discounted mean loss of a latent over the next H steps of the frozen backbone.

m = sum_h gamma^h loss_h / sum_h gamma^h (GeoSSM, Eq. 3, divided by the sum of its weights so that its
gradient has the scale of the loss). Each imagined step commits, observes and takes the backbone's proposal without
correction (K = 0).
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
    """Trial latent compared with the current first.

    Attributes
    ----------
    current_value, trial_value : (B,)
        Surrogate m of the current latent and of the trial; infinite if the trial cannot be decoded.
    prediction : Prediction
        Prediction of the trial.
    loss : Loss
        Loss of the trial at the present step.
    """

    current_value: Tensor
    trial_value: Tensor
    prediction: Prediction
    loss: Loss


@dataclass(frozen=True)
class Horizon:
    """Horizon of H steps.

    Attributes
    ----------
    steps : int
        H.
    discount : float
        gamma, the weight of a step relative to the previous first.
    """

    steps: int = 3
    discount: float = 0.97

    @property
    def weight_sum(self) -> float:
        """Sum of the discount factors."""
        return sum(self.discount**h for h in range(self.steps))

    def compare(
        self,
        domain: Domain,
        backbone: Backbone,
        memory: Any,
        state: Any,
        goal: Any,
        z: Tensor,
        prediction: Prediction,
        loss: Tensor,
        trial: Tensor,
    ) -> Trial:
        """Compare the surrogate of trial latents with that of the current ones.

        Both roll out in one batch of 2B rows if the domain can repeat its state (`Selectable`).

        Parameters
        ----------
        domain, backbone
        memory
            State of the backbone after its proposal.
        state, goal
            State and goal in the types of the domain.
        z, trial : (B, d)
            Current and trial latents.
        prediction : Prediction
            Prediction of z.
        loss : (B,)
            Loss of z at the present step.

        Returns
        -------
        Trial
        """
        with torch.no_grad():
            trial_prediction = domain.decode(trial, state)
            trial_loss = loss_value(domain, trial_prediction, state, goal)
            current_value, trial_value = loss, trial_loss.total
            # Without motion and over a domain at rest, every imagined step has the present loss.
            resting = getattr(backbone, "no_motion", False) and getattr(domain, "rests", False)
            if self.steps > 1 and not resting:
                pairs = (z, prediction), (trial, trial_prediction)
                later = _rollout_losses(self, domain, backbone, memory, state, goal, *pairs)
                current_value = (current_value + later[0]) / self.weight_sum
                trial_value = (trial_value + later[1]) / self.weight_sum
        trial_value = torch.where(trial_prediction.valid & ~trial_value.isnan(), trial_value, torch.inf)
        return Trial(current_value, trial_value, trial_prediction, trial_loss)

    def rollout_loss(
        self, domain: Domain, backbone: Backbone, memory: Any, z: Tensor, prediction: Prediction, state: Any, goal: Any
    ) -> Tensor:
        """Discounted loss sum_{h >= 1} gamma^h loss_h, (B,), of the steps after a latent (B, d) is committed.

        Parameters
        ----------
        domain, backbone
        memory
            State of the backbone after its proposal.
        z : (B, d)
        prediction : Prediction
            Prediction of z.
        state, goal
            State and goal in the types of the domain.
        """
        total, memory = torch.zeros_like(z[:, 0]), backbone.write(memory, z)
        for h in range(1, self.steps):
            state = domain.commit(prediction, state)
            proposal, memory = backbone.step(domain.observe(state, goal), memory)
            prediction = domain.decode(proposal, state)
            loss_of = domain.loss if torch.is_grad_enabled() else partial(loss_value, domain)
            total = total + self.discount**h * loss_of(prediction, state, goal).total
        return total

    def gradient(self, domain: Domain, backbone: Backbone, memory: Any, z: Tensor, state: Any, goal: Any) -> Tensor:
        """Gradient (B, d) of m at latents z, by one backward pass through all H steps.

        Parameters
        ----------
        domain, backbone
        memory
            State of the backbone after its proposal.
        z : (B, d)
        state, goal
            State and goal in the types of the domain.

        Raises
        ------
        RuntimeError
            If the `commit` of the domain or the backbone is not differentiable.
        """
        leaf = z.detach().requires_grad_(True)
        with torch.enable_grad():
            prediction = domain.decode(leaf, state)
            total = domain.loss(prediction, state, goal).total
            total = total + self.rollout_loss(domain, backbone, memory, leaf, prediction, state, goal)
            return torch.autograd.grad(total.sum() / self.weight_sum, leaf)[0]


def _rollout_losses(
    horizon: Horizon,
    domain: Domain,
    backbone: Backbone,
    memory: Any,
    state: Any,
    goal: Any,
    first: tuple[Tensor, Prediction],
    second: tuple[Tensor, Prediction],
) -> tuple[Tensor, Tensor]:
    """`Horizon.rollout_loss` of two latents, in one batch if the domain is `Selectable`."""
    select = getattr(domain, "select", None)  # see `Selectable`
    if select is None:
        both = (horizon.rollout_loss(domain, backbone, memory, z, p, state, goal) for z, p in (first, second))
        return next(both), next(both)
    rows = torch.arange(len(first[0]), device=first[0].device).repeat(2)
    pair = [p for _, p in (first, second)]
    stacked = Prediction(
        torch.cat([p.mean for p in pair]),
        torch.cat([p.precision.expand_as(p.mean) for p in pair]),
        torch.cat([p.valid for p in pair]),
    )
    total = horizon.rollout_loss(
        domain,
        backbone,
        take_rows(memory, rows),
        torch.cat([first[0], second[0]]),
        stacked,
        select(state, rows),
        goal,
    )
    return total.tensor_split(2)  # type: ignore[return-value]

"""Define a domain of your own: a planar arm of six joints that reaches for a target and avoids a post.

python examples/04_your_own_domain.py
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geofold.core.backbone import NoMotion
from geofold.core.checks import check_domain
from geofold.core.controller import Controller
from geofold.core.domain import Loss, Prediction
from geofold.core.gate import ThresholdGate
from geofold.core.pullback import Pullback
from geofold.core.tangent import Torus
from geofold.core.trust_region import TrustRegion

POST, CLEAR = (1.5, 1.2), 0.8


@dataclass(frozen=True)
class Arm:
    """State: joint angles (B, 6). Latent: increments. Observations: joint positions and increments."""

    space: Torus
    latent_dim: int = 6

    def observe(self, state: Tensor, goal: tuple[float, float] | None) -> Tensor:
        """Features that a backbone reads."""
        return state

    def decode(self, z: Tensor, state: Tensor) -> Prediction:
        """Positions of the joints after rotation by z; the metric weights positions, not increments."""
        heading = (state + z).cumsum(-1)
        joints = torch.cat([heading.cos().cumsum(-1), heading.sin().cumsum(-1), z], dim=-1)
        weight = torch.tensor([1.0] * 12 + [0.0] * 6, dtype=z.dtype)
        return Prediction(joints, weight, torch.ones(len(z), dtype=torch.bool))

    def loss(self, prediction: Prediction, state: Tensor, goal: tuple[float, float]) -> Loss:
        """Half the squared distance of the hand to the target, plus a penalty for joints near the post."""
        joints = torch.stack([prediction.mean[:, :6], prediction.mean[:, 6:12]], dim=-1)
        reach = 0.5 * (joints[:, -1] - joints.new_tensor(goal)).square().sum(-1)
        gap = (joints - joints.new_tensor(POST)).square().sum(-1).sqrt()
        post = 5 * torch.relu(CLEAR - gap).square().sum(-1)
        return Loss(reach + post, {"reach": reach, "post": post})

    def commit(self, prediction: Prediction, state: Tensor) -> Tensor:
        """Rotate the joints."""
        return torch.where(prediction.valid[:, None], self.space.retract(state, prediction.mean[:, 12:]), state)


def main() -> None:
    """Check the contract, then stream; the target moves at step 15."""
    arm, targets = Arm(Torus()), ((3.0, 3.0), (4.0, -2.5))
    start = torch.tensor([[-0.4, 0.2, 0.3, 0.1, 0.3, 0.2]], dtype=torch.float64)
    check_domain(arm, start, targets[0])
    print("the domain keeps its contract")
    parts = Controller(NoMotion(), Pullback("exact"), TrustRegion(), ThresholdGate(tolerance=1e-4), horizon=1)
    state = parts.init(arm, start)
    for step in range(30):
        state, info = parts.step(arm, state, targets[step >= 15])
        if step % 5 == 4 or step == 15:
            terms = "  ".join(f"{name} {float(value[0]):.5f}" for name, value in info.terms.items())
            print(f"step {step + 1:2d}  K {int(info.inner_steps[0])}  radius {float(info.radius[0]):.2f}  {terms}")


if __name__ == "__main__":
    main()

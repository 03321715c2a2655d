"""Stream the controller through a curved maze step by step; an obstacle is dragged into its path at step 20.

python examples/05_maze.py
"""

from __future__ import annotations

import torch

from geofold.maze.domain import MazeDomain, MazeGoal
from geofold.maze.episode import maze_controller
from geofold.maze.episode_log import TARGET_RADIUS
from geofold.maze.worlds.world import make_world


def main() -> None:
    """Run the loop; a change of the world is passed on as a new domain and a new goal."""
    world, scene = make_world(1000), torch.zeros(1, dtype=torch.long)
    target, ground = torch.as_tensor(world.targets[0]), 0
    domain, controller = MazeDomain.of([world], world.targets), maze_controller()
    state = controller.init(domain, domain.start(torch.as_tensor(world.start)[None], scene))
    for step in range(128):
        if step == 20:
            world, ground = world.drag_obstacle("large", state.domain.origin.position[0].numpy(), world.targets[0]), 1
            domain = MazeDomain.of([world], world.targets)
            state = state._replace(domain=domain.resume(state.domain, scene))
        state, info = controller.step(domain, state, MazeGoal(ground=ground))
        x, y = state.domain.origin.position[0].tolist()
        left = float((state.domain.origin.position[0] - target).norm())
        if step % 8 == 0 or left <= TARGET_RADIUS:
            print(f"step {step + 1:3d}  ({x:.3f}, {y:.3f})  {left:.3f} from the target  K {int(info.inner_steps[0])}")
        if left <= TARGET_RADIUS:
            print(f"reached, {int(state.domain.bumps[0])} collisions")
            break


if __name__ == "__main__":
    main()

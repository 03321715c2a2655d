"""From torsions to coordinates and back: forward, differential and inverse kinematics, loop closure."""

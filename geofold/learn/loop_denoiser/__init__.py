"""The loop model: a denoiser that predicts the torsion increments from a perturbed loop to the native one."""

"""Training data, tasks and densities that the models learn from."""

"""The judge of loop models: an inverse-folding network over a loop and its environment."""

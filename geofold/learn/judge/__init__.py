"""A judge of loop models that has read proteins: an inverse-folding encoder over a loop and its environment."""

"""Loop modelling benchmarks."""

"""The agents that benchmarks compare, one file each."""

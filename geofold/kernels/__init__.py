"""Kernels in C, compiled on first use: the fast twins of plain functions, which stay the reference."""

"""Proteins as structures: files, topology, kinematics, energies, side chains, loops and peptides."""

"""The torsion prior."""

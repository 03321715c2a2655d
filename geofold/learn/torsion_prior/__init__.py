"""The torsion prior: the distribution of backbone torsions given the sequence."""

"""The peptide policy: a model that predicts where the torsions of a peptide must go for contacts asked for."""

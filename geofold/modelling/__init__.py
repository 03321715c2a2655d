"""Loop modelling and peptide streams: search, refinement, scoring."""

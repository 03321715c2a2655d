"""Terminal caps: acetyl (ACE) before a chain, N-methylamide (NME) after it."""

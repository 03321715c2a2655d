"""Training commands: data sets, options, progress and the order of work."""

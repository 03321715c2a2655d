"""Commands of the command line, by family."""

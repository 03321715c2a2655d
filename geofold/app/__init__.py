"""The application: runs, their outputs and reports, and the commands of the command line."""

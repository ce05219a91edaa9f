"""What users call, from Python and from the command line: plan, run, open, check."""

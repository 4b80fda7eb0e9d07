"""What fedmed needs of the machine: errors in one line, whole files, seeds, signals, quiet libraries."""

"""The commands of `fedmed`, a module each."""

"""From a config to a job that real hospitals run: templates, what fills them, and the check that they are the same."""

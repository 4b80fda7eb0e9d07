"""Where rounds run: in this process, on TFF's executor, or on a cluster. Only this package imports TFF and Ray."""

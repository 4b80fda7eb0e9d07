"""Where rounds run: in this process, or on TFF's executor. Only this package imports TFF."""

"""The runner: it claims tasks, and runs them where it is."""

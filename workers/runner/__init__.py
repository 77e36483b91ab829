"""The runner: what a machine does that takes tasks from a service and runs them."""

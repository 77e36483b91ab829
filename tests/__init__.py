"""The specification, as tests; importable so that `python -m tests.benchmarks` runs."""

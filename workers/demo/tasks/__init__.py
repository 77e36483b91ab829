"""What some tasks of the demonstration run, out of the commit that is tested."""

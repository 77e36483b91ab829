"""What is asked of the past: pure folds from events to rows, and the shapes of the queries."""

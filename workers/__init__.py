"""The processes: each has a module here, and the composition root that opens what they share."""

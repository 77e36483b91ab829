"""What the service does for runners: claims from the queue, leases, reports.

words: what both sides say. presence: is that worker there, in that session? claiming, with polls:
who waits gets what waits. granting: what is reserved becomes a claim. reporting: what has become
of attempts.
"""

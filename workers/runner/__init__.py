"""The runner: claims tasks, runs them, and reports how they went.

    runner.py      registered, it claims and keeps its leases: START READING HERE
    attempt.py     one attempt, from the order to what is told of it
    steps.py       the commands of a task, one after another
    shipping.py    what they write, on its way into the attempt's log; masking.py hides secrets
    artifacts.py   what they leave, and what they take from other tasks
    delivery.py    what is told of attempts, until the service has it
    home.py        the directory that a runner keeps between its lives
    opening.py     all of it put together; machine.py says what it can do by itself

Whatever it does is for an attempt, by the token of the claim: the same order twice is one.
"""

"""Git repositories: any URL that git understands, and a commit, branch, tag or merge of two.

    source.py       one source, and what it may ask for
    program.py      the program `git`, kept from everything but what it is told
    verdicts.py     what its failures mean
    mirror.py       a repository as this machine has it; START READING HERE
    locks.py        who may do what with a mirror, across processes
    revisions.py    from a name to a commit
    checkout.py     the work tree
    submodules.py   repositories in repositories
    pruning.py      mirrors that nobody needs

All attempts of a runner share one bare mirror for each URL; it alone asks the server. A work tree
has a repository of its own, which borrows the mirror's objects and can write to none of them.
"""

from adapters.sources.git.source import place

__all__ = ["place"]

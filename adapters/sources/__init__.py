"""A task's sources: fetched into its work directory before it runs.

    fetching.py     the port, `fetch`: START READING HERE
    failures.py     how it fails, and whose fault that is
    attempt.py      what one attempt brings: time, a voice, an environment; asking again
    places.py       which source goes where
    urls.py         what a URL may be, and what of it may be shown
    local.py        what of this machine is for sources, where tasks must not see the rest
    git/            repositories, by way of a mirror on this machine
    directory.py    a directory of this machine
    archive.py      a file by URL and digest; unpacking.py says what of it is let out

What fails here is never the test's fault: a server that is away is infrastructure, and asked
again; a commit that does not exist is the workflow's mistake.
"""

from adapters.sources.failures import NotFetched
from adapters.sources.fetching import fetch
from adapters.sources.git.pruning import prune
from adapters.sources.local import Local

__all__ = ["Local", "NotFetched", "fetch", "prune"]

"""What git's failures mean: whose fault they are, and whether trying again can help.

It has one exit status for all of them, so its words decide; it is run in the C locale. What no
row knows is taken for trouble on the way, and tried again.
"""

import re
from typing import Final

from adapters.sources.failures import Away, mistaken, unavailable

_ABSENT: Final = re.compile(
    r"couldn't find remote ref|not our ref|unadvertised object|no such remote ref"
    r"|remote error: want \S+ not valid",
    re.IGNORECASE,
)

_MISTAKEN: Final = re.compile(
    r"does not appear to be a git repository|repository '?\S*'? ?not found|repository not found"
    r"|returned error: (404|410)|strange (hostname|pathname)|transport '\S+' not allowed"
    r"|does not support shallow|unrelated histories|mismatched algorithms|repository not exported",
    re.IGNORECASE,
)

_FORBIDDEN: Final = re.compile(
    r"authentication failed|could not read (username|password)|terminal prompts disabled"
    r"|permission denied \(|returned error: (401|403)|host key verification failed"
    r"|access denied|dubious ownership",
    re.IGNORECASE,
)

_DAMAGED: Final = re.compile(
    r"corrupt|bad object|unable to read|missing (blob|tree|commit)|not a valid object"
    r"|(object file|loose object) .* is empty|not a git repository: |bad config"
    r"|packfile .* (cannot|does not|is )|index file .* too small|could not parse|invalid object"
    r"|pointing to a valid object|did not send all necessary objects",
    re.IGNORECASE,
)

_EMPTY: Final = re.compile(
    r"fatal: could not read from remote repository|please make sure|and the repository exists",
    re.IGNORECASE,
)


class GitFailed(Exception):
    """It ended with a status that is not 0. `said` is what it complained of."""

    def __init__(self, status: int, said: str, answer: bytes = b"") -> None:
        super().__init__(f"git ended with status {status}: {said}")
        self.status = status
        self.said = said
        self.answer = answer

    @property
    def is_absent(self) -> bool:
        """The server does not have the revision, or does not give it by this name."""
        return bool(_ABSENT.search(self.said))

    @property
    def is_damage(self) -> bool:
        """Our own copy is at fault. (What the server complains of stands behind `remote:`.)"""
        ours = "\n".join(line for line in self.said.splitlines() if not line.startswith("remote:"))
        return not _MISTAKEN.search(ours) and bool(_DAMAGED.search(ours))

    def verdict(self) -> Exception:
        """NotFetched or Away, with a line for people."""
        if _MISTAKEN.search(self.said):
            return mistaken(self.reason)
        if _FORBIDDEN.search(self.said):
            return unavailable(self.reason)
        return Away(self.reason)

    @property
    def reason(self) -> str:
        """One line: the most telling of what it said."""
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        # What ssh says of a reason comes before what git says of there being one.
        lines = [line for line in lines if not _EMPTY.match(line)] or lines
        telling = [line for line in lines if re.match(r"(fatal|error|ERROR):", line)]
        line = (telling or lines or [f"git ended with status {self.status}"])[0]
        return re.sub(r"//[^/@\s]*@", "//", line)[:500]

"""The page that shows the API and tries it: one file of our own, which loads nothing else.

There are distributions of the well-known pages, but each is one person's copy, needs another web
framework, or loads its script from elsewhere.
"""

import base64
import re
from hashlib import sha256
from importlib.resources import files
from typing import Final

from starlette.responses import Response

from adapters.http.endpoint import Endpoint, Text

MEDIA: Final = "text/html; charset=utf-8"

PAGE: Final = files(__package__).joinpath("docs.html").read_text()


def _hashes(tag: str) -> str:
    found = re.findall(rf"<{tag}>(.*?)</{tag}>", PAGE, re.DOTALL)
    digests = (base64.b64encode(sha256(text.encode()).digest()).decode() for text in found)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


POLICY: Final = (
    f"default-src 'none'; script-src {_hashes('script')}; style-src {_hashes('style')}; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def endpoints() -> tuple[Endpoint, ...]:
    """The page."""
    return (Endpoint("GET", "/v1/docs", "This documentation", Text, docs, media=MEDIA),)


async def docs() -> Response:
    """The page, with a policy that forbids it whatever it does not need."""
    return Response(
        PAGE,
        headers={
            "Content-Type": MEDIA,
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        },
    )

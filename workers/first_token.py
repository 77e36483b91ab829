"""The first token: where nobody has one yet, whoever owns this machine's data directory has it."""

import structlog

from adapters.postgres.tokens import Tokens
from adapters.token_file import keep, kept, token_file

log = structlog.get_logger()


async def first_token(tokens: Tokens, data: str) -> None:
    """See to it that somebody has a token that may do everything.

    It is kept in the data directory, and the command line uses it from there.
    """
    was_there = kept(data) is not None
    try:
        secret = keep(data)
    except OSError as error:
        log.warning("no_first_token", file=str(token_file(data)), reason=str(error))
        return
    if await tokens.make_first(secret):
        log.info("first_token", file=str(token_file(data)))
    elif not was_there and await tokens.identity(secret) is None:
        token_file(data).unlink(missing_ok=True)

"""What answers over HTTP, put together: views, archive, engines, dead letters and tokens."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from msgspec import Struct
from starlette.applications import Starlette

from adapters.asking import asking
from adapters.codec import Codec
from adapters.config import Config
from adapters.dead import DeadLetters
from adapters.http.app import application
from adapters.http.commands import TicketCommands
from adapters.http.dead import DeadLetterDesk
from adapters.http.gate import Gate
from adapters.http.tickets import TicketReading
from adapters.http.tokens import TokenDesk
from adapters.log import Log
from adapters.postgres.archive import Archive
from adapters.postgres.connection import Address, open_pool
from adapters.postgres.tokens import Tokens, prepare
from adapters.postgres.views.queries import TicketQueries
from workers.first_token import first_token

POOL: Final = 8
"""Connections with which an API asks the views, and as many for the archive."""


class Places(Struct, frozen=True):
    """Where in the database the views of tickets, the events and the tokens are."""

    tickets: Address
    archive: Address
    access: Address


class Web(Struct, frozen=True):
    """The application that a server serves."""

    application: Starlette


@asynccontextmanager
async def open_web(
    config: Config,
    log: Log,
    codec: Codec,
    dead: AbstractAsyncContextManager[DeadLetters],
    places: Places,
) -> AsyncIterator[Web]:
    """Open what the application asks. Raises LogError."""
    await prepare(places.access)
    async with (
        open_pool(places.tickets, POOL) as views,
        open_pool(places.archive, POOL) as events,
        open_pool(places.access, 2) as secrets,
        asking(log) as asker,
        dead as letters,
    ):
        tokens = Tokens(secrets)
        await first_token(tokens, config.data)
        endpoints = (
            *TicketReading(TicketQueries(views), Archive(events, codec)).endpoints(),
            *TicketCommands(asker).endpoints(),
            *DeadLetterDesk(letters).endpoints(),
            *TokenDesk(tokens).endpoints(),
        )
        gate = Gate(tokens, reading_is_public=config.reading == "public")
        yield Web(application(endpoints, gate))

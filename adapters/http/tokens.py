"""Endpoints for tokens."""

from typing import Annotated

from msgspec import Meta, Struct, structs

from adapters.access import Name, Scope, Token
from adapters.http.endpoint import Asked, Endpoint
from adapters.http.problems import Refusal
from adapters.postgres.tokens import Tokens
from projections.queries import Page, Paged

Scopes = Annotated[tuple[Scope, ...], Meta(min_length=1, max_length=len(Scope))]


class NewToken(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose it is to be, what for, and after how many days it is good for nothing."""

    name: Name
    scopes: Scopes
    days: Annotated[float, Meta(gt=0, le=3_660)] | None = None


class MadeToken(Token, frozen=True, kw_only=True):
    """What is known of it, and the token itself: it is shown this once."""

    token: str


class TokenDesk:
    """Makes, lists and revokes tokens."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What can be done with tokens."""
        path, admin = "/v1/tokens", Scope.ADMIN
        return (
            Endpoint(
                "GET", path, "Tokens, newest first", Page[Token], self.tokens, Paged, scope=admin
            ),
            Endpoint(
                "POST",
                path,
                "Make a token",
                MadeToken,
                self.make_token,
                body=NewToken,
                scope=admin,
                status=201,
            ),
            Endpoint(
                "DELETE", f"{path}/{{token}}", "Revoke a token", Token, self.revoke, scope=admin
            ),
        )

    async def tokens(self, query: Paged, asked: Asked) -> Page[Token]:
        """Tokens, newest first."""
        return await self._tokens.page(query.limit, query.cursor)

    async def make_token(self, body: NewToken, asked: Asked) -> MadeToken:
        """Make one."""
        made, token = await self._tokens.make(body.name, body.scopes, asked.actor, body.days)
        return MadeToken(**structs.asdict(made), token=token)

    async def revoke(self, token: str, asked: Asked) -> Token:
        """Have it good for nothing any more. Raises Refusal if there is no such token."""
        revoked = await self._tokens.revoke(token, asked.actor)
        if revoked is None:
            raise Refusal(404, "unknown-token", f"There is no token {token!r}.", "token")
        return revoked

"""How the brokers know us, and we them."""

from typing import Any

from aiokafka.helpers import create_ssl_context
from msgspec import Struct


class Security(Struct, frozen=True):
    """TLS and SASL, in Kafka's own words; files are PEM."""

    protocol: str = "PLAINTEXT"
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    mechanism: str = "PLAIN"
    username: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"Security(protocol={self.protocol!r}, username={self.username!r})"

    def options(self) -> dict[str, Any]:
        """What aiokafka is told. Raises OSError for files that are not there."""
        options: dict[str, Any] = {"security_protocol": self.protocol}
        if self.protocol.startswith("SASL"):
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        if self.protocol.endswith("SSL"):
            options["ssl_context"] = create_ssl_context(
                cafile=self.ca, certfile=self.certificate, keyfile=self.key
            )
        return options

"""How a Kafka cluster is reached: what is wrong with the settings, and what is shown of them."""

import pytest

from adapters.config import ConfigError, read

KNOWN = {"TURNSTILE_KAFKA_USERNAME": "engine", "TURNSTILE_KAFKA_PASSWORD": "open-sesame"}


@pytest.mark.parametrize("missing", KNOWN)
@pytest.mark.parametrize("security", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_sasl_without_name_or_password_is_refused(security: str, missing: str) -> None:
    given = {name: value for name, value in KNOWN.items() if name != missing}
    setting = missing.removeprefix("TURNSTILE_").lower()
    with pytest.raises(ConfigError, match=f"{security} needs it, .* at `{setting}`"):
        read({"TURNSTILE_KAFKA_SECURITY": security, **given})


def test_the_password_is_not_shown() -> None:
    shown = read({"TURNSTILE_KAFKA_SECURITY": "SASL_SSL", **KNOWN}).shown()
    assert ("engine", "***") == (shown["kafka_username"], shown["kafka_password"])
    assert None is read({}).shown()["kafka_password"]

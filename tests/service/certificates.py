"""Certificates for the tests of TLS, made by the `openssl` command."""

import subprocess
from pathlib import Path
from typing import Any

EXTENSIONS = {
    "authority": ("keyUsage=critical,keyCertSign",),  # Python 3.13 insists on it
    "subject": ("basicConstraints=critical,CA:FALSE", "subjectAltName=IP:127.0.0.1"),
}


class Authority:
    """Whoever signs certificates, with a folder of PEM files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.certificate, self._key = self._made("authority", EXTENSIONS["authority"])

    def sign(self, name: str) -> tuple[Path, Path]:
        """The certificate of somebody at 127.0.0.1, and its key."""
        signed = ("-CA", self.certificate, "-CAkey", self._key)
        return self._made(name, EXTENSIONS["subject"], *signed)

    def _made(self, name: str, extensions: tuple[str, ...], *signed: Any) -> tuple[Path, Path]:
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-days", "2", "-nodes", "-subj", f"/CN={name}"),
                *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
                *("-out", certificate, "-keyout", key, *signed),
                *(word for extension in extensions for word in ("-addext", extension)),
            ],
            check=True,
            capture_output=True,
        )
        return certificate, key

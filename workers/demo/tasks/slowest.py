"""How many tests a JUnit report tells of, and which were the slowest: `slowest.py REPORT OUT`.

The first line names the digest of the report, so that whoever reads it knows which one it was.
"""

import sys
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree

SHOWN = 5


def told(report: bytes) -> str:
    """What is to be said of the report."""
    cases = list(ElementTree.fromstring(report).iter("testcase"))
    cases.sort(key=lambda case: float(case.get("time", 0)), reverse=True)
    lines = [f"report.xml is sha256:{sha256(report).hexdigest()}"]
    lines.append(f"{len(cases)} tests; the slowest {SHOWN}:")
    for case in cases[:SHOWN]:
        name = case.get("name", "").replace("_", " ")
        lines.append(f"  {float(case.get('time', 0)):6.3f} s  {name}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    said = told(Path(sys.argv[1]).read_bytes())
    Path(sys.argv[2]).write_text(said)
    sys.stdout.write(said)

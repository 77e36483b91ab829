"""The domain's specification: pure, in milliseconds. `given.py` is the harness."""

import pytest

pytest.register_assert_rewrite("tests.unit.given")

"""Settings of a given environment, in tests."""

import os
from collections.abc import Mapping
from typing import Any
from unittest import mock

from kato_consul.settings import Settings


def settings_of(environ: Mapping[str, str], **given: Any) -> Settings:
    """Return the settings with only these environment variables, and ``given`` in code."""
    with mock.patch.dict(os.environ, environ, clear=True):
        return Settings(**given)

"""What the tests of views share; `record_batches` importable."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from pydantic import TypeAdapter, ValidationError

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def refused() -> Callable[[type, str, Any], bool]:
    """Tell whether a value is outside what the annotation of an option allows."""

    def check(component: Any, option: str, value: Any) -> bool:
        owner = component if is_dataclass(component) else component.__init__
        adapter = TypeAdapter(get_type_hints(owner, include_extras=True)[option])
        try:
            adapter.validate_python(value, strict=True)
        except ValidationError:
            return True
        return False

    return check

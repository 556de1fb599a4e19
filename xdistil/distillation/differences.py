"""What differs between two records of settings."""

import json
from collections.abc import Mapping
from typing import Any


def differences(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(dotted name, value before, value now) of all that differs."""
    before, now = _flat(held), _flat(wanted)
    return [
        (name, before.get(name, "not set"), now.get(name, "not set"))
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            flat |= _flat(item, f"{prefix}{name}.")
        else:
            flat[prefix + name] = json.dumps(item, ensure_ascii=False)
    return flat

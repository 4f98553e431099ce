"""Reports as JSON."""

import json
import math


def json_text(content):
    """Returns a dict of anything as JSON, str: sets sorted, numbers that are not finite as null."""
    return json.dumps(_plain(content), ensure_ascii=False, indent=1) + "\n"


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(x) for key, x in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(_plain, value))
    if isinstance(value, (list, tuple)):
        return [_plain(x) for x in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""The metadata of the Dataflow Flex Template, and which values it accepts."""

from __future__ import annotations

import json
import re
from typing import Any

from tests import ROOT

MAIN_FILE = ROOT / "flex_template.py"
METADATA = json.loads((ROOT / "flex_template.json").read_text())
PARAMETERS: dict[str, dict[str, Any]] = {parameter["name"]: parameter for parameter in METADATA["parameters"]}


def accepts(name: str, value: str) -> bool:
    """Tell whether Dataflow takes a value; whether it asks for all of it or for a part, anchors make the same."""
    return all(re.search(regex, value) for regex in PARAMETERS[name]["regexes"])

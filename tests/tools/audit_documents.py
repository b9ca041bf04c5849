"""Documents of dcaudit, checked against their schema."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
from conftest import ROOT

SCHEMA_FILE = ROOT / "spec" / "audit.schema.json"


def schema() -> Any:
    return json.loads(SCHEMA_FILE.read_text())


def asked(run: Any, *arguments: object, status: int = 0) -> Any:
    """Return the document that --json prints, which is as the schema says."""
    result = run("dcaudit", *arguments, "--json")
    assert result.exit_code == status, result.output
    doc = json.loads(result.stdout)
    jsonschema.validate(doc, schema(), jsonschema.Draft202012Validator)
    return doc

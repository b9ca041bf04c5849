"""Files for hosts as every decoder reads them: codebooks that were packed stand there as levels.

Spec: spec/DCF.md, TABLES
"""

from __future__ import annotations

import struct
from itertools import accumulate

from .container import write_container
from .decode import Opened
from .encodings import values_codebook
from .ids import Section, TableKind


def plain_entry(entry: bytes | memoryview, table: object) -> bytes:
    """Return an entry of TABLES as every decoder reads it."""
    if isinstance(table, values_codebook.Levels) and entry[0] == TableKind.CODEBOOK_SORTED:
        return values_codebook.write_table(table.level, table.levels)
    return bytes(entry)


def plain_file(opened: Opened) -> bytes | None:
    """Return the tensors of a file as every decoder reads them; None where the file is so."""
    if all(entry[0] != TableKind.CODEBOOK_SORTED for entry in opened.table_entries):
        return None
    pairs = zip(opened.table_entries, opened.tables, strict=True)
    entries = [plain_entry(entry, table) for entry, table in pairs]
    starts = accumulate(map(len, entries[:-1]), initial=4 + 4 * len(entries))
    head = struct.pack(f"<{1 + len(entries)}I", len(entries), *starts)
    stored, payload = opened.container.stored, opened.container.entries.get(Section.PAYLOAD)
    sections = {
        Section.RECORDS: bytes(stored(Section.RECORDS)),
        Section.TABLES: head + b"".join(entries),
        Section.PAYLOAD: bytes(stored(Section.PAYLOAD)),
    }
    return b"".join(write_container(sections, payload.align_log2 if payload else 4))

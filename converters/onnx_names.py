"""Names for the tensors of an ONNX model, unique over the file.

Sister files: onnx_scopes.py, onnx_lift.py. A tensor is called what the graph calls it. Where an
inner scope uses a name again, the path of that scope stands before it: `If_12/then_branch/scale`.
Tensors without a name, and names that a .dcf cannot hold, become `graph/constant_7`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dcformat.ids import MAX_NAME_BYTES

from .onnx_scopes import Program, Site
from .onnx_wire import Path, Scan

_NUMBER_ROOM = 16  # bytes for the number that tells equal names apart


@dataclass
class _Taken:
    names: set[str] = field(default_factory=set)
    last: dict[str, int] = field(default_factory=dict)

    def claim(self, name: str) -> str:
        """Return `name`, with a number if it is taken."""
        unique = name
        while unique in self.names:
            self.last[name] = self.last.get(name, 1) + 1
            unique = f"{name}_{self.last[name]}"
        self.names.add(unique)
        return unique


def names_of(program: Program, found: Scan) -> dict[Path, str]:
    """Return the name of every tensor in the file, by its path; outer scopes choose first."""
    order = {tensor.path: number for number, tensor in enumerate(found.tensors)}
    sites = {site.path: site for site in program.sites}
    taken = _Taken()
    names: dict[Path, str] = {}
    for site in sorted(sites.values(), key=lambda s: (s.scope.depth, order[s.path])):
        name = _scoped(site, taken)
        if name and storable(name):
            names[site.path] = taken.claim(name)
    for path, number in order.items():
        if path not in names:
            names[path] = taken.claim(f"graph/constant_{number}")
    return names


def _scoped(site: Site, taken: _Taken) -> str:
    if not site.name or site.name not in taken.names or not site.scope.label:
        return site.name
    return f"{site.scope.label}/{site.name}"


def storable(name: str) -> bool:
    """Tell whether a .dcf can hold `name` (spec/DCF.md, NAMES and HASHES)."""
    room = MAX_NAME_BYTES - _NUMBER_ROOM
    return "\0" not in name and len(name.encode("utf-8", "replace")) <= room

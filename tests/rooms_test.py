#!/usr/bin/env python3
"""The README's table of rooms is the dependency order: a room may use only itself and those above it.

Networks' and engines' switches have no default, so that the compiler asks for a case of every operation."""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
rooms = re.findall(r"^\| `igebm/(\w+)/` \|", (root / "README.md").read_text(), re.M)
built = re.findall(r"^igebm_room\((\w+)", (root / "CMakeLists.txt").read_text(), re.M)
folders = sorted(p.name for p in (root / "igebm").iterdir() if p.is_dir())
problems = []
if not rooms:
    problems.append("README.md: no table of rooms")
if rooms != built:
    problems.append(f"README.md lists {rooms}, CMakeLists.txt builds {built}")
if sorted(rooms) != folders:
    problems.append(f"README.md lists {sorted(rooms)}, igebm/ holds {folders}")
for room in rooms:
    allowed = set(rooms[: rooms.index(room) + 1])
    for path in sorted((root / "igebm" / room).rglob("*")):
        if path.suffix not in {".h", ".cpp", ".cu"}:
            continue
        for line, text in enumerate(path.read_text().splitlines(), 1):
            used = re.match(r'\s*#include "igebm/(\w+)/', text)
            if used and used[1] not in allowed:
                problems.append(f"{path.relative_to(root)}:{line}: room {room} may not use {used[1]}")
            if re.match(r"\s*#include <torch/torch.h>", text):
                problems.append(f"{path.relative_to(root)}:{line}: torch/torch.h costs 15 s a file; include what is used")
            if room in {"nn", "engine"} and re.match(r"\s*default:", text):
                problems.append(f"{path.relative_to(root)}:{line}: a switch with a default is not asked for new cases; name them")
print("\n".join(problems) or f"{len(rooms)} rooms in order: {', '.join(rooms)}")
sys.exit(bool(problems))

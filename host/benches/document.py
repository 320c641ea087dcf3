#!/usr/bin/env python3
"""Puts what `make bench` printed into docs/performance.md, and draws docs/performance.svg of it.

Reads the output from standard input: `make bench | tee /dev/stderr | host/benches/document.py`.
"""

import html
import pathlib
import re
import sys

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
BEGIN, END = "<!-- the output of make bench begins -->", "<!-- the output of make bench ends -->"


def tables(text):
    """The tables of the output: title, and rows of name, events a second, nanoseconds an event, and the rest."""
    found = []
    for line in text.splitlines():
        if line.endswith("MB/s   ratio"):
            found.append((line[: line.index("events/s")].strip(), []))
        elif found and (row := re.match(r"^(.{36})\s*(\d+)\s+(\d+)\s+(\d+)(.*)$", line)):
            name, events, ns, mb, rest = row.groups()
            found[-1][1].append((name.strip(), int(events), int(ns), int(mb), rest.strip()))
    return found


def bars(title, rows):
    """An SVG of one bar for each design, as long as it takes for an event."""
    left, width, step = 190, 460, 26
    longest = max(ns for _, _, ns, _, _ in rows)
    height = 44 + step * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 150}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="20" font-weight="bold">ns for one event: {html.escape(title)}</text>',
    ]
    for at, (name, events, ns, _, _) in enumerate(rows):
        top = 34 + step * at
        color = "#2b6cb0" if at == 0 else "#a0aec0"
        length = max(1, round(width * ns / longest))
        parts += [
            f'<text x="{left - 8}" y="{top + 14}" text-anchor="end">{html.escape(name)}</text>',
            f'<rect x="{left}" y="{top}" width="{length}" height="{step - 7}" fill="{color}"/>',
            f'<text x="{left + length + 6}" y="{top + 14}">{ns} ({events / 1e6:.2f} M/s)</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def main():
    text = sys.stdin.read()
    found = tables(text)
    if not found or not found[0][1]:
        sys.exit("document: standard input has no table of `make bench`")
    page = DOCS / "performance.md"
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    lines = "\n".join(line for line in text.splitlines() if not line.startswith(("cargo", "make", " ")))
    page.write_text(f"{before}{BEGIN}\n\n```text\n{lines.strip()}\n```\n\n{END}{after}", encoding="utf-8")
    (DOCS / "performance.svg").write_text(bars(*found[0]), encoding="utf-8")


if __name__ == "__main__":
    main()

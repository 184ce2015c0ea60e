"""Draws how-a-job-moves.svg beside this file: `python docs/pictures/how_a_job_moves.py`.

Time runs downwards, each process is a column. Made for a phone's width: everything that is wider would be too small
there. The picture brings its own background, in the colours that the reader's system asks for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

PICTURE = Path(__file__).with_name("how-a-job-moves.svg")
WIDTH, TOP, SPACE = 480, 84, 10
COLUMNS = {"producer": 44, "Redis": 123, "parent": 202, "child": 281, "keeper": 360, "SQL": 439}
STORES = ("Redis", "SQL")
WORKER = ("parent", "child", "keeper")
STYLE = """
  .ground { fill: #ffffff; stroke: #d0d7de } .band { fill: #f3f6fa } .line { stroke: #afb8c1; stroke-dasharray: 2 4 }
  .box { fill: #ddf4ff; stroke: #0969da } .store { fill: #fff1c2; stroke: #9a6700 }
  .body { fill: #dafbe1; stroke: #1a7f37 }
  text { fill: #1f2328; font: 16px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; text-anchor: middle }
  .phase { font-weight: 700; text-anchor: start } .head { font-weight: 600; font-size: 14px }
  .brace { fill: none; stroke: #0969da }
  .arrow { stroke: #1f2328; stroke-width: 1.6; fill: none } .tip { fill: #1f2328 } .asks { stroke-dasharray: 5 4 }
  .halo { stroke: #ffffff; stroke-width: 5; stroke-linejoin: round; paint-order: stroke } .banded { stroke: #f3f6fa }
  .point { fill: #cf222e } .number { fill: #ffffff; font-weight: 700; font-size: 14px }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; stroke: #3d444d } .band { fill: #161c24 } .line { stroke: #59636e }
    .box { fill: #0c2d4d; stroke: #4493f8 } .store { fill: #3b2f0b; stroke: #d29922 }
    .body { fill: #12361d; stroke: #3fb950 }
    text, .tip { fill: #f0f6fc } .arrow { stroke: #f0f6fc }
    .halo { stroke: #0d1117 } .banded { stroke: #161c24 } .point { fill: #f85149 } .number { fill: #0d1117 }
    .brace { stroke: #4493f8 }
  }
"""


@dataclass
class Drawing:
    """Grows downwards; ``y`` is where the next thing stands."""

    y: int = TOP
    points: int = 0
    is_banded: bool = False
    behind: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)

    def phase(self, name: str, height: int) -> None:
        """Begins a band with a name; each second one has another ground."""
        if self.is_banded:
            self.behind.append(f'<rect class="band" x="1" y="{self.y}" width="{WIDTH - 2}" height="{height}"/>')
        self.before.append(f'<text class="phase" x="12" y="{self.y + 21}">{escape(name)}</text>')
        self._end = self.y + height
        self.y += 44

    def end(self) -> None:
        """Ends the band."""
        self.y = self._end
        self.is_banded = not self.is_banded

    def arrow(self, start: str, end: str, *says: str, asks: bool = False) -> None:
        """What one tells another, in words above the line."""
        left, right = sorted((COLUMNS[start], COLUMNS[end]))
        x, tip = (COLUMNS[start], COLUMNS[end])
        back = -7 if tip > x else 7
        for place, line in enumerate(says):
            self._text(line, (left + right) // 2, self.y - 8 - 18 * (len(says) - 1 - place))
        kind = "arrow asks" if asks else "arrow"
        self.before.append(f'<path class="{kind}" d="M{x} {self.y}H{tip + back}"/>')
        self.before.append(f'<path class="tip" d="M{tip} {self.y}l{back * 1.4:.0f} -5v10z"/>')

    def body(self, column: str, height: int, *says: str) -> None:
        """Somebody is at work."""
        x = COLUMNS[column]
        self.before.append(f'<rect class="body" x="{x - 38}" y="{self.y}" width="76" height="{height}" rx="6"/>')
        for place, line in enumerate(says):
            offset = self.y + height // 2 + 5 + 19 * place - 19 * (len(says) - 1) // 2
            self.before.append(f'<text x="{x}" y="{offset}">{escape(line)}</text>')

    def point(self, column: str, dx: int = 0, dy: int = 0) -> None:
        """A moment at which something dies; the page's table has the same number."""
        self.points += 1
        x, y = COLUMNS[column] + dx, self.y + dy
        self.before.append(f'<circle class="point" cx="{x}" cy="{y}" r="12"/>')
        self.before.append(f'<text class="number" x="{x}" y="{y + 5}">{self.points}</text>')

    def _text(self, line: str, x: int, y: int) -> None:
        halo = "halo banded" if self.is_banded else "halo"
        self.before.append(f'<text class="{halo}" x="{x}" y="{y}">{escape(line)}</text>')

    def picture(self) -> str:
        """The whole of it."""
        height = self.y + SPACE
        first, last = COLUMNS[WORKER[0]] - 38, COLUMNS[WORKER[-1]] + 38
        heads = [
            f'<path class="brace" d="M{first} 28v-6H{last}v6"/>',
            f'<text x="{(first + last) // 2}" y="17">a worker</text>',
        ]
        for name, x in COLUMNS.items():
            kind = "store" if name in STORES else "box"
            heads.append(f'<path class="line" d="M{x} 64V{height - SPACE}"/>')
            heads.append(f'<rect class="{kind}" x="{x - 38}" y="32" width="76" height="32" rx="6"/>')
            heads.append(f'<text class="head" x="{x}" y="53">{name}</text>')
        ground = f'<rect class="ground" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="10"/>'
        says = "A job moves from its producer through Redis, a worker's parent, child and keeper, to SQL"
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">'
        parts = [head, f"<title>{escape(says)}</title>", f"<style>{STYLE}</style>", ground]
        return "\n".join([*parts, *self.behind, *heads, *self.before, "</svg>"]) + "\n"


def drawn() -> Drawing:
    """A job's way, from top to bottom."""
    it = Drawing()
    it.phase("enqueue", 82)
    it.y += 8
    it.arrow("producer", "Redis", "publish")
    it.point("producer", -24)
    it.end()
    it.phase("claim", 132)
    it.arrow("parent", "Redis", "claim")
    it.point("Redis", -22)
    it.y += 50
    it.arrow("parent", "SQL", "delivered before? may it start?", asks=True)
    it.point("parent", -22)
    it.end()
    it.phase("run", 168)
    it.arrow("parent", "child", "job")
    it.y += 12
    it.body("child", 58, "the body", "runs")
    it.point("child", 38)
    it.y += 29
    it.point("parent")
    it.y += 62
    it.arrow("child", "parent", "outcome")
    it.end()
    it.phase("commit", 136)
    it.arrow("parent", "keeper", "outcome, follow-ups")
    it.point("parent", -22)
    it.y += 54
    it.arrow("keeper", "SQL", "one trans-", "action")
    it.point("keeper", -22)
    it.end()
    it.phase("settle", 182)
    it.point("keeper", 0, -16)
    it.y += 20
    it.arrow("keeper", "Redis", "follow-ups")
    it.y += 42
    it.arrow("keeper", "Redis", "“it has ended”")
    it.y += 42
    it.arrow("keeper", "Redis", "settle: the claim is gone")
    it.point("keeper", 24)
    it.end()
    return it


if __name__ == "__main__":
    PICTURE.write_text(drawn().picture())

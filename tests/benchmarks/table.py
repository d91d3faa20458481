"""The rows that benchmarks return, as a plain table."""

from collections.abc import Sequence
from statistics import median

from attrs import frozen

HEAD = ("row", "measured", "compared with", "figure", "to reach", "reached")


@frozen
class Row:
    """A *figure* (of several rounds the median) and the *goal* that it must reach, from above or from below."""

    name: str
    measured: str
    compared: str
    figures: Sequence[float]
    goal: float
    unit: str = ""
    at_most: bool = False
    series: Sequence[Sequence[float]] = ()
    """For a plot: every single value of each round."""

    @property
    def figure(self) -> float:
        """The median of all rounds."""
        return median(self.figures)

    @property
    def reached(self) -> bool:
        """Whether it is good enough."""
        return self.figure <= self.goal if self.at_most else self.figure >= self.goal

    def cells(self) -> tuple[str, ...]:
        """What the table shows of it."""
        spread = f" ({min(self.figures):.3g}-{max(self.figures):.3g})" if len(self.figures) > 1 else ""
        goal = f"{'<=' if self.at_most else '>='} {self.goal:g}{self.unit}"
        figure = f"{self.figure:.3g}{self.unit}{spread}"
        return self.name, self.measured, self.compared, figure, goal, "yes" if self.reached else "NO"


def ratio(
    name: str,
    ours: Sequence[float],
    bare: Sequence[float],
    *,
    goal: float,
    unit: str,
    what: str,
    at_most: bool = False,
) -> Row:
    """*ours* beside *bare*, measured in turns: each round is a ratio of its own."""
    figures = [one / other for one, other in zip(ours, bare, strict=True)]
    return Row(
        name, f"{median(ours):,.0f} {unit}", f"{what}: {median(bare):,.0f} {unit}", figures, goal, at_most=at_most
    )


def shown(rows: Sequence[Row]) -> str:
    """Rows under their heads, in columns."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )

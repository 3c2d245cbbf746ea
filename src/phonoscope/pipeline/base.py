"""What every stage hands back to be tracked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class StageReport:
    """A stage's results in the form MLflow takes them; the artifacts themselves are already written."""

    metrics: dict[str, float] = field(default_factory=dict)
    """Scalars of the stage as a whole."""
    by_layer: dict[str, list[float]] = field(default_factory=dict)
    """One value per RVQ layer, the first entry being layer 1."""
    by_epoch: dict[str, list[float]] = field(default_factory=dict)
    """One value per epoch, the first entry being epoch 1."""
    figures: list[Path] = field(default_factory=list)
    """Image files that the stage has written."""

    def table(self) -> pd.DataFrame:
        """The scalars as a tidy table: metric, value."""
        import pandas as pd

        return pd.DataFrame({"metric": list(self.metrics), "value": [float(v) for v in self.metrics.values()]})

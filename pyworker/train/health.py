"""What in the metrics of a run says that it learns nothing: a warning, and an end only where that is asked for."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

EXPLODED = 100.0
"""So many times its running median a loss has left what training does."""
MEDIAN_OF_ROWS = 101
ROWS_BEFORE_JUDGED = 10
ROWS_IN_A_ROW = 3
"""One batch without an active latent may be chance."""
ROWS_UNTIL_TOLD_AGAIN = 1000
"""Of a state that comes and goes."""
LESS_SPARSE = (
    "lower lr and the coefficient of sparsity (l1_coefficient, l0_coefficient), or lengthen its warm-up"
)
MORE_SPARSE = "raise the coefficient of sparsity (l1_coefficient, l0_coefficient), or lower k"


class UsualLoss:
    """What the loss was until now, to tell one that left it.

    ``losses``: the newest, which :meth:`exploded` judges by.
    """

    def __init__(self, losses: Iterable[float] = ()):
        self.losses: deque[float] = deque(losses, maxlen=MEDIAN_OF_ROWS)

    def exploded(self, loss: float) -> float | None:
        """The running median until then, if ``loss`` is more than 100 times that; the loss counts from here on."""
        usual = median(self.losses) if len(self.losses) >= ROWS_BEFORE_JUDGED else None
        self.losses.append(loss)
        return usual if usual is not None and loss > EXPLODED * usual > 0 else None


@dataclass
class _State:
    in_a_row: int = 0
    quiet_rows: int = 0

    def begins(self, there: bool, rows_in_a_row: int) -> bool:
        """Whether it is to be told now."""
        self.in_a_row = self.in_a_row + 1 if there else 0
        self.quiet_rows = max(0, self.quiet_rows - 1)
        if self.in_a_row < rows_in_a_row:
            return False
        told, self.quiet_rows = self.quiet_rows > 0, ROWS_UNTIL_TOLD_AGAIN
        return not told


class Health:
    """Looks at each row of metrics of one SAE, and says what is wrong when it begins.

    Args:
        d_sae: number of latents.
    """

    def __init__(self, d_sae: int):
        self.d_sae = d_sae
        self._usual = UsualLoss()
        self._silent, self._dense, self._dead, self._exploded = _State(), _State(), _State(), _State()

    def look(self, step: int, row: dict[str, float]) -> list[str]:
        """The warnings that this row of a training step gives rise to."""
        loss = row.get("losses/overall_loss")
        if loss is None:
            return []
        l0, dead = row.get("metrics/l0"), row.get("sparsity/dead_features")
        told = []
        if self._silent.begins(l0 == 0, ROWS_IN_A_ROW):
            told.append(f"no latent is active (L0 is 0): {LESS_SPARSE}")
        if self._dense.begins(l0 == self.d_sae, ROWS_IN_A_ROW):
            told.append(f"all {self.d_sae} latents are active in every row: {MORE_SPARSE}")
        if self._dead.begins(dead == self.d_sae, ROWS_IN_A_ROW):
            told.append(f"all {self.d_sae} latents are dead: {LESS_SPARSE}")
        usual = self._usual.exploded(loss)
        if self._exploded.begins(usual is not None, 1):
            told.append(
                f"the loss is {loss:.4g}, and was {usual:.4g} until then: "
                "lower lr, lengthen lr_warm_up_steps, or look at the data of this step"
            )
        return [f"training step {step}: {text}" for text in told]

"""What a margin run tells a party: its requirement, line by line, and the risk behind it.

Every line is an integer of token units that adds up to the requirement exactly, so the figure a party reads is the
figure the verdict was made on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..units import WAD, div_toward_zero
from .policy import Scenario


@dataclass(frozen=True, slots=True)
class Greeks:
    """Sensitivities to one underlying, summed over live legs and discounted, WAD, in one party's view.

    `delta` in units of the underlying's forward; `delta_cash` = Σ delta · F and `gamma_cash` = Σ gamma · F² in quote
    currency; `vega` per 1.00 of volatility; `theta` per year at constant forward and discount; `carry` per year from
    the discounts' convergence to 1. Each is truncated toward zero, so that the two parties' views mirror exactly.
    """

    underlying: str
    delta: int
    delta_cash: int
    gamma_cash: int
    vega: int
    theta: int
    carry: int

    @property
    def gamma_per_percent(self) -> int:
        """Change of `delta_cash` for a move of 1 %, WAD of the quote currency."""
        return div_toward_zero(self.gamma_cash, 100)

    @property
    def vega_per_point(self) -> int:
        """Value change for one volatility point (0.01), WAD of the quote currency."""
        return div_toward_zero(self.vega, 100)

    @property
    def theta_per_day(self) -> int:
        """Value change for one day's passing, WAD of the quote currency."""
        return div_toward_zero(self.theta, 365)

    def seen_by(self, party: int) -> Greeks:
        """Return party 0's Greeks as `party` sees them."""
        if party == 0:
            return self
        names = ("delta", "delta_cash", "gamma_cash", "vega", "theta", "carry")
        return replace(self, **{name: -getattr(self, name) for name in names})


@dataclass(frozen=True, slots=True)
class Charges:
    """The cost of replacing the portfolio, which is also the close-out charge; token units, each rounded up."""

    delta: int
    gamma: int
    vega: int
    short: int

    @property
    def total(self) -> int:
        return self.delta + self.gamma + self.vega + self.short


@dataclass(frozen=True, slots=True)
class WorstScenario:
    """The scenario of an underlying that costs a party most: its row in the grid, and the damped loss in token units.

    The loss is rounded up and zero where no scenario loses; the first row wins a tie. These are the witnesses of a
    breach.
    """

    underlying: str
    row: int
    scenario: Scenario
    loss: int


@dataclass(frozen=True, slots=True)
class MarginReport:
    """One party's margin; amounts in token units.

    equity = cash + value, where `value` is that of its positions, rounded down. initial_margin =
    max(independent_amount, scan_initial + charges.total), maintenance_margin = max(half the independent amount,
    scan_maintenance + charges.total), each part rounded up. `collateral_call` is what the party may be asked for
    under the CSA terms.
    """

    party: int
    decimals: int
    cash: int
    value: int
    initial_margin: int
    maintenance_margin: int
    scan_initial: int
    scan_maintenance: int
    charges: Charges
    independent_amount: int
    collateral_call: int
    worst: tuple[WorstScenario, ...]
    greeks: tuple[Greeks, ...]

    @property
    def equity(self) -> int:
        """Cash plus the value of the positions, rounded down."""
        return self.cash + self.value

    @property
    def initial_margin_shortfall(self) -> int:
        """What equity lacks to the initial margin, 0 if nothing."""
        return max(0, self.initial_margin - self.equity)

    @property
    def excess(self) -> int:
        """What equity has above the initial margin, 0 if nothing."""
        return max(0, self.equity - self.initial_margin)

    @property
    def is_breach(self) -> bool:
        """Whether equity is below maintenance margin, strictly."""
        return self.equity < self.maintenance_margin

    @property
    def collateralisation(self) -> int | None:
        """equity / maintenance margin as WAD, rounded down; None where nothing is required."""
        return self.equity * WAD // self.maintenance_margin if self.maintenance_margin else None

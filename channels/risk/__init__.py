"""What it is worth: exact integer values, Greeks and margin, the same bits as the contract's."""

from .black import UnitGreeks, price, unit_greeks
from .margin import margin, scenario_losses
from .payoff import payoff, payouts
from .policy import DEFAULT_POLICY, MarginPolicy, Scenario, VolBump, VolShock
from .report import Charges, Greeks, MarginReport, WorstScenario
from .valuation import greeks, value

__all__ = [
    "DEFAULT_POLICY", "Charges", "Greeks", "MarginPolicy", "MarginReport", "Scenario", "UnitGreeks", "VolBump",
    "VolShock", "WorstScenario", "greeks", "margin", "payoff", "payouts", "price", "scenario_losses",
    "unit_greeks", "value",
]  # fmt: skip

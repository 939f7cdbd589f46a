"""What it is worth: exact integer values, Greeks and margin, the same bits as the contract's."""

from .bands import BandSearch, LiquidationBand, liquidation_bands
from .black import UnitGreeks, price, unit_greeks
from .close_out import close_out, close_out_payouts, witness
from .engine import EXACT, ExactEngine, MarginEngine, Standing
from .explain import Explanation, explain
from .margin import margin, scenario_losses
from .payoff import payoff, payouts
from .policy import DEFAULT_POLICY, MarginPolicy, Scenario, VolBump, VolShock
from .report import Charges, Greeks, MarginReport, WorstScenario
from .valuation import greeks, value

__all__ = [
    "DEFAULT_POLICY", "EXACT", "BandSearch", "Charges", "ExactEngine", "Explanation", "Greeks", "LiquidationBand",
    "MarginEngine", "MarginPolicy", "MarginReport", "Scenario", "Standing", "UnitGreeks", "VolBump", "VolShock",
    "WorstScenario", "close_out", "close_out_payouts", "explain", "greeks", "liquidation_bands", "margin", "payoff",
    "payouts", "price", "scenario_losses", "unit_greeks", "value", "witness",
]  # fmt: skip

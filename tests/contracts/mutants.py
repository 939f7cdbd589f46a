"""Adjudicators with one bug each: what the laws must catch. The replacements are checked to match when they compile."""

from tests.contracts.laboratory import Mutation

_LEDGER, _VAULT, _MAIN = "modules/ledger.vy", "modules/vault.vy", "Adjudicator.vy"
_SPLIT = """    first: uint256 = min(convert(max(claim, 0), uint256), pot)
    return [first, pot - first]"""
_POT_ONCE = Mutation(_LEDGER, "self._pot(self._after(ledger, due))", "self._pot(ledger)")
_CALL = """        gas=SOURCE_GAS,
        is_static_call=True,
        revert_on_failure=False,
    )
"""
_IN_TIME = "block.timestamp < slot.deadline"
_FORGET = "money.paid[{0}] <= state.withdrawal{0}"
_BACKSTOP = Mutation(_VAULT, "    ledger._pot(left)\n", "")

MUTANTS: dict[str, tuple[Mutation, ...]] = {
    "no clamp: a claim above the pot is paid with other channels' money": (
        Mutation(
            _LEDGER,
            _SPLIT,
            """    first: uint256 = convert(max(claim, 0), uint256)
    return [first, max(pot, first) - first]""",
        ),
    ),
    "no clamp: a claim outside the pot reverts": (
        Mutation(_LEDGER, _SPLIT, "    first: uint256 = convert(claim, uint256)\n    return [first, pot - first]"),
    ),
    "pot read once for both withdrawals": (_POT_ONCE, _BACKSTOP),
    "pot read once for both withdrawals, behind the backstop": (_POT_ONCE,),
    "cash without withdrawal - W": (Mutation(_LEDGER, "+ extra + unpaid", "+ extra"),),
    "challenge accepted after the deadline": (Mutation(_MAIN, _IN_TIME, "slot.deadline != 0"),),
    "challenge accepted in the deadline's own second": (Mutation(_MAIN, _IN_TIME, "block.timestamp <= slot.deadline"),),
    "the deadline restarts with each answer": (
        Mutation(
            _MAIN,
            """    if slot.deadline == 0:
        slot.deadline = block.timestamp + terms.challenge_period
""",
            "    slot.deadline = block.timestamp + terms.challenge_period\n",
        ),
    ),
    "a reopen may forget a payment": (
        Mutation(_MAIN, _FORGET.format(0), "slot.deadline != 0"),
        Mutation(_MAIN, _FORGET.format(1), "slot.deadline != 0"),
    ),
    "no tombstone": (Mutation(_MAIN, "calls=[0, 0], closed=1", "calls=[0, 0], closed=0"),),
    "high s accepted": (Mutation("modules/signatures.vy", "s <= HALF_ORDER", "s != 0"),),
    "one signature is enough": (Mutation(_MAIN, "    signatures._check(terms.signer1, signed, sig1)\n", ""),),
    "a live leg settles": (Mutation(_MAIN, "state.book, book, False)", "state.book, book, True)"),),
    "a pin can be overwritten": (Mutation("modules/pins.vy", "self.pins[pin_key] == 0", "pin_key != empty(bytes32)"),),
    "a failed push blocks the other side": (
        Mutation(
            _VAULT,
            "        if amounts[i] != 0 and not tokens._try_push(token, owner, amounts[i]):\n",
            "        assert amounts[i] == 0 or tokens._try_push(token, owner, amounts[i])\n"
            "        if amounts[i] == max_value(uint256):\n",
        ),
    ),
    "a source that reverts holds the money": (
        Mutation(
            "modules/prices.vy",
            f"max_outsize=32,\n{_CALL}    if not success or len(answer) < 32:",
            f"max_outsize=32,\n{_CALL}    assert success\n    if len(answer) < 32:",
        ),
    ),
    "withdrawals are not booked": (Mutation(_VAULT, "    self.payments[channel] = ledger._pack(left.paid)\n", ""),),
    "a stranger starts a dispute": (
        Mutation(
            _MAIN,
            "    if slot.deadline == 0:\n        self._require_side(terms)\n    else:",
            "    if slot.deadline != 0:",
        ),
    ),
    "the last resort does not wait": (Mutation(_MAIN, "block.timestamp >= max(terms.last_resort, slot.deadline) + waiting", "waiting != 0"),),
}

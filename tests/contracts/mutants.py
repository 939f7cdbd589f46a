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
_TOKENS, _PERMIT = "modules/tokens.vy", "\n\n@internal\ndef _pull("
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
    "a permit that fails refuses the deposit": (Mutation(_TOKENS, _PERMIT, f"    assert success\n{_PERMIT}"),),
    "the last resort does not wait": (
        Mutation(_MAIN, "block.timestamp >= max(terms.last_resort, slot.deadline) + waiting", "waiting != 0"),
    ),
}

_CALLS, _ENGINE = "modules/margin_calls.vy", "modules/engine.vy"
_OTHER_SIDE = "    self._require_party(party)\n    self._require_side_of(terms, 1 - party)\n"
_PROVEN = 'errors._require(proven, "adjudicator: no breach")'
_REALISED = "    spare = min(spare, cash + payoff._token_units_down(settled, terms.decimals))\n"
_RECALL = "if last != 0 and block.timestamp <= last + cure:"
_GRID = """    found: Prices = self._prices(channel, terms, name, book, settled)
    return staticcall"""
_ONE_ROW = """    found: Prices = self._prices(channel, terms, name, book, settled)
    if not settled:
        first: DynArray[uint256, 4] = []
        for spot: uint256 in found.spots:
            first.append(0)
        breached: bool = False
        values: int256[2] = [0, 0]
        charges: int256[2] = [0, 0]
        breached, values, charges = staticcall IRiskEngine(convert(terms.engine, address)).liquidation(
            book,
            party,
            cash,
            convert(terms.decimals, uint8),
            found.spots,
            found.settlements,
            convert(block.timestamp, uint64),
            first,
        )
        return -1 if breached else 0
    return staticcall"""

_SETTLED = "    self._close(channel, terms, slot, state, self._payoff(channel, terms, state, book))\n"

MARGIN_MUTANTS: dict[str, tuple[Mutation, ...]] = {
    "a recall gives no notice": (Mutation(_CALLS, "block.timestamp + (cure + 1) // 2", "block.timestamp"),),
    "a recall gives a second less than half a cure period": (Mutation(_CALLS, "(cure + 1) // 2", "cure // 2"),),
    "a call long ago shortens a new one": (Mutation(_CALLS, _RECALL, "if last != 0:"),),
    "a newer state does not disarm": (
        Mutation(_CALLS, "return [calls[0] & MASK_40, calls[1] & MASK_40]", "return calls"),
    ),
    "anyone calls and liquidates": (Mutation(_MAIN, _OTHER_SIDE, "    self._require_party(party)\n"),),
    "a party calls and liquidates itself": (
        Mutation(_MAIN, _OTHER_SIDE, "    self._require_party(party)\n    self._require_side(terms)\n"),
    ),
    "a call pending is renewed": (
        Mutation(_MAIN, '    errors._require(not stands, "adjudicator: call pending")\n', ""),
    ),
    "a call needs no breach": (Mutation(_ENGINE, _PROVEN, _PROVEN.replace("proven,", "proven or not settled,")),),
    "a liquidation needs no second proof": (
        Mutation(_ENGINE, _PROVEN, _PROVEN.replace("proven,", "proven or settled,")),
    ),
    "a liquidation a second before the deadline": (
        Mutation(_CALLS, "block.timestamp >= call & MASK_40", "block.timestamp + 1 >= call & MASK_40"),
    ),
    "the charge moves although both are called": (
        Mutation(
            _MAIN,
            "if margin_calls._is_executable(slot.calls[1 - party], terms, state.book, book):",
            "if slot.closed != 0:",
        ),
    ),
    "the execution window never lapses": (Mutation(_CALLS, "return block.timestamp < last", "return last != 0"),),
    "the execution window is a second longer": (
        Mutation(_CALLS, "return block.timestamp < last", "return block.timestamp <= last"),
    ),
    "the execution window does not wait for a settlement": (
        Mutation(_CALLS, "last = max(last, mark.expiry + 2 * terms.grace)", "last = max(last, end)"),
    ),
    "a withdrawal that is due still counts as collateral": (
        Mutation(_MAIN, "ledger._cash(state, left, party)", "ledger._cash(state, money, party)"),
    ),
    "a cure passes one row instead of the grid": (Mutation(_ENGINE, _GRID, _ONE_ROW),),
    "a cured call stays": (Mutation(_MAIN, "    slot.calls[party] = 0\n", "    slot.closed = 0\n"),),
    "a reopening leaves the calls": (
        Mutation(_MAIN, "        slot.deadline = 0\n        slot.calls = [0, 0]\n", "        slot.deadline = 0\n"),
    ),
    "a release pays an unrealised gain": (Mutation(_MAIN, _REALISED, ""),),
    "a release takes margin out": (Mutation(_MAIN, _REALISED, _REALISED.replace("min(spare, ", "(")),),
    "a release is not booked": (
        Mutation(
            _MAIN,
            "party=party, amount=amount)\n    vault._pay_due(channel, terms, money, due)",
            "party=party, amount=amount)\n    vault._send(channel, terms, due)",
        ),
    ),
    "a release before the deadline": (
        Mutation(
            _MAIN,
            "    self._require_settling(slot)\n    self._require_party(party)\n",
            "    self._require_party(party)\n",
        ),
    ),
    "a stale spot will do": (
        Mutation(
            _ENGINE,
            "prices._fresh_spot(terms.source, mark.underlying, 0, terms.spot_max_age)",
            "prices._fresh_spot(terms.source, mark.underlying, 0, block.timestamp)",
        ),
    ),
    "a call holds the channel open": (
        Mutation(_MAIN, _SETTLED, f"    assert max(slot.calls[0], slot.calls[1]) < 2**40\n{_SETTLED}"),
    ),
    "a liquidation does not wait for a settlement": (
        Mutation(_MAIN, "party, cash, witness, True)", "party, cash, witness, False)"),
    ),
}
"""Bugs of the margin entry points."""

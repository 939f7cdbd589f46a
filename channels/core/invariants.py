"""Laws that hold between any channel and its successor; a broken one is a bug of this library: nothing is signed."""

from __future__ import annotations

from typing import NoReturn

from ..errors import InvariantBroken
from .channel import ChainView, Channel


def check(before: Channel, after: Channel) -> None:
    """Raise InvariantBroken if the step from `before` to `after` breaks a law. What did not change breaks none."""
    if after is before:
        return
    if after.signed < before.signed:
        _broken("the highest signed version never falls", after.signed)
    if after.agreed is not before.agreed and after.agreed_version < before.agreed_version:
        _broken("the agreed version never falls", after.agreed_version)
    if after.turn < before.turn:
        _broken("the turn counter never falls", after.turn)
    if after.leap < before.leap:
        _broken("a recovery is for ever", after.leap)
    if before.frozen or after.frozen or before.suspect or after.suspect:
        _check_frozen(before, after)
    if after.chain is not before.chain:
        _check_chain(before.chain, after.chain)
    same = after.outstanding is before.outstanding and after.in_flight is before.in_flight
    if not same or after.signed != before.signed:
        _check_outstanding(before, after)
    if after.in_flight and after.unanswered:
        _broken("one side proposes at a time", after.in_flight)


def _check_frozen(before: Channel, after: Channel) -> None:
    recovered = len(after.markers) > len(before.markers) and after.leap > before.frozen
    _require(recovered or after.frozen >= before.frozen, "a frozen journal stays frozen", after.frozen)
    _require(recovered or not before.suspect or bool(after.suspect), "a copy stays a copy", after.suspect)
    _require(not after.is_frozen or after.signed == before.signed, "a frozen journal signs nothing", after.signed)


def _check_chain(before: ChainView, after: ChainView) -> None:
    _require(after.version >= before.version, "the registered version never falls", after.version)
    _require(before.payouts is None or after.payouts == before.payouts, "closed is forever", after.payouts)
    _require(
        all(new >= old for new, old in zip(after.paid, before.paid, strict=True)),
        "cumulative payments never fall",
        after.paid,
    )


def _check_outstanding(before: Channel, after: Channel) -> None:
    if before.outstanding and after.outstanding[:-1] == before.outstanding:
        # One more than before, as nearly always: above all that was ever signed, it cannot be one of them.
        version = after.outstanding[-1].version
        waits = after.in_flight == before.in_flight or after.in_flight == (*before.in_flight, version)
        if waits and before.signed < version == after.signed:
            return
    versions = [out.half.state.version for out in after.outstanding]
    distinct, waiting = set(versions), after.in_flight
    _require(len(distinct) == len(versions), "a version is half-signed once", versions)
    _require(max(versions, default=0) <= after.signed, "what is outstanding was signed", versions)
    _require(distinct.issuperset(waiting), "what is in flight is outstanding", waiting)
    _require(sorted(set(waiting)) == [*waiting], "versions in flight rise", waiting)


def _require(condition: bool, law: str, detail: object) -> None:
    if not condition:
        _broken(law, detail)


def _broken(law: str, detail: object) -> NoReturn:
    raise InvariantBroken(law, repr(detail))

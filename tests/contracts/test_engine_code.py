"""An engine's code against the library's idea of it: what the constructor leaves behind for a policy, byte for byte."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from adjudicator_contracts import artifact
from channels.chain.engine import immutables, policy_of, require_engine
from channels.errors import ContractMismatch
from channels.model import Address
from channels.risk import DEFAULT_POLICY, MarginPolicy
from channels.units import WAD
from tests.contracts.engine_books import POLICIES, random_policy
from tests.contracts.evm import Chain

SHIPPED = artifact("RiskEngine")
REVM_PADDING = 33
"""Bytes that revm keeps behind a contract's code."""
WHERE = Address(b"\1" * 20)


@pytest.mark.parametrize(
    "policy", [*POLICIES, *(random_policy(Random(seed)) for seed in range(20))], ids=lambda p: p.hash.hex()[:8]
)
def test_the_constructor_writes_what_the_library_expects(policy: MarginPolicy) -> None:
    chain = Chain()
    engine = chain.deploy_encoded("RiskEngine", policy.encode())
    code = chain.code(engine.address)[:-REVM_PADDING]
    require_engine(WHERE, code, policy)
    assert code == SHIPPED.runtime + b"".join(immutables(policy).values())
    assert policy_of(WHERE, engine.call("parameters")) == policy


def test_every_immutable_is_compared() -> None:
    """One flipped bit anywhere behind the runtime is named; the hash alone would not have shown it."""
    written = immutables(DEFAULT_POLICY)
    assert [f"margin_policy.{name}" for name in written] == [value.name for value in SHIPPED.immutables]
    whole = bytearray(SHIPPED.runtime + b"".join(written.values()))
    for value in SHIPPED.immutables:
        for at in (0, value.length - 1):
            place = len(SHIPPED.runtime) + value.offset + at
            whole[place] ^= 1
            with pytest.raises(ContractMismatch, match=value.name.removeprefix("margin_policy.") + " differ"):
                require_engine(WHERE, bytes(whole), DEFAULT_POLICY)
            whole[place] ^= 1
    require_engine(WHERE, bytes(whole), DEFAULT_POLICY)


def test_other_code_and_another_policy_are_named() -> None:
    code = SHIPPED.runtime + b"".join(immutables(DEFAULT_POLICY).values())
    lenient = replace(DEFAULT_POLICY, scan_maintenance=WAD // 2)
    with pytest.raises(ContractMismatch, match="HASH, SCAN_MAINTENANCE differ"):
        require_engine(WHERE, code, lenient)
    for other in (b"\x00" + code[1:], code[:-1], code + b"\0", artifact("Adjudicator").runtime):
        with pytest.raises(ContractMismatch, match="not that of the shipped RiskEngine"):
            require_engine(WHERE, other, DEFAULT_POLICY)
    with pytest.raises(ContractMismatch, match="no code"):
        require_engine(WHERE, b"", DEFAULT_POLICY)

# pragma version 0.4.3
"""
@title book
@license MIT
@notice The words of a book by their types in protocol §2, which the ABI decoder enforces: for the engine, which must refuse what
        the library refuses. `payoff` reads the same words without, for exits that must not fail.
"""

struct Spot:
    underlying: bytes32
    spot: uint128

struct Forward:
    underlying: bytes32
    expiry: uint64
    ratio: uint128
    discount: uint128

struct Leg:
    underlying: bytes32
    expiry: uint64
    strike: uint128
    kind: uint8  # 0 call, 1 put
    quantity: int128  # WAD, positive: party 0 is long
    vol: uint128

struct Book:
    salt: bytes32
    time: uint64
    spots: DynArray[Spot, 4]
    forwards: DynArray[Forward, 8]
    legs: DynArray[Leg, 32]

PUT: constant(uint8) = 1

"""Keys at the edge: one secret as the signer of states and as the account that sends transactions."""

from __future__ import annotations

import os

from eth_account import Account
from eth_account.signers.local import LocalAccount

from ..errors import KeyUnusable
from ..seal import Signer

KEY_VARIABLE = "CHANNELS_KEY"
"""Environment variable that command-line tools read a hex private key from."""


def signer_and_account(secret: str) -> tuple[Signer, LocalAccount]:
    """Return both uses of one hex private key; KeyUnusable if it is not one. The text is never repeated in an error."""
    signer = Signer.from_hex(secret)
    account: LocalAccount = Account.from_key(bytes.fromhex(secret.strip().removeprefix("0x")))
    return signer, account


def key_from_environment() -> str:
    """Return the key in CHANNELS_KEY; KeyUnusable where it is not set."""
    secret = os.environ.get(KEY_VARIABLE)
    if not secret:
        raise KeyUnusable(f"set the environment variable {KEY_VARIABLE} to the hex private key")
    return secret

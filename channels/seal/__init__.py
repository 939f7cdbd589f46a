"""Who said it: typed digests, signatures and their verification. The only room that knows coincurve."""

from .digest import hello_digest, state_digest, state_struct_hash
from .signer import Signer
from .verify import check_agreed, check_party, check_signature, recover

__all__ = [
    "Signer",
    "check_agreed",
    "check_party",
    "check_signature",
    "hello_digest",
    "recover",
    "state_digest",
    "state_struct_hash",
]

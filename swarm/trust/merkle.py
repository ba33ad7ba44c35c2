"""The Merkle tree of RFC 6962, section 2.1: root, proof that a leaf is in it, its verification.

SHA-256, over 0x00 and the data for a leaf, over 0x01 and both children for a node, so that neither
passes for the other. A tree whose size is no power of two splits at the largest one below it;
pairing level by level and carrying an odd last node up unchanged builds the same tree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

HASH_BYTES = 32


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over those of its children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """The tree over some leaves.

    Args:
        leaves: data of each leaf, in order; may be empty.
    """

    def __init__(self, leaves: Sequence[bytes]) -> None:
        level = [leaf_hash(data) for data in leaves]
        self._levels = [level]
        while len(level) > 1:
            above = [node_hash(a, b) for a, b in zip(level[::2], level[1::2], strict=False)]
            if len(level) % 2:
                above.append(level[-1])
            self._levels.append(above)
            level = above

    @property
    def size(self) -> int:
        """Number of leaves."""
        return len(self._levels[0])

    @property
    def root(self) -> bytes:
        """The hash of the tree, 32 bytes; without leaves the hash of nothing."""
        return self._levels[-1][0] if self.size else hashlib.sha256().digest()

    def proof(self, leaf: int) -> bytes:
        """The audit path of a leaf: 32 bytes for each sibling on the way up, lowest first.

        Raises:
            ValueError: where there is no such leaf.
        """
        if not 0 <= leaf < self.size:
            raise ValueError(f"leaf {leaf}: expected 0 to {self.size - 1}")
        path = []
        for level in self._levels[:-1]:
            sibling = leaf ^ 1
            if sibling < len(level):
                path.append(level[sibling])
            leaf >>= 1
        return b"".join(path)


def verify_inclusion(root: bytes, size: int, leaf: int, data: bytes, path: bytes) -> bool:
    """Whether `data` is leaf number `leaf` of the tree with this root and number of leaves.

    The algorithm is that of RFC 9162, section 2.1.3.2.
    """
    if not 0 <= leaf < size or len(path) % HASH_BYTES:
        return False
    last = size - 1
    node = leaf_hash(data)
    for at in range(0, len(path), HASH_BYTES):
        if last == 0:
            return False
        sibling = path[at : at + HASH_BYTES]
        if leaf & 1 or leaf == last:
            node = node_hash(sibling, node)
            # A last node without a sibling was carried up: go to where it has one.
            while not leaf & 1 and leaf:
                leaf >>= 1
                last >>= 1
        else:
            node = node_hash(node, sibling)
        leaf >>= 1
        last >>= 1
    return last == 0 and node == root

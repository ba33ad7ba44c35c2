"""The tree against published answers and the recursion of RFC 6962 itself."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.trust.merkle import Tree, leaf_hash, node_hash, verify_inclusion

# The tree and the answers that implementations of Certificate Transparency share as their test.
LEAVES = [
    bytes.fromhex(text)
    for text in [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ]
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""Of the first 0 to 8 leaves."""
PATHS = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
"""Of (leaf, size of the tree)."""


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int) -> None:
    assert Tree(LEAVES[:size]).root.hex() == ROOTS[size]


@pytest.mark.parametrize(("leaf", "size"), PATHS)
def test_published_paths(leaf: int, size: int) -> None:
    path = bytes.fromhex("".join(PATHS[leaf, size]))
    assert Tree(LEAVES[:size]).proof(leaf) == path
    assert verify_inclusion(bytes.fromhex(ROOTS[size]), size, leaf, LEAVES[leaf], path)


def split(size: int) -> int:
    """The largest power of two below it."""
    return 1 << (size - 1).bit_length() - 1


def rfc_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + rfc_root(leaves[:k]) + rfc_root(leaves[k:])).digest()


def rfc_path(m: int, leaves: list[bytes]) -> bytes:
    """PATH of section 2.1.1, word for word."""
    if len(leaves) == 1:
        return b""
    k = split(len(leaves))
    if m < k:
        return rfc_path(m, leaves[:k]) + rfc_root(leaves[k:])
    return rfc_path(m - k, leaves[k:]) + rfc_root(leaves[:k])


def numbered(size: int) -> list[bytes]:
    return [b"leaf %d" % number for number in range(size)]


@pytest.mark.parametrize("size", [*range(1, 35), 63, 64, 65, 100, 127, 128, 129])
def test_any_size_is_as_the_rfc_defines_it(size: int) -> None:
    leaves = numbered(size)
    tree = Tree(leaves)
    assert (tree.size, tree.root) == (size, rfc_root(leaves))
    for leaf in {0, 1, size // 3, size // 2, size - 2, size - 1} & set(range(size)):
        path = tree.proof(leaf)
        assert path == rfc_path(leaf, leaves)
        assert verify_inclusion(tree.root, size, leaf, leaves[leaf], path)


@pytest.mark.parametrize("size", range(1, 18))
def test_a_path_proves_one_leaf_at_one_place_in_one_size(size: int) -> None:
    leaves = numbered(20)
    tree = Tree(leaves[:size])
    for leaf in range(size):
        path = tree.proof(leaf)
        for other in range(-1, 20):
            holds = verify_inclusion(tree.root, size, other, leaves[leaf], path)
            assert holds is (other == leaf)
            assert not verify_inclusion(tree.root, size, leaf, b"leaf %d" % other, path) or (
                other == leaf
            )
        assert not verify_inclusion(tree.root, 0, leaf, leaves[leaf], path)


@settings(max_examples=200)
@given(data=st.data(), size=st.integers(1, 40))
def test_any_change_of_a_proof_is_refused(data: st.DataObject, size: int) -> None:
    leaves = numbered(size)
    tree = Tree(leaves)
    leaf = data.draw(st.integers(0, size - 1))
    path = tree.proof(leaf)
    changed = data.draw(
        st.one_of(
            st.binary(max_size=len(path) + 33),
            st.integers(0, len(path)).map(lambda cut: path[:cut]),
            st.binary(min_size=1, max_size=64).map(lambda more: path + more),
            st.integers(0, max(8 * len(path) - 1, 0)).map(lambda bit: flipped(path, bit)),
        )
    )
    holds = verify_inclusion(tree.root, size, leaf, leaves[leaf], changed)
    assert holds is (changed == path)
    bit = data.draw(st.integers(0, 255))
    assert not verify_inclusion(flipped(tree.root, bit), size, leaf, leaves[leaf], path)


def flipped(data: bytes, bit: int) -> bytes:
    if not data:
        return data
    return (int.from_bytes(data, "little") ^ 1 << bit).to_bytes(len(data), "little")


def test_a_node_does_not_pass_for_a_leaf() -> None:
    """Without the leading byte, the children of a node would be a leaf with the same hash."""
    a, b = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(a + b) != node_hash(a, b)
    tree = Tree([b"a", b"b", b"c", b"d"])
    assert not verify_inclusion(tree.root, 2, 0, a + b, tree.proof(0)[32:])


@pytest.mark.parametrize("leaf", [-1, 3])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(leaf: int) -> None:
    with pytest.raises(ValueError, match=f"leaf {leaf}: expected 0 to 2"):
        Tree(LEAVES[:3]).proof(leaf)

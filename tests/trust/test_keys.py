"""Keys and signatures against RFC 8032 and an implementation of it in plain integers."""

from __future__ import annotations

import itertools
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import UsageError
from swarm.trust.keys import (
    Key,
    KeyFault,
    Purpose,
    check_public_keys,
    has_small_order,
    is_canonical_signature,
    key_fault,
    key_from_seed,
    market_key,
    random_key,
    read_key_folder,
    sign,
    simulation_keys,
    verify,
    write_key_folder,
)
from tests.trust import ed25519

RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555"
        "fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da0"
        "85ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac1"
        "8ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
"""Section 7.1, tests 1 to 3: private key, public key, message, signature."""
KEY = key_from_seed(bytes(range(32)))


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    private, text = bytes.fromhex(seed), bytes.fromhex(message)
    assert key_from_seed(private).public.hex() == public
    assert ed25519.public_key(private).hex() == public
    assert ed25519.sign(private, text).hex() == signature
    assert ed25519.verify(bytes.fromhex(public), text, bytes.fromhex(signature))


@settings(max_examples=5)
@given(
    seed=st.binary(min_size=32, max_size=32),
    purpose=st.sampled_from(Purpose),
    data=st.binary(max_size=300),
)
def test_a_signature_is_that_of_the_rfc_over_purpose_and_data(
    seed: bytes, purpose: Purpose, data: bytes
) -> None:
    signature = sign(key_from_seed(seed), purpose, data)
    prefixed = b"grid-swarm/1/" + purpose.value.encode() + b"\0" + data
    assert signature == ed25519.sign(seed, prefixed)
    assert verify(ed25519.public_key(seed), purpose, data, signature)


def test_a_signature_for_one_purpose_verifies_for_no_other() -> None:
    for made, asked in itertools.product(Purpose, Purpose):
        signature = sign(KEY, made, b"data")
        assert verify(KEY.public, asked, b"data", signature) is (made is asked)


def test_no_data_can_make_one_purpose_read_as_another() -> None:
    """Data comes right after the purpose and its zero, so no such prefix may begin another."""
    for one, other in itertools.permutations(Purpose, 2):
        assert not f"{other.value}\0".startswith(f"{one.value}\0")
        assert "\0" not in one.value


def test_any_changed_bit_of_signature_key_or_data_is_refused() -> None:
    data = b"some data"
    given_ = [KEY.public, data, sign(KEY, Purpose.SEAL, data)]
    assert verify(given_[0], Purpose.SEAL, given_[1], given_[2])
    for part, whole in enumerate(given_):
        for bit in range(8 * len(whole)):
            changed = list(given_)
            number = int.from_bytes(whole, "little") ^ 1 << bit
            changed[part] = number.to_bytes(len(whole), "little")
            assert not verify(changed[0], Purpose.SEAL, changed[1], changed[2])


@pytest.mark.parametrize("length", [0, 31, 33, 63, 65])
def test_other_lengths_are_refused(length: int) -> None:
    signature = sign(KEY, Purpose.SEAL, b"")
    assert not verify(bytes(length), Purpose.SEAL, b"", signature)
    assert not verify(KEY.public, Purpose.SEAL, b"", (signature + signature)[:length])
    assert key_fault(bytes([9]) * length) is KeyFault.NON_CANONICAL
    assert not is_canonical_signature(bytes(length))
    with pytest.raises(ValueError, match=f"{length} bytes, expected 32"):
        key_from_seed(bytes(length))


def test_a_signature_cannot_be_written_in_a_second_way() -> None:
    """S and S + L satisfy the same equation; RFC 8032 accepts only the smaller."""
    signature = sign(KEY, Purpose.SEAL, b"data")
    second_s = int.from_bytes(signature[32:], "little") + ed25519.L
    second = signature[:32] + second_s.to_bytes(32, "little")
    assert ed25519.verify(KEY.public, b"grid-swarm/1/seal\0data", second)
    assert not verify(KEY.public, Purpose.SEAL, b"data", second)
    assert is_canonical_signature(signature)
    assert not is_canonical_signature(second)
    at_limit = signature[:32] + ed25519.L.to_bytes(32, "little")
    below = signature[:32] + (ed25519.L - 1).to_bytes(32, "little")
    assert (is_canonical_signature(at_limit), is_canonical_signature(below)) == (False, True)


def torsion() -> set[ed25519.Point]:
    """The points whose order divides 8: multiples by L of points until one has order 8."""
    for y in itertools.count(2):
        point = ed25519.decode(y.to_bytes(32, "little"))
        if point is not None:
            eighth = ed25519.times(ed25519.L, point)
            multiples = {ed25519.times(k, eighth) for k in range(8)}
            if len(multiples) == 8:
                return multiples
    raise AssertionError


def encodings(point: ed25519.Point) -> set[bytes]:
    """All 32-byte strings that decode to it, with both signs where x is zero."""
    found = set()
    for y in (point[1], point[1] + ed25519.P):
        if y < 2**255:
            signs = (0, 1) if point[0] == 0 else (point[0] & 1,)
            found |= {(y | sign_ << 255).to_bytes(32, "little") for sign_ in signs}
    return found


SMALL = sorted(set().union(*(encodings(point) for point in torsion())))


def test_every_encoding_of_every_point_of_small_order_is_refused() -> None:
    assert len(SMALL) == 14
    for public in SMALL:
        assert has_small_order(public)
        assert key_fault(public) is KeyFault.SMALL_ORDER
    assert not has_small_order(KEY.public)


@pytest.mark.parametrize("public", SMALL, ids=bytes.hex)
def test_a_forgery_under_a_key_of_small_order_is_refused(public: bytes) -> None:
    """S B = R + k A holds without a secret wherever 8 divides k; the plain equation accepts it."""
    for trial in range(1_000):
        commitment = ed25519.encode(ed25519.times(trial + 1, ed25519.BASE))
        forged = commitment + (trial + 1).to_bytes(32, "little")
        if ed25519.verify(public, b"grid-swarm/1/seal\0data", forged):
            break
    else:
        pytest.fail("no forgery found")
    assert not verify(public, Purpose.SEAL, b"data", forged)


def test_points_outside_the_prime_order_group_are_refused() -> None:
    point = ed25519.decode(KEY.public)
    assert point is not None
    for added in torsion() - {ed25519.ZERO}:
        mixed = ed25519.encode(ed25519.add(point, added))
        assert key_fault(mixed) is KeyFault.NON_CANONICAL
    assert key_fault(KEY.public) is None


def test_encodings_of_no_point_or_not_below_the_prime_are_refused() -> None:
    not_below = [(ed25519.P + extra).to_bytes(32, "little") for extra in range(2, 19)]
    no_point = [
        data
        for data in (y.to_bytes(32, "little") for y in range(2, 40))
        if ed25519.decode(data) is None
    ]
    assert no_point
    for public in [*not_below, *no_point]:
        assert key_fault(public) is KeyFault.NON_CANONICAL
        assert not verify(public, Purpose.SEAL, b"", sign(KEY, Purpose.SEAL, b""))


@settings(max_examples=30)
@given(seed=st.integers(0, 2**63), first=st.integers(0, 10**6), cut=st.integers(0, 6))
def test_simulation_keys_do_not_depend_on_packing(seed: int, first: int, cut: int) -> None:
    whole = simulation_keys(seed, first, 6)
    assert whole == simulation_keys(seed, first, cut) + simulation_keys(seed, first + cut, 6 - cut)
    others = [*simulation_keys(seed + 1, first, 6), market_key(seed), market_key(seed + 1)]
    assert len({key.public for key in whole + others}) == len(whole) + len(others)


def test_simulation_keys_stay_what_they_are() -> None:
    """Logs of older runs must keep verifying: these are values of this version, pinned."""
    assert simulation_keys(0, 3, 1)[0].public.hex() == AGENT_3_OF_SEED_0
    assert market_key(0).public.hex() == MARKET_OF_SEED_0
    assert {purpose.name.lower().replace("_", "-") for purpose in Purpose} == {
        purpose.value for purpose in Purpose
    }


AGENT_3_OF_SEED_0 = "05225d1249bf3bf95b8b6645d3b7047276f046d5c3aee2045da8dbe8864ddddd"
MARKET_OF_SEED_0 = "546bcf171fd394efa272506257ff0e31ae1b2c549517dbe9585a9e156496eb93"


def test_public_keys_are_refused_by_name() -> None:
    good, other = (key.public for key in simulation_keys(0, 0, 2))
    check_public_keys(["a", "b"], [good, other])
    with pytest.raises(UsageError, match=r"'b'.*small order"):
        check_public_keys(["a", "b"], [good, SMALL[0]])
    with pytest.raises(UsageError, match=r"'a'.*no canonical encoding"):
        check_public_keys(["a", "b"], [good[:31], other])
    with pytest.raises(UsageError, match=r"'b'.*also that of 'a'"):
        check_public_keys(["a", "b"], [good, good])


# Key folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "keys"
    write_key_folder(made, {"solar-1": KEY, "wind.2": key_from_seed(bytes(32))})
    return made


def test_keys_come_back_in_the_order_asked_for(folder: Path) -> None:
    assert read_key_folder(folder, ["wind.2", "solar-1"]) == [key_from_seed(bytes(32)), KEY]
    assert read_key_folder(folder, []) == []


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_are_the_owner_s_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_key_folder(tmp_path / "keys", {"a": KEY})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "keys" / "a.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o660, 0o610])
def test_wider_permissions_are_refused(folder: Path, mode: int) -> None:
    (folder / "wind.2.key").chmod(mode)
    with pytest.raises(UsageError, match=rf"'wind.2'.*permissions {mode:04o}, expected 0600"):
        read_key_folder(folder, ["solar-1", "wind.2"])
    assert read_key_folder(folder, ["solar-1"]) == [KEY]


def test_narrower_permissions_are_fine(folder: Path) -> None:
    (folder / "solar-1.key").chmod(0o400)
    assert read_key_folder(folder, ["solar-1"]) == [KEY]


def test_missing_keys_and_folders_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'gas-3': missing, expected in .*gas-3\.key"):
        read_key_folder(folder, ["solar-1", "gas-3"])
    with pytest.raises(UsageError, match=r"nowhere: no such folder"):
        read_key_folder(tmp_path / "nowhere", ["solar-1"])
    (folder / "gas-3.key").mkdir()
    with pytest.raises(UsageError, match=r"'gas-3': .*directory"):
        read_key_folder(folder, ["gas-3"])


def test_any_changed_byte_of_a_key_file_is_damage(folder: Path) -> None:
    path = folder / "solar-1.key"
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(UsageError, match=r"'solar-1': .* is damaged"):
            read_key_folder(folder, ["solar-1"])
    for text in (b"", good[:-1], good + b"\n", good * 2, good.upper()):
        path.write_bytes(text)
        with pytest.raises(UsageError, match=r"'solar-1': .* is damaged"):
            read_key_folder(folder, ["solar-1"])


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "/etc/passwd", "../up"])
def test_names_that_leave_the_folder_are_refused(folder: Path, name: str) -> None:
    with pytest.raises(UsageError, match="can be a file name"):
        read_key_folder(folder, [name])
    with pytest.raises(UsageError, match="can be a file name"):
        write_key_folder(folder, {name: KEY})


def test_keys_are_never_overwritten(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UsageError, match=r"'wind.2': .* exists"):
        write_key_folder(folder, {"new": random_key(), "wind.2": random_key()})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_two_names_cannot_share_a_key(tmp_path: Path) -> None:
    write_key_folder(tmp_path / "keys", {"a": KEY, "b": KEY})
    with pytest.raises(UsageError, match=r"'b'.*also that of 'a'"):
        read_key_folder(tmp_path / "keys", ["a", "b"])


def test_secrets_are_not_printed() -> None:
    key = random_key()
    assert key != random_key()
    assert key.secret[:32].hex() not in repr(key)
    assert repr(key) == repr(Key(key.public, bytes(64)))

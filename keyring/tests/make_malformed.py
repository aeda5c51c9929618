#!/usr/bin/env python3
"""Makes tests/vectors/malformed*: the same bytes at every run, by another AES-GCM than ours.

Needs PyPI `cryptography`. Run it after adding a way of being wrong, and commit the files.
"""
import base64, hashlib, json, pathlib
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VECTORS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "vectors"
STATES = {"active": 0x2A3B4C5D, "deactivated": 0x11223344, "pre_active": 0x55667788,
          "suspended": 0x70707070, "destroyed": 0x0BADC0DE}
DATA, PLAINTEXT = b"messages.encrypted_content:42", b"alice@example.com"


def digest(text): return hashlib.sha256(f"reseal test {text}".encode()).digest()
def header(key_id): return b"\x01" + key_id.to_bytes(4, "big")
def flip(cell, at): return cell[:at] + bytes([cell[at] ^ 1]) + cell[at + 1:]


def cell(state, plaintext=PLAINTEXT, data=DATA):
    iv = digest(f"iv {state} {plaintext} {data}")[:12]
    return header(STATES[state]) + iv + AESGCM(digest(state)).encrypt(iv, plaintext, data)


def write(path, value): path.write_text(json.dumps(value, indent=1) + "\n")


good = cell("active")
write(VECTORS / "malformed_keyset.json", {
    "source": "keyring/tests/make_malformed.py",
    "keyset": "default",
    "keys": [{"key_id": key_id, "version": version, "state": state,
              "dek_hex": None if state == "destroyed" else digest(state).hex()}
             for version, (state, key_id) in enumerate(STATES.items(), 1)],
    "valid": {"cell_hex": good.hex(), "associated_data": DATA.decode(), "plaintext": PLAINTEXT.decode()},
})

short = "cell_truncated"
cases = {
    "empty": (b"", "cell_empty"),
    **{f"{n}_byte{'s' * (n > 1)}_only": (good[:n], short) for n in range(1, 5)},
    "header_only": (good[:5], short),
    "header_and_iv_only": (good[:17], short),
    "32_bytes_only": (good[:32], short),
    "version_0": (b"\x00" + good[1:], "cell_wrong_version"),
    "version_2": (b"\x02" + good[1:], "cell_wrong_version"),
    "plaintext": (b"alice@example.com lives at number 42 since 1987", "cell_wrong_version"),
    "short_plaintext": (b"alice", "cell_wrong_version"),
    "raw_cell_without_header": (good[5:], "cell_wrong_version"),
    "base64_of_a_cell": (base64.b64encode(good), "cell_wrong_version"),
    "key_id_zero": (header(0) + good[5:], "unknown_key"),
    "key_id_unknown": (header(0x7FFFFFFF) + good[5:], "unknown_key"),
    "key_id_flipped_bit": (flip(good, 4), "unknown_key"),
    "key_id_of_another_key": (header(STATES["deactivated"]) + good[5:], "not_authentic"),
    "iv_flipped_bit": (flip(good, 5), "not_authentic"),
    "ciphertext_flipped_bit": (flip(good, 17), "not_authentic"),
    "tag_flipped_bit": (flip(good, len(good) - 1), "not_authentic"),
    "one_byte_missing": (good[:-1], "not_authentic"),
    "33_bytes_only": (good[:33], "not_authentic"),
    "one_byte_appended": (good + b"\x00", "not_authentic"),
    "header_twice": (good[:5] + good, "not_authentic"),
    "of_another_row": (cell("active", data=b"messages.encrypted_content:43"), "not_authentic"),
    "without_associated_data": (cell("active", data=b""), "not_authentic"),
    "key_suspended": (cell("suspended"), "key_not_usable"),
    "key_destroyed": (cell("destroyed"), "key_not_usable"),
}
folder = VECTORS / "malformed"
for old in folder.glob("*.json"):
    old.unlink()
for name, (bytes_, code) in cases.items():
    write(folder / f"{name}.json",
          {"cell_hex": bytes_.hex(), "associated_data": DATA.decode(), "code": code})

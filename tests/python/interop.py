"""Tink's side of the exchange of keysets, in both directions, for every template, format and protection.

make DIR: writes a keyset per combination and a cell under each; prints them as a JSON list.
check DIR --list FILE: reads lines of JSON {file, format, protection, name, cells}; opens each file and decrypts
each cell to the plaintext; prints how many. A keyset is in the clear, under the KEK in DIR/kek for
its name, or under --kms, whose address is --endpoint; one template also with associated data.
"""

import argparse
import base64
import json
import os
import sys

import boto3
import tink
from tink import aead, json_proto_keyset_format, proto_keyset_format, secret_key_access
from tink.integration import awskms

TEMPLATES = [
    "AES128_GCM",
    "AES256_GCM",
    "AES128_GCM_RAW",
    "AES256_GCM_RAW",
    "AES128_GCM_SIV",
    "AES256_GCM_SIV",
    "XCHACHA20_POLY1305",
]
FORMATS = {"tink-json": json_proto_keyset_format, "tink-binary": proto_keyset_format}
PROTECTIONS = ["clear", "kek", "kms", "kms-bound"]
PLAINTEXT, ROW = b"a value", b"messages.encrypted_content:42"
KMS_BOUND_TO = b"bound to this"


def kek_aead(path):
    """The KEK's 32 bytes as Tink's AES256_GCM_RAW."""
    with open(path, encoding="ascii") as file:
        value = b"\x1a\x20" + base64.b64decode(file.read())
    data = {
        "typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmKey",
        "value": base64.b64encode(value).decode(),
        "keyMaterialType": "SYMMETRIC",
    }
    key = {"keyData": data, "status": "ENABLED", "keyId": 1, "outputPrefixType": "RAW"}
    keyset = json.dumps({"primaryKeyId": 1, "key": [key]})
    return json_proto_keyset_format.parse(keyset, secret_key_access.TOKEN).primitive(aead.Aead)


class Protections:
    def __init__(self, args):
        self.kek = kek_aead(os.path.join(args.dir, "kek"))
        client = boto3.client(
            "kms",
            region_name="eu-central-1",
            endpoint_url=args.endpoint,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self.kms = awskms.new_client(boto3_client=client).get_aead("aws-kms://" + args.kms)

    def of(self, protection, name):
        """The AEAD and its associated data."""
        if protection == "kek":
            return self.kek, b"reseal keyset v1:" + name.encode()
        return self.kms, KMS_BOUND_TO if protection == "kms-bound" else b""

    def write(self, handle, format, protection, name):
        if protection == "clear":
            text = FORMATS[format].serialize(handle, secret_key_access.TOKEN)
        else:
            text = FORMATS[format].serialize_encrypted(handle, *self.of(protection, name))
        return text.encode() if isinstance(text, str) else text

    def read(self, data, format, protection, name):
        text = data.decode() if format == "tink-json" else data
        if protection == "clear":
            return FORMATS[format].parse(text, secret_key_access.TOKEN)
        return FORMATS[format].parse_encrypted(text, *self.of(protection, name))


def make(args, protections):
    made = []
    for template in TEMPLATES:
        for format in FORMATS:
            for protection in PROTECTIONS:
                if protection == "kms-bound" and template != "AES256_GCM":
                    continue
                handle = tink.new_keyset_handle(getattr(aead.aead_key_templates, template))
                name = f"{template}-{format}-{protection}".lower()
                path = os.path.join(args.dir, name)
                with open(path, "wb") as file:
                    file.write(protections.write(handle, format, protection, name))
                cell = handle.primitive(aead.Aead).encrypt(PLAINTEXT, ROW).hex()
                entry = {"file": path, "format": format, "protection": protection, "name": name}
                made.append({**entry, "template": template, "cells": [cell]})
    print(json.dumps(made))


def check(args, protections):
    opened = 0
    with open(args.list, encoding="utf-8") as file:
        lines = file.readlines()
    for line in lines:
        entry = json.loads(line)
        with open(entry["file"], "rb") as file:
            handle = protections.read(file.read(), entry["format"], entry["protection"], entry["name"])
        primitive = handle.primitive(aead.Aead)
        for cell in entry["cells"]:
            if primitive.decrypt(bytes.fromhex(cell), ROW) != PLAINTEXT:
                sys.exit(f"{entry['name']}: another plaintext")
        opened += 1
    print(json.dumps(opened))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["make", "check"])
    parser.add_argument("dir")
    parser.add_argument("--list", help="check: the file with the lines")
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--kms", required=True, help="the key's ARN")
    args = parser.parse_args()
    aead.register()
    {"make": make, "check": check}[args.command](args, Protections(args))


if __name__ == "__main__":
    main()

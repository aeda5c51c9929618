"""Makes a Tink keyset as cleartext JSON: keyset.py new FILE [--template AES256_GCM]."""

import argparse
import os

import tink
from tink import aead, json_proto_keyset_format, secret_key_access


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["new"])
    parser.add_argument("file")
    parser.add_argument("--template", default="AES256_GCM", help="a name in tink.aead.aead_key_templates")
    args = parser.parse_args()
    aead.register()
    handle = tink.new_keyset_handle(getattr(aead.aead_key_templates, args.template))
    text = json_proto_keyset_format.serialize(handle, secret_key_access.TOKEN)
    # a new file, for its owner only
    with open(os.open(args.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()

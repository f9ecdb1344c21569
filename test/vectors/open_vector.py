#!/usr/bin/env python3
"""Opens a version 1 vault, dumped as JSON, from docs/vault-format.md alone: shares no code with sidekey.

usage: open_vector.py [file.json]     (needs PyNaCl; prints the opened values as JSON, exits 1 on the first mismatch)
"""

import base64
import hashlib
import json
import pathlib
import sys

from nacl import bindings
from nacl.pwhash import argon2id
from nacl.public import PrivateKey, SealedBox

SUBKEYS = {1: "skheader", 2: "skrowmac", 3: "skstate_", 4: "skaudit_", 5: "skcatkey", 6: "skblobs_", 7: "skfngprt"}
PRIMARY = {
    "vault": ["id"],
    "categories": ["name"],
    "credentials": ["id"],
    "versions": ["credential", "number"],
    "client_tokens": ["id"],
    "sealed_blobs": ["name"],
}
BLOBS = {"wrapped", "public_key", "private_key", "sealed_key", "sealed", "digest", "mac", "prev", "hash"}


def cj(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def mac(key, message):
    return hashlib.blake2b(message, digest_size=32, key=key).digest()


def kdf(key, number, context):
    salt, person = number.to_bytes(8, "little") + bytes(8), context.encode() + bytes(8)
    return hashlib.blake2b(b"", digest_size=32, key=key, salt=salt, person=person).digest()


def aead_open(key, sealed, aad):
    return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[24:], aad, sealed[:24], key)


def check(condition, what):
    if not condition:
        sys.exit(f"mismatch: {what}")


def wrapping_key(wrapper, dump):
    if wrapper["kind"] == "file":
        head, text, rest = dump["key_file"].split("\n")
        check(head == "sidekey root key v1" and rest == "", "key file")
        key = base64.b64decode(text, validate=True)
        check(cj({"key": kdf(key, 1, "skfileid").hex()[:16]}).decode() == wrapper["params"], "key file id")
        return kdf(key, 2, "skfilewr")
    params = json.loads(wrapper["params"])
    salt = bytes.fromhex(params["salt"])
    return argon2id.kdf(32, dump["passphrase"].encode(), salt, opslimit=params["passes"], memlimit=params["memory"])


def open_root(header, wrappers, dump):
    roots = set()
    for wrapper in wrappers:
        aad = {"format": 1, "vault": header["vault"], "wrapper": wrapper["id"]}
        aad.update({name: wrapper[name] for name in ("kind", "params")})
        roots.add(aead_open(wrapping_key(wrapper, dump), wrapper["wrapped"], cj(aad)))
    check(len(roots) == 1, "all wrappers open the same root key")
    return roots.pop()


def is_blob(table, column):
    return column in BLOBS or (table, column) == ("audit", "state")


def text(row):
    columns = {name: value for name, value in row.items() if name != "mac"}
    return {name: base64.b64encode(value).decode() if name in BLOBS else value for name, value in columns.items()}


def read_fields(plain):
    check(plain[0] == 1 and len(plain) % 64 == 0, "field format")
    fields, at = {}, 3
    for _ in range(int.from_bytes(plain[1:3], "big")):
        size = int.from_bytes(plain[at : at + 2], "big")
        name, at = plain[at + 2 : at + 2 + size].decode(), at + 2 + size
        size = int.from_bytes(plain[at : at + 4], "big")
        fields[name], at = plain[at + 4 : at + 4 + size].decode("latin-1"), at + 4 + size
    check(len(plain) - at < 64 and not any(plain[at:]), "padding")
    return fields


def open_versions(tables, keys, vault):
    opened = {}
    categories = {row["name"]: row for row in tables["categories"]}
    credentials = {row["id"]: row for row in tables["credentials"]}
    for row in tables["versions"]:
        credential = credentials[row["credential"]]
        category = categories[credential["category"]]
        public = base64.b64encode(category["public_key"]).decode()
        aad = {"category": category["name"], "format": 1, "generation": category["generation"]}
        private = aead_open(keys[5], category["private_key"], cj({**aad, "public_key": public, "vault": vault}))
        check(row["sealed_key"][0] == 1 and row["sealed"][0] == 1, "format byte")
        data_key = SealedBox(PrivateKey(private)).decrypt(row["sealed_key"][1:])
        aad = {"category": category["name"], "credential": credential["id"], "format": 1, "hosts": json.loads(credential["hosts"])}
        aad.update({"provider": credential["provider"], "vault": vault, "version": row["number"]})
        plain = aead_open(data_key, row["sealed"][1:], cj(aad))
        check(mac(keys[7], plain).hex()[:12] == row["fingerprint"], "fingerprint")
        opened[f"{credential['name']}/{row['number']}"] = read_fields(plain)
    return opened


def check_audit(tables, keys, vault, anchor):
    previous = bytes(32)
    for seq, row in enumerate(tables["audit"], 1):
        check(row["seq"] == seq and row["prev"] == previous, f"audit entry {seq} follows")
        entry = {name: row[name] for name in ("action", "actor", "at", "detail", "object", "seq")}
        entry.update({"format": 1, "prev": row["prev"].hex(), "state": row["state"].hex(), "vault": vault})
        previous = mac(keys[4], cj(entry))
        check(row["hash"] == previous, f"audit entry {seq}")
    state = b""
    for table, primary in PRIMARY.items():
        rows = sorted(tables[table], key=lambda row: [row[name] for name in primary])
        state += f"{table} {len(rows)}\n".encode() + b"".join(row["mac"] for row in rows)
    check(mac(keys[3], state) == tables["audit"][-1]["state"], "rows fit the last entry")
    found = json.loads(anchor)
    covered = {name: value for name, value in found.items() if name != "mac"}
    check(found["mac"] == mac(keys[4], cj({"anchor": covered})).hex() and found["vault"] == vault, "anchor")
    [header] = tables["vault"]
    if header.get("digest") is not None:
        rows = state[state.index(b"categories ") :]
        check(mac(keys[3], b"rows\n" + rows) == header["digest"], "the header's digest fits the rows")
        recorded = (found["format"], found["digest"], found["epoch"])
        check(recorded == (2, header["digest"].hex(), header["epoch"]), "the anchor has the header's epoch and digest")
    check(found["seq"] == len(tables["audit"]) and found["hash"] == previous.hex(), "anchor is the last entry")


def main():
    default = pathlib.Path(__file__).with_name("vault-v1.json")
    dump = json.loads(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else default).read_text())
    tables = {
        name: [{k: base64.b64decode(v) if is_blob(name, k) else v for k, v in row.items()} for row in rows]
        for name, rows in dump["tables"].items()
    }
    [header] = tables["vault"]
    vault = header["vault"]
    wrappers = sorted(tables["wrappers"], key=lambda row: row["id"])
    root = open_root(header, wrappers, dump)
    keys = {number: kdf(root, number, context) for number, context in SUBKEYS.items()}
    covered = {name: header[name] for name in ("created_at", "epoch", "format", "vault")}
    if header.get("digest") is not None:
        covered["digest"] = header["digest"].hex()
    check(mac(keys[1], cj({**covered, "wrappers": [text(row) for row in wrappers]})) == header["mac"], "header")
    for table in PRIMARY.keys() - {"vault"}:
        for row in tables[table]:
            expected = mac(keys[2], cj({"format": 1, "row": text(row), "table": table, "vault": vault}))
            check(expected == row["mac"], f"row of {table}")
    opened = {"versions": open_versions(tables, keys, vault), "blobs": {}}
    for row in tables["sealed_blobs"]:
        plain = aead_open(keys[6], row["sealed"], cj({"blob": row["name"], "format": 1, "vault": vault}))
        opened["blobs"][row["name"]] = read_fields(plain)["value"]
    tokens = {row["id"]: row["digest"] for row in tables["client_tokens"]}
    for token in dump.get("tokens", []):
        check(hashlib.sha256(token[15:].encode()).digest() == tokens[token[4:14]], "token")
    check_audit(tables, keys, vault, dump["anchor"])
    print(json.dumps(opened, sort_keys=True))


main()

"""Enrols a device by PROTOCOL.md, section E, and prints what it keeps as JSON (binary as hex).

python3 enrol.py SERVER TOKEN NAME. Needs the package `cryptography`; MessagePack is written out below.
"""

import base64
import hashlib
import hmac
import json
import struct
import sys
import urllib.error
import urllib.request

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def pack(value):
    if isinstance(value, bytes):
        return b"\xc4" + bytes([len(value)]) + value
    if isinstance(value, str):
        text = value.encode()
        return b"\xd9" + bytes([len(text)]) + text
    if isinstance(value, int):
        return b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, list):
        return b"\xdc" + struct.pack(">H", len(value)) + b"".join(map(pack, value))
    assert isinstance(value, dict) and len(value) < 16
    return bytes([0x80 | len(value)]) + b"".join(pack(k) + pack(v) for k, v in value.items())


def unpack(data):
    value, rest = unpack_one(data)
    if rest:
        raise ValueError("more than one value")
    return value


def unpack_one(data):
    head, data = data[0], data[1:]
    if head < 0x80:
        return head, data
    if head < 0x90:
        return unpack_map(head & 15, data)
    if head < 0xA0:
        return unpack_array(head & 15, data)
    if head < 0xC0:
        return data[: head & 31].decode(), data[head & 31 :]
    if head in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[head], data
    sizes = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
    sizes |= {0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I"}
    numbers = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"}
    numbers |= {0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
    if head in numbers:
        return number(numbers[head], data)
    length, data = number(sizes[head], data)
    if head in (0xC4, 0xC5, 0xC6):
        return data[:length], data[length:]
    if head in (0xD9, 0xDA, 0xDB):
        return data[:length].decode(), data[length:]
    return unpack_map(length, data) if head >= 0xDE else unpack_array(length, data)


def number(form, data):
    size = struct.calcsize(form)
    return struct.unpack(form, data[:size])[0], data[size:]


def unpack_array(length, data):
    items = []
    for _ in range(length):
        item, data = unpack_one(data)
        items.append(item)
    return items, data


def unpack_map(length, data):
    pairs, data = unpack_array(2 * length, data)
    return dict(zip(pairs[::2], pairs[1::2])), data


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def signed(context, *parts):
    return f"pushpoint.v1 {context}\0".encode() + b"".join(parts)


def verify(key, data, sig):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(sig, data)
        return True
    except InvalidSignature:
        return False


P = 2**255 - 19
Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826


def strict_ed25519(key):
    """E-8"""
    y = int.from_bytes(key, "little") % 2**255
    return len(key) == 32 and 1 < y < P - 1 and y not in (Y8, P - Y8)


def hpke_open(private, enc, info, ct):
    """RFC 9180: base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM; X25519 refuses E-8."""

    def mac(key, data):
        return hmac.new(key, data, hashlib.sha256).digest()

    def kdf(suite):
        extract = lambda salt, label, ikm: mac(salt or bytes(32), b"HPKE-v1" + suite + label + ikm)
        expand = lambda prk, label, data, n: mac(
            prk, struct.pack(">H", n) + b"HPKE-v1" + suite + label + data + b"\1"
        )[:n]
        return extract, expand

    agreed = private.exchange(X25519PublicKey.from_public_bytes(enc))
    extract, expand = kdf(b"KEM\0\x20")
    own = private.public_key().public_bytes_raw()
    shared = expand(extract(b"", b"eae_prk", agreed), b"shared_secret", enc + own, 32)
    extract, expand = kdf(b"HPKE\0\x20\0\x01\0\x02")
    context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    secret = extract(shared, b"secret", b"")
    key = expand(secret, b"key", context, 32)
    return AESGCM(key).decrypt(expand(secret, b"base_nonce", context, 12), ct, b"")


class Refused(Exception):
    """The server itself refused: asking again does not help (E-6)."""


def open_keys(document):
    """K-1, K-2: what a document says, if the root that it names signed it."""
    body, sig = unb64(document["body"]), unb64(document["sig"])
    keys = unpack(body)
    if keys["kind"] != "keys" or not all(map(strict_ed25519, [keys["root"], *keys["signing"]])):
        return None
    return keys if verify(keys["root"], signed("keys", body), sig) else None


def trusted_keys(documents, fingerprint):
    """K-7, E-4: the newest document to which the others lead from the root that the token names."""
    held = None
    for document in documents:
        keys = open_keys(document)
        if keys and (succeeds(held, keys, document) if held else is_named(keys, fingerprint)):
            held = keys
    if held is None:
        raise ValueError("another installation than the token names")
    return held


def is_named(keys, fingerprint):
    return hashlib.sha256(keys["root"]).digest() == fingerprint


def succeeds(held, keys, document):
    """K-3"""
    if (keys["epoch"], keys["revision"]) <= (held["epoch"], held["revision"]):
        return False
    if keys["root"] == held["root"]:
        return True
    previous = unb64(document.get("previousSig") or "")
    return verify(held["root"], signed("keys", unb64(document["body"])), previous)


def enrol(server, token_text, name):
    kind, token, seed, fingerprint = token_text.strip().split(".")
    assert kind == "pp1"
    fingerprint = unb64(fingerprint)
    device, one_time = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
    public = device.public_key().public_bytes_raw()
    seal_to = one_time.public_key().public_bytes_raw()
    body = pack({"kind": "enrol", "token": token, "publicKey": public, "sealTo": seal_to, "name": name})
    token_sig = Ed25519PrivateKey.from_private_bytes(unb64(seed)).sign(signed("enroll", body))
    device_sig = device.sign(signed("enroll", body))
    request = hashlib.sha256(body + token_sig + device_sig).digest()
    asked = {"body": b64(body), "tokenSig": b64(token_sig), "deviceSig": b64(device_sig)}
    status, answer = post(f"{server}/v1/enroll", asked)
    document = trusted_keys(answer["keys"], fingerprint)
    keys = document["signing"]
    sig = unb64(answer["sig"])
    if status != 201:
        said = f"{answer['code']}\0{answer['detail']}".encode()
        if any(verify(key, signed("refused", request, said), sig) for key in keys):
            raise Refused(answer["detail"])
        raise ValueError("a refusal that nobody signed")
    body = unb64(answer["body"])
    if not any(verify(key, signed("enrolled", request, body), sig) for key in keys):
        raise ValueError("signature")
    enrolled = unpack(body)
    membership = enrolled["membership"]
    order = unpack(membership["body"])
    if (
        not any(verify(key, signed("order", membership["body"]), membership["sig"]) for key in keys)
        or (order["kind"], order["state"], order["key"]) != ("membership", "active", public)
        or order["target"] != {"device": enrolled["deviceId"]}
    ):
        raise ValueError("membership")
    gateways, held = listed_gateways(enrolled, order["groups"][-1], keys)
    sealed = enrolled["secret"]
    secret = hpke_open(one_time, sealed["enc"], signed("secret", request), sealed["ct"])
    kept = {name: enrolled[name] for name in ("deviceId", "installation", "generation")}
    kept |= {"groups": order["groups"], "membership": edition(order), "keys": edition(document)}
    kept |= {"secret": secret.hex(), "privateKey": device.private_bytes_raw().hex()}
    return kept | {"gateways": gateways, "list": held, "signingKeys": [key.hex() for key in keys]}


def edition(signed_map):
    return [signed_map["epoch"], signed_map["revision"]]


def listed_gateways(enrolled, group, keys):
    """E-4, G-1, G-18: the gateways of the signed list, the best first, and its edition."""
    signed_list = enrolled.get("list")
    if signed_list is None:
        return [], [0, 0]
    body = signed_list["body"]
    if not any(verify(key, signed("order", body), signed_list["sig"]) for key in keys):
        raise ValueError("signature of the list")
    order = unpack(body)
    if order["kind"] != "gateways" or order["target"] != {"group": group}:
        raise ValueError("list")
    names = enrolled["gateways"]
    place = lambda gateway: names.index(gateway["name"]) if gateway["name"] in names else len(names)
    return sorted(order["gateways"], key=place), edition(order)


def post(url, body):
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


if __name__ == "__main__":
    try:
        print(json.dumps(enrol(*sys.argv[1:4])))
    except Refused as error:
        sys.exit(f"refused: {error}")
    except (ValueError, KeyError, InvalidTag) as error:
        sys.exit(f"not believed: {error}")

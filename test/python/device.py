"""The smallest device of PROTOCOL.md: enrols, connects, runs commands, stops what is canceled, and keeps
results until they are settled.

python3 device.py SERVER TOKEN NAME. `sync` ends at once, the task `endless` when it is canceled; any other
command takes a moment. Prints a line of JSON for what it sends and learns. Ends with its standard input. It
keeps everything in memory and does not reconnect: a real device stores what D-3 and E-4 say, and dials again
as C and G say.
"""

import base64
import hashlib
import hmac
import json
import math
import os
import random
import select
import socket
import struct
import sys
import time
import urllib.parse

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from enrol import enrol, pack, signed, unpack, verify

BEAT_SECONDS = 0.5
WORK_SECONDS = 0.3
SEND_AGAIN_SECONDS = 120


def tell(**news):
    print(json.dumps(news), flush=True)


def code(key, data):
    return hmac.new(key, data, hashlib.sha512).digest()[:32]


class WebSocket:
    """RFC 6455, as much as F-1 needs: whole binary messages, pings, no extension."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port))
        key = base64.b64encode(os.urandom(16)).decode()
        head = f"GET / HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        head += f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        self.socket.sendall(f"{head}Sec-WebSocket-Protocol: pushpoint.v1\r\n\r\n".encode())
        self.unread = b""
        while b"\r\n\r\n" not in self.unread:
            self.read()
        answer, self.unread = self.unread.split(b"\r\n\r\n", 1)
        if not answer.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(answer.decode())

    def read(self):
        data = self.socket.recv(65_536)
        if not data:
            raise ConnectionError("the gateway left")
        self.unread += data

    def send(self, payload, opcode=2):
        mask, length = os.urandom(4), len(payload)
        size = bytes([0x80 | length]) if length < 126 else b"\xfe" + struct.pack(">H", length)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self.socket.sendall(bytes([0x80 | opcode]) + size + mask + masked)

    def messages(self):
        """What has come whole."""
        while len(self.unread) >= 2:
            length, start = self.unread[1] & 127, 2
            if length == 126:
                length, start = int.from_bytes(self.unread[2:4], "big"), 4
            elif length == 127:
                length, start = int.from_bytes(self.unread[2:10], "big"), 10
            if len(self.unread) < start + length:
                return
            opcode, payload = self.unread[0] & 15, self.unread[start : start + length]
            self.unread = self.unread[start + length :]
            if opcode == 9:
                self.send(payload, 10)
            elif opcode == 8:
                raise ConnectionError(f"closed with {int.from_bytes(payload[:2], 'big')}")
            elif opcode == 2:
                yield unpack(payload)


class Device:
    def __init__(self, kept):
        self.id, self.groups, self.kept = kept["deviceId"], kept["groups"], kept
        self.trusted = [bytes.fromhex(key) for key in kept["signingKeys"]]
        self.result_key = code(bytes.fromhex(kept["secret"]), b"result")
        self.link = WebSocket(kept["gateways"][0]["url"])
        # By command: its result, once there is one, and whether that is settled.
        self.commands = {}
        # Canceled before they came; a device that runs for long forgets them after `expiresAt`.
        self.canceled = set()
        # What runs: when it ends, and the command.
        self.work = []
        # When each result that is not settled is sent again.
        self.again = {}
        self.server_time = 0
        self.beat_at = None

    def say(self, t, **fields):
        self.link.send(pack({"t": t, **fields}))
        if t != "beat":
            tell(sent=t, id=fields.get("id"))

    def take(self, message):
        handler = getattr(self, f"on_{message['t']}", None)
        if handler:
            handler(message)

    def on_challenge(self, message):
        if message["installation"] != self.kept["installation"]:
            raise ConnectionError("H-5: another installation")
        if message["gateway"] != self.kept["gateways"][0]["name"]:
            raise ConnectionError("H-5: another gateway")
        to_sign = signed("prove", message["nonce"], message["gateway"].encode(), b"\0", self.id.encode())
        private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(self.kept["privateKey"]))
        kept = self.kept
        editions = {"membership": kept["membership"], "keys": kept["keys"], "gateways": kept["list"]}
        caps = ["sync", "task.start"]
        about = {"device": self.id, "software": "python 1", "caps": caps, **editions}
        self.say("prove", sig=private.sign(to_sign), **about)

    def on_welcome(self, message):
        self.server_time = message["time"]
        self.beat_at = time.monotonic() + random.random() * BEAT_SECONDS
        tell(welcomed=self.id)
        self.status(policy="python-1", compliance="compliant")

    def status(self, **said):
        """B-5; the numbers of a device that forgets them grow with the time."""
        body = pack({"number": time.time_ns() // 1_000_000, **said})
        mac = code(self.result_key, signed("status", f"{self.id}\0".encode(), body))
        self.say("beat", status={"body": body, "mac": mac})

    def on_order(self, message):
        """S-2 to S-5"""
        if not any(verify(key, signed("order", message["body"]), message["sig"]) for key in self.trusted):
            return
        order = unpack(message["body"])
        target = order["target"]
        if target.get("device") != self.id and target.get("group") not in self.groups:
            return
        if order["kind"] == "command":
            self.command(order)
        elif order["kind"] == "cancel" and self.server_time <= order["expiresAt"]:
            self.cancel(order["id"])
        elif order["kind"] == "membership" and order["state"] == "active":
            self.membership(order)

    def command(self, order):
        """D-3, D-4; this device remembers in memory what others store."""
        known = self.commands.get(order["id"])
        if known:
            self.report(order["id"])
        elif order["id"] in self.canceled:
            self.end(order["id"], {"state": "canceled"})
        elif self.server_time > order["expiresAt"]:
            self.end(order["id"], {"state": "expired"})
        elif order["type"] == "sync":
            # It ends at once: the result is enough.
            self.end(order["id"], {"state": "succeeded", "data": {"revision": "python"}})
        else:
            self.commands[order["id"]] = {"result": None, "settled": False}
            self.say("ack", id=order["id"])
            endless = (order["args"] or {}).get("task") == "endless"
            self.work.append((time.monotonic() + (math.inf if endless else WORK_SECONDS), order["id"]))

    def cancel(self, command):
        """D-8"""
        known = self.commands.get(command)
        if known is None:
            self.canceled.add(command)
        elif known["result"]:
            self.report(command)
        else:
            self.work = [work for work in self.work if work[1] != command]
            self.end(command, {"state": "canceled"})

    def membership(self, order):
        """S-7: only a newer one, for this device and its key."""
        edition = [order["epoch"], order["revision"]]
        private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(self.kept["privateKey"]))
        public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        if edition > self.kept["membership"] and order["key"] == public:
            self.kept["membership"], self.groups = edition, order["groups"]

    def end(self, command, outcome):
        body = pack(outcome)
        said = signed("result", f"{self.id}\0{command}\0".encode(), body)
        result = {"body": body, "mac": code(self.result_key, said)}
        self.commands[command] = {"result": result, "settled": False}
        self.report(command)

    def report(self, command):
        result = self.commands[command]["result"]
        if result is None:
            self.say("ack", id=command)
            return
        self.say("result", id=command, **result)
        if not self.commands[command]["settled"]:
            self.again[command] = time.monotonic() + SEND_AGAIN_SECONDS

    def on_beat(self, message):
        self.server_time = message["time"]
        for command in message.get("settled") or []:
            self.settled(command, "beat")

    def on_settled(self, message):
        self.settled(message["id"], "settled")

    def settled(self, command, by):
        """R-6: of what runs still, nothing is settled."""
        known = self.commands.get(command)
        if known and known["result"]:
            known["settled"] = True
            self.again.pop(command, None)
            tell(settled=command, by=by)

    def turn(self):
        now = time.monotonic()
        for due, command in [work for work in self.work if work[0] <= now]:
            self.work.remove((due, command))
            self.end(command, {"state": "succeeded", "data": {"exitStatus": 0}})
        for command in [each for each, due in self.again.items() if due <= now]:
            self.report(command)
        if self.beat_at is not None and self.beat_at <= now:
            self.beat_at = now + BEAT_SECONDS
            self.say("beat")

    def run(self):
        while True:
            for message in self.link.messages():
                self.take(message)
            self.turn()
            readable, _, _ = select.select([self.link.socket, sys.stdin], [], [], 0.05)
            if sys.stdin in readable:
                return
            if self.link.socket in readable:
                self.link.read()


Device(enrol(*sys.argv[1:4])).run()

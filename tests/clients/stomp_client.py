"""stomp.py against the broker: stomp_client.py <port> <1.0|1.1|1.2> <base> [<path of a WebSocket>]

An MQTT client answers each message to <base>/up with the same to <base>/down. Prints "ok", or ends with an error.
"""

import queue
import sys
import time

import stomp

PORT, VERSION, BASE = int(sys.argv[1]), sys.argv[2], sys.argv[3]
KIND = {"1.0": stomp.Connection10, "1.1": stomp.Connection11, "1.2": stomp.Connection12}[VERSION]
OPTIONS = {}
if len(sys.argv) > 4:
    # It speaks 1.2.
    KIND, OPTIONS = stomp.WSStompConnection, {"ws_path": sys.argv[4]}
WAIT = 30


def check(condition, what):
    if not condition:
        raise SystemExit(f"{VERSION}: {what}")


class Listener(stomp.ConnectionListener):
    def __init__(self):
        self.frames = queue.Queue()
        self.gone = queue.Queue()

    def on_message(self, frame):
        self.frames.put(("MESSAGE", frame))

    def on_receipt(self, frame):
        self.frames.put(("RECEIPT", frame))

    def on_error(self, frame):
        self.frames.put(("ERROR", frame))

    def on_disconnected(self):
        self.gone.put(True)


class Client:
    def __init__(self, **options):
        self.connection = KIND([("127.0.0.1", PORT)], **OPTIONS, **options)
        self.listener = Listener()
        self.connection.set_listener("", self.listener)
        self.kept = []
        self.receipts = 0

    def connect(self, passcode="guest", **headers):
        self.connection.connect("guest", passcode, wait=True, headers=headers)
        return self

    def next(self, kind):
        for at, (got, frame) in enumerate(self.kept):
            if got == kind:
                del self.kept[at]
                return frame
        while True:
            try:
                got, frame = self.listener.frames.get(timeout=WAIT)
            except queue.Empty:
                raise SystemExit(f"{VERSION}: no {kind} came") from None
            if got == kind:
                return frame
            self.kept.append((got, frame))

    def message(self, body, destination):
        frame = self.next("MESSAGE")
        check(frame.body == body, f"{body[:40]!r} wanted, got {frame.body[:40]!r}")
        check(frame.headers["destination"] == destination, frame.headers)
        return frame

    def done(self, what, *words, **options):
        self.receipts += 1
        receipt = f"r{self.receipts}"
        headers = {"receipt": receipt, **options.pop("headers", {})}
        if what in ("begin", "commit", "abort", "ack", "nack"):
            # They take no dictionary of headers.
            what(*words, receipt=receipt, **options)
        else:
            what(*words, headers=headers, **options)
        check(self.next("RECEIPT").headers["receipt-id"] == receipt, "receipt")

    def acknowledge(self, frame, way="ack"):
        method = getattr(self.connection, way)
        if VERSION == "1.2":
            method(frame.headers["ack"])
        elif VERSION == "1.1":
            method(frame.headers["message-id"], frame.headers["subscription"])
        else:
            method(frame.headers["message-id"])

    def disconnect(self):
        self.connection.disconnect(receipt="bye")
        self.listener.gone.get(timeout=WAIT)


def main():
    a = Client().connect()
    b = Client(heartbeats=(1000, 1000)).connect() if VERSION != "1.0" else Client().connect()
    b.done(b.connection.subscribe, f"{BASE}/down", id="1", ack="auto")
    for body in ("small", "x" * 8000, "ünï", "lines\nand\n\nlines", "a:b\\c"):
        a.done(a.connection.send, f"{BASE}/up", body)
        b.message(body, f"{BASE}/down")
        a.connection.send(f"{BASE}/up", body)
        b.message(body, f"{BASE}/down")

    b.done(b.connection.subscribe, f"{BASE}/ack", id="2", ack="client-individual")
    for body in ("one", "two"):
        a.done(a.connection.send, f"{BASE}/ack", body)
    one = b.message("one", f"{BASE}/ack")
    two = b.message("two", f"{BASE}/ack")
    b.acknowledge(two)
    if VERSION == "1.0":
        b.acknowledge(one)
    else:
        b.acknowledge(one, "nack")
        again = b.message("one", f"{BASE}/ack")
        check(again.headers.get("redelivered") == "true", again.headers)
        b.acknowledge(again)

    b.done(b.connection.subscribe, f"{BASE}/tx/#", id="3", ack="auto")
    for end in ("abort", "commit"):
        transaction = a.connection.begin()
        for body in ("first", "second"):
            a.connection.send(f"{BASE}/tx/{end}", body, transaction=transaction)
        getattr(a.connection, end)(transaction)
    b.message("first", f"{BASE}/tx/commit")
    b.message("second", f"{BASE}/tx/commit")

    if VERSION != "1.0":
        # Longer than the heart-beats.
        time.sleep(2.7)
        check(b.connection.is_connected(), "b is alive")
    a.done(a.connection.send, f"{BASE}/up", "at last")
    b.message("at last", f"{BASE}/down")
    b.connection.unsubscribe(id="1")
    a.disconnect()
    b.disconnect()
    left = b.kept + list(b.listener.frames.queue)
    left = [kind for kind, frame in left if frame.headers.get("receipt-id") != "bye"]
    check(not left, f"{left} that nobody awaited")

    wrong = Client()
    try:
        wrong.connect("wrong")
        check(False, "let in with a wrong passcode")
    except stomp.exception.ConnectFailedException:
        check(wrong.next("ERROR").body == "Login or passcode error!", "the text of the refusal")
    print("ok")


main()

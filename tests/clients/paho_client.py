"""paho-mqtt against the broker: paho_client.py <tcp|tls|ws|wss> <port> <3|4|5> <CA file> <topic>

Publishes and subscribes with each QoS, then retained messages, a will, and a persistent session; with
MQTT 5 also properties and reason codes. Prints "ok", or ends with an error.
"""

import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

TRANSPORT, PORT, VERSION, CA, TOPIC = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
V5 = VERSION == mqtt.MQTTv5
WAIT = 30


class Client:
    """A connected client whose events come out of queues."""

    def __init__(self, name, clean=True, will=None):
        self.messages, self.events = queue.Queue(), queue.Queue()
        arguments = {} if V5 else {"clean_session": clean}
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=f"{TOPIC}{name}",
            protocol=VERSION,
            transport="websockets" if TRANSPORT in ("ws", "wss") else "tcp",
            **arguments,
        )
        if TRANSPORT in ("ws", "wss"):
            self.client.ws_set_options(path="/mqtt")
        if TRANSPORT in ("tls", "wss"):
            self.client.tls_set(ca_certs=CA)
        if will:
            self.client.will_set(*will)
        self.client.on_message = lambda c, u, m: self.messages.put(m)
        self.client.on_connect = lambda c, u, flags, reason, p: self.events.put(("connect", flags, reason, p))
        self.client.on_subscribe = lambda c, u, mid, reasons, p: self.events.put(("subscribe", reasons))
        self.client.on_unsubscribe = lambda c, u, mid, reasons, p: self.events.put(("unsubscribe", reasons))
        self.client.on_disconnect = lambda *a: self.events.put(("disconnect",))
        connect = {}
        if V5:
            connect["clean_start"] = clean
            connect["properties"] = Properties(PacketTypes.CONNECT)
            connect["properties"].SessionExpiryInterval = 0 if clean else 100
        self.client.connect("127.0.0.1", PORT, keepalive=30, **connect)
        self.client.loop_start()
        event = self.event("connect")
        assert not event[2].is_failure, event
        self.session_present = event[1].session_present

    def event(self, name):
        event = self.events.get(timeout=WAIT)
        assert event[0] == name, f"{name} wanted, got {event}"
        return event

    def subscribe(self, topic, qos, **options):
        if V5:
            self.client.subscribe(topic, options=SubscribeOptions(qos=qos, **options))
        else:
            self.client.subscribe(topic, qos)
        reasons = self.event("subscribe")[1]
        assert [r.value for r in reasons] == [qos], reasons

    def publish(self, topic, payload, qos=0, retain=False, properties=None):
        self.client.publish(topic, payload, qos, retain, properties=properties).wait_for_publish(WAIT)

    def expect(self, topic, payload):
        message = self.messages.get(timeout=WAIT)
        got = (message.topic, message.payload)
        assert got == (topic, payload.encode()), f"{(topic, payload)} wanted, got {got}"
        return message

    def close(self):
        self.client.disconnect()
        self.event("disconnect")
        self.client.loop_stop()

    def lose(self):
        """Ends the connection without DISCONNECT."""
        self.client.loop_stop()
        self.client.socket().close()


def main():
    a, b = Client("a"), Client("b")
    for qos in range(3):
        b.subscribe(f"{TOPIC}/{qos}/+", 2)
        for payload in ("small", "x" * 60000, ""):
            a.publish(f"{TOPIC}/{qos}/x", payload, qos)
            message = b.expect(f"{TOPIC}/{qos}/x", payload)
            assert message.qos == qos and not message.retain

    a.publish(f"{TOPIC}/r", "kept", 1, retain=True)
    b.subscribe(f"{TOPIC}/r", 1)
    assert b.expect(f"{TOPIC}/r", "kept").retain
    a.publish(f"{TOPIC}/r", "", 1, retain=True)
    b.expect(f"{TOPIC}/r", "")
    b.client.unsubscribe(f"{TOPIC}/r")
    b.event("unsubscribe")
    a.publish(f"{TOPIC}/r", "unheard", 1)

    b.subscribe(f"{TOPIC}/will", 1)
    Client("w", will=(f"{TOPIC}/will", "gone", 1, False)).lose()
    b.expect(f"{TOPIC}/will", "gone")

    p = Client("p", clean=False)
    assert not p.session_present
    p.subscribe(f"{TOPIC}/p", 2)
    p.close()
    for i in range(5):
        a.publish(f"{TOPIC}/p", str(i), 2)
    p = Client("p", clean=False)
    assert p.session_present or VERSION == mqtt.MQTTv31
    for i in range(5):
        p.expect(f"{TOPIC}/p", str(i))
    p.close()

    if V5:
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = [("b", "1"), ("a", "2"), ("b", "3")]
        properties.ContentType = "text/plain"
        properties.ResponseTopic = f"{TOPIC}/answer"
        properties.CorrelationData = b"\x00\xff"
        properties.MessageExpiryInterval = 60
        b.subscribe(f"{TOPIC}/props", 1, retainAsPublished=True)
        a.publish(f"{TOPIC}/props", "x", 1, properties=properties)
        got = b.expect(f"{TOPIC}/props", "x").properties
        assert got.UserProperty == properties.UserProperty, got
        assert got.ContentType == "text/plain" and got.ResponseTopic == f"{TOPIC}/answer"
        assert got.CorrelationData == b"\x00\xff" and 0 < got.MessageExpiryInterval <= 60
        a.subscribe(f"{TOPIC}/own", 1, noLocal=True)
        a.publish(f"{TOPIC}/own", "mine", 1)
        b.publish(f"{TOPIC}/own", "yours", 1)
        a.expect(f"{TOPIC}/own", "yours")

    a.close()
    b.close()
    assert a.messages.empty() and b.messages.empty()
    print("ok")


main()

//! Messages, denials and take-overs across protocols: MQTT 3.1.1 and 5, STOMP, SockJS, MQTT-SN, CoAP.


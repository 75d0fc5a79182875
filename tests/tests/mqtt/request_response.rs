//! Request and response over MQTT 5.

use emqttd_tests::{Connect, Prop, Publish, Version, unique};

use crate::broker;

const V: Version = Version::V5;

/// [MQTT-3.3.2-16]
#[test]
fn mqtt5_3_3_2_15_request_and_response() {
    let service = unique("service");
    let answers = unique("answers");
    let mut responder = broker().client(V, "responder");
    responder.sub(&service, 1);
    let mut requester = broker().client(V, "requester");
    requester.sub(&answers, 1);
    for number in 0..5u8 {
        requester.publish(
            Publish::new(&service, "question")
                .qos(1)
                .prop(Prop::ResponseTopic(answers.clone()))
                .prop(Prop::CorrelationData(vec![number, 0, 255])),
        );
        let question = responder.expect(&service, "question");
        responder.publish(
            Publish::new(&question.props.response_topic().unwrap(), "answer")
                .qos(1)
                .prop(Prop::CorrelationData(
                    question.props.correlation_data().unwrap(),
                )),
        );
        let answer = requester.expect(&answers, "answer");
        assert_eq!(answer.props.correlation_data(), Some(vec![number, 0, 255]));
    }
}

/// [MQTT-3.3.2-13]
#[test]
fn mqtt5_3_3_2_14_response_topic_with_wildcards_closes() {
    for topic in ["a/+", "#", "a/#/b"] {
        let mut client = broker().client(V, "wild");
        client.send(
            &Publish::new("t", "x")
                .prop(Prop::ResponseTopic(topic.into()))
                .encode(V),
        );
        client.expect_closed(&[0x81, 0x82, 0x90]);
    }
}

/// Asked for response information, the broker may give a topic to build on: one without wildcards.
#[test]
fn mqtt5_3_1_2_28_response_information_is_a_usable_topic() {
    let (_client, _, props) =
        broker().resume(&Connect::new(V, &unique("info")).prop(Prop::RequestResponseInfo(1)));
    if let Some(info) = props.response_info() {
        assert!(!info.is_empty() && !info.contains(['+', '#']), "{info}");
    }
}

/// Empty correlation data is not the same as none.
#[test]
fn mqtt5_3_3_2_16_empty_correlation_data() {
    let topic = unique("empty");
    let mut client = broker().client(V, "sub");
    client.sub(&topic, 0);
    broker()
        .client(V, "pub")
        .publish(Publish::new(&topic, "x").prop(Prop::CorrelationData(Vec::new())));
    assert_eq!(
        client.expect(&topic, "x").props.correlation_data(),
        Some(Vec::new())
    );
}

//! Who comes in.

use crate::common::{api, broker};
use emqttd_tests::http::Http;

#[test]
fn rest_basic_auth_lets_in_and_nothing_keeps_out() {
    let broker = broker();
    let nodes = "/api/v2/management/nodes";
    let answer = api(&broker).get(nodes);
    assert_eq!(answer.result()[0]["name"], "emq@127.0.0.1");
    let nobody = Http::at(broker.addr("api.mgmt"));
    for http in [nobody.clone(), nobody.basic("admin", "wrong")] {
        let answer = http.get(nodes);
        assert_eq!((answer.status, answer.text().as_str()), (401, ""));
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Basic Realm=\"emqx control center\"")
        );
    }
}

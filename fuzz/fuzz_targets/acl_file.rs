//! The text of an acl.conf and, behind the last line that holds only `?`, who asks for what: client id, user name, topic, each
//! on a line.
//!
//! Nothing may panic; places of errors lie in the text; rules as they are shown are the same rules; names never widen a rule.
#![no_main]

use emqttd_broker::acl_file::{Access, AclFile, Decision, Who};
use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;

const ADDRESSES: [Option<IpAddr>; 3] = [
    None,
    Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)),
    Some(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)),
];

fuzz_target!(|input: &str| {
    let (text, question) = input
        .rsplit_once("\n?\n")
        .unwrap_or((input, "c1\nalice\na/b"));
    let lines = text.split('\n').count();
    let file = match AclFile::parse(text) {
        Ok(file) => file,
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                assert!(
                    (1..=lines).contains(&error.line) && error.column > 0,
                    "{error}"
                );
            }
            return;
        }
    };
    let (rules, places) = shown(&file, lines);
    let again = AclFile::parse(&rules).expect("what is shown can be read");
    assert_eq!(again.len(), file.len());

    let mut question = question.split('\n');
    let clientid = question.next().unwrap_or_default();
    let username = question.next().filter(|name| !name.is_empty());
    let topic = question.next().unwrap_or_default();
    for access in [Access::Publish, Access::Subscribe] {
        for ip in ADDRESSES {
            let who = Who {
                clientid,
                username,
                ip,
            };
            let decision = file.check(&who, access, topic);
            let expected = again.check(&who, access, topic).map(|decision| Decision {
                line: places[decision.line - 1],
                ..decision
            });
            assert_eq!(decision, expected);
            check_names(&rules, &who, access, topic, decision);
        }
    }
});

/// Every rule on a line, and for each of these lines the one of the original text.
fn shown(file: &AclFile, lines: usize) -> (String, Vec<usize>) {
    let texts: Vec<_> = (1..=lines)
        .filter_map(|line| file.rule_text(line).map(|text| (text, line)))
        .collect();
    let rules = texts.iter().map(|(text, _)| text.as_str());
    let rules = rules.collect::<Vec<_>>().join("\n");
    (rules, texts.into_iter().map(|(_, line)| line).collect())
}

/// A name that is a wildcard, or more than one level, is allowed nothing that a client without a name is not.
fn check_names(
    rules: &str,
    who: &Who<'_>,
    access: Access,
    topic: &str,
    decision: Option<Decision>,
) {
    let odd = |name: &str| name.contains(['+', '#', '/']);
    let Some(username) = who.username.filter(|name| odd(name)) else {
        return;
    };
    // Only a rule that speaks of everybody, or a denial, may have decided.
    if decision.is_some_and(|decision| decision.allow)
        && !rules.contains("user")
        && !rules.contains("deny")
    {
        let file = AclFile::parse(rules).expect("read before");
        let nobody = Who {
            username: None,
            ..*who
        };
        let without = file.check(&nobody, access, topic);
        assert!(
            without.is_some_and(|decision| decision.allow),
            "{username:?} got in by its name"
        );
    }
}

#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

const ALICE: Who<'static> = Who {
    clientid: "c1",
    username: Some("alice"),
    ip: None,
};

const NOBODY: Who<'static> = Who {
    clientid: "c1",
    username: None,
    ip: None,
};

fn acl(text: &str) -> AclFile {
    AclFile::parse(text).unwrap()
}

fn at(ip: &str) -> Who<'static> {
    Who {
        ip: Some(ip.parse().unwrap()),
        ..NOBODY
    }
}

fn client(clientid: &str) -> Who<'_> {
    Who { clientid, ..NOBODY }
}

fn user(username: &str) -> Who<'_> {
    Who {
        username: Some(username),
        ..NOBODY
    }
}

/// `Some(true)` allow, `Some(false)` deny, `None` no rule.
fn publish(file: &AclFile, who: &Who<'_>, topic: &str) -> Option<bool> {
    file.check(who, Access::Publish, topic).map(|d| d.allow)
}

fn subscribe(file: &AclFile, who: &Who<'_>, topic: &str) -> Option<bool> {
    file.check(who, Access::Subscribe, topic).map(|d| d.allow)
}

/// The errors as `line:column message`.
fn errors(text: &str) -> Vec<String> {
    let errors = AclFile::parse(text).unwrap_err();
    errors
        .iter()
        .map(|e| format!("{}:{} {}", e.line, e.column, e.message))
        .collect()
}

fn error(text: &str) -> String {
    let mut all = errors(text);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn all_matches_everything() {
    let file = acl("{allow, all}.");
    assert_eq!(publish(&file, &NOBODY, "$SYS/x"), Some(true));
    assert_eq!(subscribe(&file, &NOBODY, "#"), Some(true));
    let file = acl("{deny,all}.");
    assert_eq!(publish(&file, &ALICE, "a"), Some(false));
}

#[test]
fn who_user_and_client() {
    let file = acl(r#"
        {allow, {user, "alice"}, publish, ["u"]}.
        {allow, {user, all}, publish, ["anyuser"]}.
        {allow, {client, "c1"}, publish, ["c"]}.
        {allow, {client, all}, publish, ["anyclient"]}.
        {allow, {user, "all"}, publish, ["called-all"]}."#);
    assert_eq!(publish(&file, &ALICE, "u"), Some(true));
    assert_eq!(publish(&file, &user("Alice"), "u"), None);
    assert_eq!(publish(&file, &NOBODY, "u"), None);
    assert_eq!(publish(&file, &NOBODY, "anyuser"), Some(true));
    assert_eq!(publish(&file, &client("c1"), "c"), Some(true));
    assert_eq!(publish(&file, &client("c2"), "c"), None);
    assert_eq!(publish(&file, &client("c2"), "anyclient"), Some(true));
    assert_eq!(publish(&file, &ALICE, "called-all"), None);
    assert_eq!(publish(&file, &user("all"), "called-all"), Some(true));
}

#[test]
fn who_address() {
    let file = acl(r#"
        {allow, {ipaddr, "127.0.0.1"}, publish, ["one"]}.
        {allow, {ipaddr, "10.1.2.3/8"}, publish, ["net"]}.
        {allow, {ipaddr, "0.0.0.0/0"}, publish, ["v4"]}.
        {allow, {ipaddr, "2001:db8::1/32"}, publish, ["net6"]}.
        {allow, {ipaddr, "::/0"}, publish, ["v6"]}.
        {allow, {ipaddr, "::ffff:192.168.0.0/112"}, publish, ["mapped"]}."#);
    assert_eq!(publish(&file, &at("127.0.0.1"), "one"), Some(true));
    assert_eq!(publish(&file, &at("127.0.0.2"), "one"), None);
    assert_eq!(
        publish(&file, &at("10.255.0.1"), "net"),
        Some(true),
        "host bits are masked"
    );
    assert_eq!(publish(&file, &at("11.0.0.1"), "net"), None);
    assert_eq!(publish(&file, &at("2001:db8:5::9"), "net6"), Some(true));
    assert_eq!(publish(&file, &at("2001:db9::1"), "net6"), None);
    assert_eq!(publish(&file, &at("::ffff:10.0.0.9"), "net"), Some(true));
    assert_eq!(publish(&file, &at("192.168.9.9"), "mapped"), Some(true));
    assert_eq!(
        publish(&file, &at("1.2.3.4"), "v6"),
        None,
        "families do not mix"
    );
    assert_eq!(publish(&file, &at("fe80::1"), "v4"), None);
    assert_eq!(publish(&file, &NOBODY, "v4"), None, "no address, no match");
}

#[test]
fn who_and_or() {
    let file = acl(r#"
        {allow, {'and', [{user, "alice"}, {client, "c1"}]}, publish, ["both"]}.
        {allow, {'or', [{user, "alice"}, {client, "c9"}]}, publish, ["either"]}.
        {allow, {'and', []}, publish, ["true"]}.
        {allow, {'or', []}, publish, ["false"]}.
        {allow, {'or', [{'and', [{user, "bob"}, {client, "c1"}]}, {user, "eve"}]}, publish, ["nested"]}."#);
    assert_eq!(publish(&file, &ALICE, "both"), Some(true));
    assert_eq!(publish(&file, &NOBODY, "both"), None);
    assert_eq!(publish(&file, &ALICE, "either"), Some(true));
    assert_eq!(publish(&file, &client("c9"), "either"), Some(true));
    assert_eq!(publish(&file, &client("c8"), "either"), None);
    assert_eq!(publish(&file, &NOBODY, "true"), Some(true));
    assert_eq!(publish(&file, &NOBODY, "false"), None);
    assert_eq!(publish(&file, &user("bob"), "nested"), Some(true));
    assert_eq!(publish(&file, &user("eve"), "nested"), Some(true));
    assert_eq!(publish(&file, &user("sam"), "nested"), None);
}

#[test]
fn access_words() {
    let file = acl(r#"
        {allow, all, publish, ["p"]}.
        {allow, all, subscribe, ["s"]}.
        {allow, all, pubsub, ["b"]}."#);
    assert_eq!(publish(&file, &NOBODY, "p"), Some(true));
    assert_eq!(subscribe(&file, &NOBODY, "p"), None);
    assert_eq!(publish(&file, &NOBODY, "s"), None);
    assert_eq!(subscribe(&file, &NOBODY, "s"), Some(true));
    assert_eq!(publish(&file, &NOBODY, "b"), Some(true));
    assert_eq!(subscribe(&file, &NOBODY, "b"), Some(true));
}

#[test]
fn first_match_decides_and_names_its_line() {
    let file = acl("{deny, all, publish, [\"a\"]}.\n\n{allow, all,\n publish, [\"a\", \"b\"]}.");
    let deny = Decision {
        allow: false,
        line: 1,
    };
    let allow = Decision {
        allow: true,
        line: 3,
    };
    assert_eq!(file.check(&NOBODY, Access::Publish, "a"), Some(deny));
    assert_eq!(file.check(&NOBODY, Access::Publish, "b"), Some(allow));
    assert_eq!(file.check(&NOBODY, Access::Publish, "c"), None);
    assert_eq!(
        file.rule_text(3).as_deref(),
        Some(r#"{allow, all, publish, ["a", "b"]}."#)
    );
    assert_eq!(file.rule_text(2), None);
    assert_eq!(file.len(), 2);
}

#[test]
fn topic_filters() {
    let file = acl(r#"{allow, all, pubsub, ["a/+/c", "b/#", "/+", "x//y"]}."#);
    for topic in ["a/b/c", "a//c", "b", "b/", "b/c/d", "/x", "/", "x//y"] {
        assert_eq!(publish(&file, &NOBODY, topic), Some(true), "{topic}");
    }
    for topic in [
        "a/b/d", "a/c", "a/b/c/d", "bb", "", "x/y", "/x/", "x/y/", "x//y/",
    ] {
        assert_eq!(publish(&file, &NOBODY, topic), None, "{topic}");
    }
}

#[test]
fn wildcards_cover_dollar_topics() {
    let file = acl(r##"{allow, all, pubsub, ["#"]}."##);
    assert_eq!(publish(&file, &NOBODY, "$SYS/x"), Some(true));
    assert_eq!(subscribe(&file, &NOBODY, "$SYS/#"), Some(true));
    let file = acl(r#"{allow, all, pubsub, ["+/x"]}."#);
    assert_eq!(publish(&file, &NOBODY, "$SYS/x"), Some(true));
}

#[test]
fn wildcards_of_a_subscription_are_words() {
    for covering in ["a/+", "a/#", "+/+", "#"] {
        let file = acl(&format!("{{allow, all, subscribe, [\"{covering}\"]}}."));
        assert_eq!(subscribe(&file, &NOBODY, "a/+"), Some(true), "{covering}");
    }
    let file = acl(r#"{allow, all, subscribe, ["a/b"]}."#);
    assert_eq!(subscribe(&file, &NOBODY, "a/+"), None);
    let file = acl(r##"{deny, all, subscribe, ["$SYS/#", {eq, "#"}]}."##);
    assert_eq!(subscribe(&file, &NOBODY, "+/#"), None);
    assert_eq!(subscribe(&file, &NOBODY, "#"), Some(false));
    assert_eq!(subscribe(&file, &NOBODY, "$SYS/#"), Some(false));
}

#[test]
fn plus_never_allows_a_trailing_hash() {
    let file = acl(r#"{allow, all, subscribe, ["+", "a/+"]}."#);
    assert_eq!(subscribe(&file, &NOBODY, "#"), None);
    assert_eq!(subscribe(&file, &NOBODY, "a/#"), None);
    assert_eq!(subscribe(&file, &NOBODY, "+"), Some(true));
    let file = acl(r#"{deny, all, subscribe, ["a/+"]}."#);
    assert_eq!(
        subscribe(&file, &NOBODY, "a/#"),
        Some(false),
        "but it denies one"
    );
}

#[test]
fn eq_has_no_wildcards_and_no_variables() {
    let file = acl(r#"{deny, all, subscribe, [{eq, "a/+"}, {eq, "own/%c"}]}."#);
    assert_eq!(subscribe(&file, &NOBODY, "a/+"), Some(false));
    assert_eq!(subscribe(&file, &NOBODY, "a/b"), None);
    assert_eq!(subscribe(&file, &NOBODY, "own/c1"), None);
    assert_eq!(subscribe(&file, &NOBODY, "own/%c"), Some(false));
}

#[test]
fn variables_are_whole_levels() {
    let file = acl(r#"{allow, all, pubsub, ["own/%c/#", "usr/%u/x", "dev-%c"]}."#);
    assert_eq!(subscribe(&file, &ALICE, "own/c1/x"), Some(true));
    assert_eq!(subscribe(&file, &ALICE, "own/c2/x"), None);
    assert_eq!(publish(&file, &ALICE, "usr/alice/x"), Some(true));
    assert_eq!(publish(&file, &ALICE, "usr/bob/x"), None);
    assert_eq!(publish(&file, &ALICE, "dev-c1"), None);
    assert_eq!(publish(&file, &ALICE, "dev-%c"), Some(true), "a literal");
    assert_eq!(file.warnings().len(), 1, "{:?}", file.warnings());
}

#[test]
fn an_absent_user_name_matches_nothing() {
    for action in ["allow", "deny"] {
        let file = acl(&format!("{{{action}, all, pubsub, [\"usr/%u/#\"]}}."));
        for topic in ["usr/undefined/1", "usr//1", "usr/%u/1", "usr/+/1"] {
            assert_eq!(subscribe(&file, &NOBODY, topic), None, "{action} {topic}");
        }
    }
    let file = acl(r#"{allow, all, pubsub, ["usr/%u/#"]}."#);
    assert_eq!(
        subscribe(&file, &user(""), "usr//1"),
        None,
        "nor does an empty one"
    );
    assert_eq!(
        publish(&file, &user("%u"), "usr/%u/1"),
        Some(true),
        "his own name"
    );
}

#[test]
fn a_name_is_never_a_pattern() {
    let file = acl(r#"{allow, all, pubsub, ["own/%c/#", "usr/%u"]}."#);
    assert_eq!(subscribe(&file, &client("+"), "own/+/x"), None);
    assert_eq!(subscribe(&file, &client("+"), "own/other/x"), None);
    assert_eq!(subscribe(&file, &client("#"), "own/#"), None);
    assert_eq!(subscribe(&file, &client("#"), "own/other"), None);
    assert_eq!(subscribe(&file, &client("a/b"), "own/a/b/x"), None);
    assert_eq!(subscribe(&file, &client("a/b"), "own/a/x"), None);
    assert_eq!(subscribe(&file, &client("a+b"), "own/a+b/x"), None);
    assert_eq!(subscribe(&file, &user("+"), "usr/+"), None);
    assert_eq!(subscribe(&file, &user("#"), "usr/#"), None);
    assert_eq!(subscribe(&file, &user("a/#"), "usr/a/#"), None);
    let file = acl(r#"{deny, all, pubsub, ["own/%c/#"]}."#);
    assert_eq!(
        subscribe(&file, &client("+"), "own/+/x"),
        Some(false),
        "denying is safe"
    );
    assert_eq!(subscribe(&file, &client("+"), "own/other/x"), None);
}

#[test]
fn a_single_binary_is_a_list_of_one() {
    let file = acl(
        r#"{allow, all, publish, <<"a/", "+"/utf8>>}. {allow, all, publish, [<<"b">>, <<99>>]}."#,
    );
    assert_eq!(publish(&file, &NOBODY, "a/x"), Some(true));
    assert_eq!(publish(&file, &NOBODY, "b"), Some(true));
    assert_eq!(publish(&file, &NOBODY, "c"), Some(true));
}

#[test]
fn names_before_2_0_are_understood_with_a_warning() {
    let file = acl("{allow, all, pubsub, [\"own/$c/#\", \"usr/$u\"]}.");
    assert_eq!(publish(&file, &ALICE, "own/c1/x"), Some(true));
    assert_eq!(publish(&file, &ALICE, "usr/alice"), Some(true));
    assert_eq!(publish(&file, &ALICE, "usr/$u"), None);
    let places: Vec<_> = file.warnings().iter().map(|w| (w.line, w.column)).collect();
    assert_eq!(places, [(1, 23), (1, 35)]);
    assert!(file.warnings()[0].message.contains("%u and %c"));
}

#[test]
fn what_never_applies_is_warned_of() {
    let file = acl("{deny, all, subscribe, []}.\n{deny, all, pubsub, [\"$share/g/t\"]}.");
    let lines: Vec<_> = file.warnings().iter().map(|w| w.line).collect();
    assert_eq!(lines, [1, 2]);
    assert!(
        acl("{deny, all, publish, [\"$share/g/t\"]}.")
            .warnings()
            .is_empty()
    );
    assert_eq!(acl("% nothing\n").warnings().len(), 1, "an empty file");
    assert!(acl("").is_empty());
}

#[test]
fn the_default_file() {
    let file = acl(r##"%% comment
        {allow, {user, "dashboard"}, subscribe, ["$SYS/#"]}.
        {allow, {ipaddr, "127.0.0.1"}, pubsub, ["$SYS/#", "#"]}.
        {deny, all, subscribe, ["$SYS/#", {eq, "#"}]}.
        "##);
    assert!(file.warnings().is_empty());
    assert_eq!(
        subscribe(&file, &user("dashboard"), "$SYS/brokers"),
        Some(true)
    );
    assert_eq!(subscribe(&file, &at("127.0.0.1"), "#"), Some(true));
    assert_eq!(subscribe(&file, &at("10.0.0.1"), "#"), Some(false));
    assert_eq!(subscribe(&file, &at("10.0.0.1"), "$SYS/x"), Some(false));
    assert_eq!(subscribe(&file, &at("10.0.0.1"), "a/#"), None);
    assert_eq!(
        publish(&file, &at("10.0.0.1"), "$SYS/x"),
        None,
        "not denied by default"
    );
}

#[test]
fn profile_a_of_the_oracle() {
    let file = acl(r##"
{deny, all, pubsub, ["acl/none/#"]}.
{deny, all, publish, ["acl/nopub/#"]}.
{deny, all, subscribe, ["acl/nosub/#"]}.
{allow, all, pubsub, ["own/%c/#"]}.
{deny, all, pubsub, ["own/#"]}.
{allow, all, pubsub, ["usr/%u/#"]}.
{deny, all, pubsub, ["usr/#"]}.
{allow, {user, "trusted"}, publish, ["acl/only/#"]}.
{deny, all, publish, ["acl/only/#"]}.
{deny, {user, "mallory"}, pubsub, ["acl/user/#"]}.
{deny, {client, "acl-blocked-client"}, publish, ["acl/client/#"]}.
{deny, all, subscribe, [{eq, "acl/eq/+"}]}.
{deny, {ipaddr, "127.0.0.0/8"}, publish, ["acl/ip/#"]}.
{deny, {ipaddr, "10.0.0.0/8"}, publish, ["acl/ip10/#"]}.
{allow, {user, "dashboard"}, subscribe, ["$SYS/#"]}.
{allow, {ipaddr, "127.0.0.1"}, pubsub, ["$SYS/#", "#"]}.
{deny, all, subscribe, ["$SYS/#", {eq, "#"}]}.
{allow, all}.
"##);
    assert!(file.warnings().is_empty());
    assert_eq!(file.len(), 18);
    let local = at("127.0.0.1");
    let decided = |who: &Who<'_>, access, topic| {
        let decision = file.check(who, access, topic).unwrap();
        (decision.allow, decision.line - 1)
    };
    use Access::{Publish, Subscribe};
    assert_eq!(decided(&local, Publish, "acl/none/x"), (false, 1));
    assert_eq!(decided(&local, Publish, "acl/nopub"), (false, 2));
    assert_eq!(decided(&local, Subscribe, "acl/nopub/x"), (true, 16));
    assert_eq!(decided(&local, Subscribe, "acl/nosub/x"), (false, 3));
    assert_eq!(decided(&local, Subscribe, "own/c1/x"), (true, 4));
    assert_eq!(decided(&local, Subscribe, "own/c2/x"), (false, 5));
    assert_eq!(decided(&local, Subscribe, "usr/%u/1"), (false, 7));
    assert_eq!(decided(&local, Subscribe, "usr//1"), (false, 7));
    assert_eq!(decided(&ALICE, Subscribe, "usr/alice/1"), (true, 6));
    assert_eq!(decided(&user("trusted"), Publish, "acl/only/x"), (true, 8));
    assert_eq!(decided(&local, Publish, "acl/only/x"), (false, 9));
    assert_eq!(
        decided(&user("mallory"), Subscribe, "acl/user/x"),
        (false, 10)
    );
    assert_eq!(
        decided(&client("acl-blocked-client"), Publish, "acl/client/x"),
        (false, 11)
    );
    assert_eq!(decided(&local, Subscribe, "acl/eq/+"), (false, 12));
    assert_eq!(decided(&local, Subscribe, "acl/eq/x"), (true, 16));
    assert_eq!(decided(&local, Publish, "acl/ip/x"), (false, 13));
    assert_eq!(decided(&at("10.3.2.1"), Publish, "acl/ip10/x"), (false, 14));
    assert_eq!(decided(&local, Publish, "acl/ip10/x"), (true, 16));
    assert_eq!(decided(&user("dashboard"), Subscribe, "$SYS/#"), (true, 15));
    assert_eq!(decided(&at("10.3.2.1"), Subscribe, "$SYS/#"), (false, 17));
    assert_eq!(decided(&at("10.3.2.1"), Subscribe, "#"), (false, 17));
    assert_eq!(decided(&at("10.3.2.1"), Publish, "other"), (true, 18));
}

#[test]
fn the_missing_access_word_is_named_with_line_and_rule() {
    let message = error("{allow, all}.\n{allow, {ipaddr, \"127.0.0.1\"}, [\"t\"]}.");
    assert!(
        message.starts_with("2:32 the access word is missing"),
        "{message}"
    );
    assert!(
        message.ends_with(r#"in {allow, {ipaddr, "127.0.0.1"}, ["t"]}"#),
        "{message}"
    );
}

#[test]
fn an_unknown_access_word_is_refused() {
    let message = error("{deny, all, pub, [\"t\"]}.");
    assert!(
        message.starts_with("1:13 the access word must be"),
        "{message}"
    );
}

#[test]
fn every_error_is_reported() {
    let all = errors(
        "{allow, \"bob\", publish, [\"a\"]}.\n\
         {permit, all}.\n\
         {deny, all, read, [\"a/#/b\"]}.\n\
         {allow, all, publish, [\"ok\"]}.\n\
         {deny, {ipaddr, \"10.0.0.0/33\"}, publish, \"x\"}.\n",
    );
    let places: Vec<_> = all.iter().map(|e| e.split(' ').next().unwrap()).collect();
    assert_eq!(
        places,
        ["1:9", "2:2", "3:13", "3:20", "5:17", "5:42"],
        "{all:?}"
    );
}

#[test]
fn refused_forms() {
    for (text, expected) in [
        ("{allow, all}", "1:13 full stop missing"),
        (
            "{allow, all}.\n{deny, all}\n{allow, all}.",
            "3:1 full stop missing",
        ),
        (
            "{allow, all}. trailing",
            "1:23 full stop missing after trailing",
        ),
        ("{allow, all}. trailing.", "1:15 a rule is"),
        ("{allow, all}.\n}", "2:1 unexpected }"),
        (".", "1:1 unexpected full stop"),
        ("{allow, all", "1:12 the file ends"),
        ("{allow, all, publish, [\"a\" \"b\"", "1:31 the file ends"),
        ("{allow all}.", "1:8 expected , or }"),
        (
            "{allow, all, publish, [\"a]}.",
            "1:24 the closing \" is missing",
        ),
        (
            "{allow, {and, []}, publish, [\"a\"]}.",
            "1:10 and is a reserved word",
        ),
        ("{allow, All}.", "1:9 All would be a variable"),
        (
            "{allow, {user, alice}, publish, [\"a\"]}.",
            "1:16 a user is a text",
        ),
        (
            "{allow, {user, 7}, publish, [\"a\"]}.",
            "1:16 a user is a text",
        ),
        (
            "{allow, {client, 1.5}, publish, [\"a\"]}.",
            "1:18 a number with a fraction",
        ),
        (
            "{allow, {ipaddr, \"localhost\"}, publish, [\"a\"]}.",
            "1:18 ipaddr needs",
        ),
        (
            "{allow, {ipaddr, \"10.0.0.0/+8\"}, publish, [\"a\"]}.",
            "1:18 ipaddr needs",
        ),
        (
            "{allow, {ipaddr, \"10.0.0.0/\"}, publish, [\"a\"]}.",
            "1:18 ipaddr needs",
        ),
        ("{allow, {role, \"x\"}, publish, [\"a\"]}.", "1:9 Who is"),
        (
            "{allow, {'or', {user, \"x\"}}, publish, [\"a\"]}.",
            "1:16 'and' and 'or' need",
        ),
        ("{allow, {user, \"x\"}}.", "1:1 a rule is"),
        ("{allow, all, publish}.", "1:1 a rule is"),
        ("{allow, all, publish, \"a\"}.", "1:23 topics are a list"),
        ("{allow, all, publish, [a]}.", "1:24 a topic is a text"),
        (
            "{allow, all, publish, [\"\"]}.",
            "1:24 a topic cannot be empty",
        ),
        ("{allow, all, publish, [{eq, a}]}.", "1:29 eq needs"),
        (
            "{allow, all, publish, [\"a+\"]}.",
            "1:24 + and # must stand alone",
        ),
        (
            "{allow, all, publish, [\"#/a\"]}.",
            "1:24 + and # must stand alone",
        ),
        (
            "{allow, all, publish, [<<300>>]}.",
            "1:26 300 is not a byte",
        ),
        (
            "{allow, all, publish, [<<255>>]}.",
            "1:26 the binary is not valid UTF-8",
        ),
        (
            "{allow, all, publish, [<<\"a\"/integer>>]}.",
            "1:30 only /utf8",
        ),
        ("{allow, all, publish, [\"\\xzz\"]}.", "1:25 unknown escape"),
        (
            "{allow, all, publish; [\"a\"]}.",
            "1:21 ';' has no meaning here",
        ),
        ("{}.", "1:1 a rule begins"),
        ("\"text\".", "1:1 a rule is"),
    ] {
        let message = error(text);
        assert!(message.starts_with(expected), "{text}: {message}");
    }
}

#[test]
fn deep_nesting_is_refused() {
    let deep = "{".repeat(100_000);
    assert!(errors(&deep)[0].contains("nested too deeply"));
}

#[test]
fn the_lexical_forms_of_erlang() {
    let file = acl(
        "\u{feff}{'allow',{'user',\"al\" \"ice\"},publish,[\"a\\\"b\",\"\\x{e4}\\x41\\101\",\"tab\\t\"]}.%end\r\n\
         {deny,all,publish,[<<$a,16#62,99>>]}.{allow,all,subscribe,[\"% no comment\"]}.",
    );
    assert_eq!(publish(&file, &ALICE, "a\"b"), Some(true));
    assert_eq!(publish(&file, &ALICE, "\u{e4}AA"), Some(true));
    assert_eq!(publish(&file, &ALICE, "tab\t"), Some(true));
    assert_eq!(publish(&file, &ALICE, "abc"), Some(false));
    assert_eq!(subscribe(&file, &ALICE, "% no comment"), Some(true));
    assert_eq!(
        file.rule_text(2).as_deref(),
        Some(r#"{deny, all, publish, [<<"abc">>]}. {allow, all, subscribe, ["% no comment"]}."#)
    );
}

/// Words that make rules and near-rules.
fn word() -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ".",
        "allow",
        "deny",
        "all",
        "publish",
        "subscribe",
        "pubsub",
        "eq",
        "user",
        "client",
        "ipaddr",
        "'and'",
        "'or'",
        "<<",
        ">>",
        "/",
        "\"",
        "'",
        "\\",
        "%",
        "\n",
        " ",
        "\"a/+\"",
        "\"own/%c/#\"",
        "\"127.0.0.1/8\"",
        "$",
        "16#",
        "-",
        "1.5",
    ]);
    prop_oneof![4 => fixed.prop_map(str::to_owned), 1 => "\\PC{0,4}"]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c%+#/]{0,4}", Just("+".to_owned()), Just("#".to_owned())]
}

proptest! {
    #[test]
    fn reading_never_panics(text in prop::collection::vec(word(), 0..60)) {
        let text = text.concat();
        let lines = text.split('\n').count();
        match AclFile::parse(&text) {
            Ok(file) => {
                for line in 1..=lines {
                    // What is shown of a rule is that rule again.
                    if let Some(shown) = file.rule_text(line) {
                        prop_assert!(AclFile::parse(&shown).is_ok(), "{}", shown);
                    }
                }
            }
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                prop_assert!(errors.iter().all(|e| (1..=lines).contains(&e.line) && e.column >= 1));
            }
        }
    }

    #[test]
    fn any_text_is_read_without_panic(text in "\\PC*") {
        drop(AclFile::parse(&text));
    }

    /// Whatever the names are: what `%u` and `%c` allow lies in the client's own level.
    #[test]
    fn variables_allow_only_the_own_level(clientid in name(), username in prop::option::of(name()), level in name(), tail in name()) {
        let file = AclFile::parse("{allow, all, subscribe, [\"c/%c/#\", \"u/%u\"]}.").unwrap();
        let who = Who { clientid: &clientid, username: username.as_deref(), ip: None };
        let topic = format!("c/{level}/{tail}");
        if subscribe(&file, &who, &topic).is_some() {
            prop_assert_eq!(topic.split('/').nth(1), Some(clientid.as_str()));
            prop_assert!(!clientid.contains(['+', '#', '/']) && !clientid.is_empty());
        }
        let topic = format!("u/{level}");
        if subscribe(&file, &who, &topic).is_some() {
            prop_assert_eq!(Some(level.as_str()), username.as_deref());
            prop_assert!(!level.contains(['+', '#', '/']) && !level.is_empty());
        }
    }
}

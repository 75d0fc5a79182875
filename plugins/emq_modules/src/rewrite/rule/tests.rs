#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use std::time::{Duration, Instant};

fn entry(value: &str) -> Entry {
    Entry {
        key: "module.rewrite.rule.1".into(),
        value: value.into(),
        origin: "emq_modules.conf:12".into(),
    }
}

fn rule(value: &str) -> Rule {
    Rule::parse(&entry(value)).unwrap()
}

fn applied(value: &str, topic: &str) -> Option<String> {
    rule(value).apply(topic).unwrap()
}

fn refusal(value: &str) -> String {
    Rule::parse(&entry(value)).unwrap_err().0
}

#[test]
fn the_rules_of_the_seed() {
    let x = "x/# ^x/y/(.+)$ z/y/$1";
    assert_eq!(applied(x, "x/y/2").as_deref(), Some("z/y/2"));
    assert_eq!(applied(x, "x/1/2"), None);
    let y = "y/+/z/# ^y/(.+)/z/(.+)$ y/z/$2";
    assert_eq!(applied(y, "y/a/z/b").as_deref(), Some("y/z/b"));
    assert_eq!(applied(y, "y/a/z/+").as_deref(), Some("y/z/+"));
    assert_eq!(applied(y, "y/def"), None);
}

#[test]
fn older_ways_of_writing() {
    for text in [
        r#"rewrite x/# ^x/(.+)$ z/$1"#,
        r#""x/#" "^x/(.+)$" "z/$1""#,
        r#"  x/#   ^x/(.+)$	z/$1 "#,
    ] {
        assert_eq!(applied(text, "x/1").as_deref(), Some("z/1"), "{text}");
    }
    assert_eq!(rule("rewrite ^x z").filter(), "rewrite");
}

#[test]
fn groups_of_two_digits() {
    let ten = "# ^(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)$ $10/$1/$2$3";
    assert_eq!(applied(ten, "abcdefghij").as_deref(), Some("j/a/bc"));
    assert_eq!(applied("# ^(.) $10", "abc").as_deref(), Some("a0"));
    assert_eq!(applied("# ^(.)(.) $2$12", "abc").as_deref(), Some("ba2"));
    assert_eq!(
        applied("# ^(.) $7/$x/$/$0$1$99999999999999999999", "abc").as_deref(),
        Some("$7/$x/$/$0a$99999999999999999999")
    );
    assert_eq!(applied("# ^(.) $SYS/$1", "abc").as_deref(), Some("$SYS/a"));
}

#[test]
fn what_was_matched_is_put_in_as_it_is() {
    let swap = "# ^(.+)/(.+)$ $2/$1";
    assert_eq!(applied(swap, r"a&\1/$1&").as_deref(), Some(r"$1&/a&\1"));
    assert_eq!(applied(swap, "ä/ü/𝄞").as_deref(), Some("𝄞/ä/ü"));
    assert_eq!(applied("# ^(a)|(b) x$1/$2", "b").as_deref(), Some("x/b"));
    assert_eq!(
        applied("# b <$1>", "abc").as_deref(),
        Some("<$1>"),
        "no group"
    );
}

#[test]
fn perl_expressions() {
    for (value, topic, wanted) in [
        ("# ^(?!x/private/)x/(.+)$ z/$1", "x/a", Some("z/a")),
        ("# ^(?!x/private/)x/(.+)$ z/$1", "x/private/a", None),
        (r"# ^(\w+)/\1/(.+)$ $2", "ab/ab/c", Some("c")),
        (r"# ^(\w+)/\1/(.+)$ $2", "ab/ac/c", None),
        (r"# ^x/(?<id>\d+)/ z/$1", "x/12/a", Some("z/12")),
        (r"# ^x/(\d++)(?=/) z/$1", "x/12/a", Some("z/12")),
        (r"# (?<=x/)([[:alpha:]]+?)\d z/$1", "x/ab1", Some("z/ab")),
        (r"# (?i)^X/(.*)\z z/$1", "x/ab", Some("z/ab")),
        (r"# ^x\/(\S+?)\/(?>a|ab)c $1", "x/1/ac", Some("1")),
        (r"# ^x\/(\S+?)\/(?>a|ab)c $1", "x/1/abc", None),
        (r"# ^(x)?y(?(1)z|w) m", "xyz", Some("m")),
        (r"# ^(x)?y(?(1)z|w) m", "yz", None),
        (r"# ^(?:a|b)\x2f(.)\b m/$1", "b/c", Some("m/c")),
        // `.` is a byte, `\w` a letter of ASCII
        ("# ^..$ m", "ä", Some("m")),
        (r"# ^\w+$ m", "ä", None),
        ("# ^ä/(.+)$ $1", "ä/ö", Some("ö")),
    ] {
        assert_eq!(applied(value, topic).as_deref(), wanted, "{value}, {topic}");
    }
}

#[test]
fn half_a_character_is_no_topic() {
    assert_eq!(rule("# ^(.) $1").apply("ä"), Err(Failure::NotUtf8));
}

#[test]
fn bad_rules_are_refused() {
    for (value, why) in [
        ("x/# ^x", "is expected"),
        ("a b c d", "is expected"),
        ("", "is expected"),
        ("x/#/y a b", "the filter x/#/y: "),
        ("x a \"\"", "the destination is empty"),
        ("x (a b", "the expression (a: "),
        ("x a** b", "the expression a**: "),
        (r"x (a)\2 b", "the expression "),
        ("x (?R)x|(?1) b", "the expression "),
    ] {
        let error = refusal(value);
        let head = format!("emq_modules.conf:12: module.rewrite.rule.1 = {value}: ");
        assert!(error.starts_with(&head), "{error}");
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn an_expression_that_would_be_too_large_is_refused() {
    for expression in [
        "(a{1000}){1000}",
        "((((a{9}){9}){9}){9}){9}",
        r"(?=((x{500}){500}))\1",
        &"(".repeat(10_000),
        &"(?=a".repeat(1_000),
    ] {
        let started = Instant::now();
        let error = refusal(&format!("# {expression} z"));
        assert!(
            ["it is too large", "too deep"]
                .iter()
                .any(|why| error.contains(why)),
            "{error}"
        );
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

/// Expressions with which a topic chosen for it takes years in a naive matcher.
#[test]
fn time_is_bounded() {
    let long = "a".repeat(LONGEST - 1) + "!";
    for (expression, fails) in [
        ("^(a+)+$", false),
        ("^(a|aa)+$", false),
        ("^(a|a)*b$", false),
        (r"^(a+)+\1b$", true),
        (r"^(?:(a+)+\1)+b$", true),
        ("^(?=(a+)+b)", false),
        (r"^(?:(a+)(?=.*\1))+b", true),
        (r"(?:.{1,60}(?<=a{1,60})){1,60}b", true),
        ("(?:a{0,30}a{0,30}){0,9}b", false),
        ("(.*)(.*)(.*)(.*)(.*)(.*)b", false),
        (r"(?:\w{0,300}|\w{0,200}\d)[^\w!]\w", false),
        (r"(a{0,200})(a{0,200})[^\w!]\w", false),
        (r"(.*)[^\w!]\w{300,600}", false),
        (r"(a*)*(?<!x)b", true),
        (r"(.*)(.*)(.*)(.*)(.*)\1\2x", true),
    ] {
        let rule = rule(&format!("# {expression} z"));
        let started = Instant::now();
        let result = rule.apply(&long);
        let took = started.elapsed();
        println!("{expression}: {took:?} {result:?}");
        let wanted = if fails {
            Err(Failure::TooMuchWork)
        } else {
            Ok(None)
        };
        assert_eq!(result, wanted, "{expression}");
        assert!(took < Duration::from_secs(10), "{expression}: {took:?}");
    }
}

#[test]
fn length_is_bounded() {
    let rule = rule(&format!("# (.+) {}", "$1/".repeat(100)));
    let topic = "a".repeat(LONGEST);
    assert_eq!(rule.apply(&topic), Err(Failure::ResultTooLong));
    let topic = topic + "a";
    assert_eq!(rule.apply(&topic), Err(Failure::TopicTooLong));
}

proptest! {
    #[test]
    fn a_destination_is_taken_apart_without_loss(text in "[a$0-9/é]{0,12}", groups in 0_usize..14) {
        let mut put_together = String::new();
        for piece in pieces(&text, groups) {
            match piece {
                Piece::Text(text) => put_together.push_str(&text),
                Piece::Group(group) => {
                    prop_assert!((1..=groups).contains(&group));
                    put_together.push_str(&format!("${group}"));
                }
            }
        }
        prop_assert_eq!(put_together, text);
    }

    #[test]
    fn no_rule_and_no_topic_make_it_panic(rule in any::<String>(), near in "[a-z$0-9()|?*+\\\\/#é\\[\\]{},:=!<>-]{0,24}", topic in any::<String>()) {
        for text in [rule, format!("# {near} x$1/$2"), format!("# (.)(.*) {near}")] {
            if let Ok(rule) = Rule::parse(&entry(&text)) {
                let _ = rule.apply(&topic);
            }
        }
    }
}

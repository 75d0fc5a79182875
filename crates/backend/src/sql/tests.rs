#![allow(clippy::unwrap_used)]
use super::*;
use emqttd_plugin_sdk::testing::client;

const DIALECT: Dialect = Dialect {
    head: "auth.x",
    server: "X server",
    port: 1,
    placeholder: Placeholder::Question,
    by_name: true,
    is_super: |cell| *cell == Cell::Integer(1),
};

fn text(text: &str) -> Cell {
    Cell::Text(text.as_bytes().to_vec())
}

fn rows(columns: &[&str]) -> Rows {
    Rows {
        columns: columns.iter().map(|name| (*name).into()).collect(),
        keep: 1,
        ..Rows::default()
    }
}

fn query(sql: &str, number: usize) -> Option<Arc<Query>> {
    let config = Config::of(&[
        ("auth.x.auth_query", sql),
        ("auth.x.super_query", sql),
        ("auth.x.acl_query", sql),
    ]);
    Query::read(&config, &DIALECT, number)
}

#[test]
fn which_column_is_what() {
    let secret = |columns: &[&str], by_name, wants_salt| {
        let cells: Vec<Cell> = columns.iter().map(|name| text(name)).collect();
        let secret = Secret::of(&rows(columns), &cells, by_name, wants_salt);
        let word = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.unwrap_or_default()).unwrap();
        (word(secret.stored), word(secret.salt))
    };
    let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
    for (columns, by_name, wants_salt, wanted) in [
        (&["password"][..], true, false, pair("password", "")),
        (&["password"], true, true, pair("password", "")),
        (&["password", "salt"], true, true, pair("password", "salt")),
        (&["salt", "password"], true, true, pair("password", "salt")),
        (&["Salt", "PASSWORD"], true, true, pair("PASSWORD", "Salt")),
        (&["hash", "pepper"], true, true, pair("hash", "pepper")),
        (&["hash", "pepper"], true, false, pair("hash", "")),
        (&["id", "password"], true, true, pair("password", "id")),
        (&["salt", "password"], false, true, pair("salt", "password")),
        (&["hash", "enabled"], false, false, pair("hash", "")),
        (&["salt"], true, true, pair("salt", "")),
        (&[], true, true, pair("", "")),
    ] {
        assert_eq!(secret(columns, by_name, wants_salt), wanted, "{columns:?}");
    }
}

#[test]
fn queries() {
    assert_eq!(query(" ", 0), None);
    assert_eq!(Query::read(&Config::default(), &DIALECT, 0), None);
    let query = query(
        "select a from t where u = '%u' and v = '%u' and c = '%c';",
        0,
    )
    .unwrap();
    assert_eq!(
        query.statement.text,
        "select a from t where u = ? and v = ? and c = ?"
    );
    let mut client = client("c");
    let asked = Asked::new(&query, &Question::login(&client, None));
    assert!(asked.shown().ends_with(", %u = NULL, %c = \"c\""));
    client.username = Some("x\r\ny'".into());
    let asked = Asked::new(&query, &Question::login(&client, None));
    assert!(asked.shown().ends_with(", %u = \"x\\r\\ny'\", %c = \"c\""));
    client.username = Some("ü".repeat(30_000).into());
    let shown = Asked::new(&query, &Question::login(&client, None)).shown();
    assert!(shown.len() < 500 && shown.contains("… (60000 bytes)"));
}

#[test]
fn rows_are_bounded() {
    let row = || vec![text(&"x".repeat(1000))];
    let mut one = Rows::new(&query("select 1", 0).unwrap());
    let mut all = Rows::new(&query("select 1", 2).unwrap());
    for _ in 0..10_000 {
        one.push(row());
        all.push(row());
    }
    assert_eq!((one.rows.len(), &*one.shown()), (1, "10000 rows"));
    assert!(one.size < MOST);
    assert!(all.size > MOST && all.rows.len() < 5000);
}

#[test]
fn rules_of_rows() {
    let cells = [
        Cell::Integer(1),
        Cell::Null,
        text("u"),
        text(""),
        Cell::Integer(3),
        text("a/#"),
    ];
    let wanted = Row {
        allow: Some("1".into()),
        ipaddr: None,
        username: Some("u".into()),
        clientid: Some(String::new()),
        access: Some("3".into()),
        topic: Some("a/#".into()),
    };
    assert_eq!(rule(&cells), wanted);
    let mut garbled = cells;
    garbled[2] = Cell::Text(vec![0xff]);
    assert_eq!(rule(&garbled), Row::default());
}

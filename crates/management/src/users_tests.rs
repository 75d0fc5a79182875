#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::Site;
use std::thread;

/// The same rules at less cost.
fn users(site: &Site) -> Users {
    Users::with_cost(&site.core.broker, Cost::LIGHT)
}

fn login(users: &Users, name: &str, password: &str) -> Option<Login> {
    match users.verify(name, password) {
        Verified::Login(login) => Some(login),
        Verified::Wrong => None,
        Verified::Unavailable(why) => panic!("{why}"),
    }
}

#[test]
fn added_seen_and_deleted() {
    let site = Site::new();
    let users = users(&site);
    users.add("bob", "secret", "viewer").unwrap();
    let bob = User {
        username: "bob".into(),
        tags: "viewer".into(),
        default_password: false,
    };
    assert_eq!(users.get("bob"), Some(bob.clone()));
    assert_eq!(users.list(), [bob]);
    assert_eq!(users.add("bob", "other", ""), Err(UserError::Exists));
    assert!(login(&users, "bob", "secret").is_some());
    assert!(login(&users, "bob", "other").is_none());
    assert!(login(&users, "Bob", "secret").is_none());
    assert!(login(&users, "bob", &"x".repeat(MAX_PASSWORD + 1)).is_none());
    users.remove("bob").unwrap();
    assert_eq!(users.remove("bob"), Err(UserError::NotFound));
    assert_eq!(users.get("bob"), None);
    assert!(login(&users, "bob", "secret").is_none());
}

#[test]
fn what_is_no_user() {
    let site = Site::new();
    let users = users(&site);
    for name in ["", "a:b", "a\nb", "a\u{7f}b", &"ä".repeat(MAX_NAME + 1)] {
        let answer = users.add(name, "p", "");
        assert!(matches!(answer, Err(UserError::BadName(_))), "{name:?}");
    }
    for password in ["", &"ä".repeat(MAX_PASSWORD / 2 + 1)] {
        let answer = users.add("a", password, "");
        assert!(
            matches!(answer, Err(UserError::BadPassword(_))),
            "{password}"
        );
    }
    for tags in ["a\nb", &"x".repeat(MAX_TAGS + 1)] {
        let answer = users.add("a", "p", tags);
        assert!(matches!(answer, Err(UserError::BadTags(_))), "{tags}");
    }
    assert_eq!(users.list(), []);
    // Just within the bounds.
    let name = "ä".repeat(MAX_NAME);
    users.add(&name, &"p".repeat(MAX_PASSWORD), "").unwrap();
    assert!(login(&users, &name, &"p".repeat(MAX_PASSWORD)).is_some());
}

#[test]
fn every_change_makes_void_what_was_given_out() {
    let site = Site::new();
    let users = users(&site);
    users.add("bob", "one", "").unwrap();
    let mut before = users.generation("bob").unwrap();
    assert_eq!(login(&users, "bob", "one").unwrap().generation, before);
    let mut rises = |what: &str| {
        let now = users.generation("bob").unwrap();
        assert!(now > before, "{what}: {now} after {before}");
        before = now;
    };
    users.set_tags("bob", "viewer").unwrap();
    rises("tags");
    users.set_password("bob", "two").unwrap();
    rises("password");
    users.change_password("bob", "two", "three").unwrap();
    rises("own password");
    users.remove("bob").unwrap();
    assert_eq!(users.generation("bob"), None);
    users.add("bob", "three", "").unwrap();
    rises("deleted and added again");
    assert_eq!(users.get("bob").unwrap().tags, "");
    let unknown = Err(UserError::NotFound);
    assert_eq!(users.set_tags("eve", "x"), unknown);
    assert_eq!(users.set_password("eve", "x"), unknown);
    assert_eq!(users.change_password("eve", "x", "y"), unknown);
    assert_eq!(users.generation("eve"), None);
}

#[test]
fn who_changes_his_password_knows_the_old_one() {
    let site = Site::new();
    let users = users(&site);
    users.add("bob", "one", "viewer").unwrap();
    let wrong = users.change_password("bob", "two", "three");
    assert_eq!(wrong, Err(UserError::WrongPassword));
    let empty = users.change_password("bob", "one", "");
    assert!(matches!(empty, Err(UserError::BadPassword(_))));
    assert!(login(&users, "bob", "one").is_some());
    users.change_password("bob", "one", "three").unwrap();
    assert!(login(&users, "bob", "one").is_none());
    assert!(login(&users, "bob", "three").is_some());
    assert_eq!(users.get("bob").unwrap().tags, "viewer");
}

#[test]
fn admin_is_not_deleted_from_afar() {
    let site = Site::new();
    let users = users(&site);
    users.add("admin", "p", "").unwrap();
    users.add("bob", "p", "").unwrap();
    assert_eq!(users.remove_remotely("admin"), Err(UserError::Protected));
    users.remove_remotely("bob").unwrap();
    users.remove("admin").unwrap();
    assert_eq!(users.list(), []);
    assert_eq!(users.remove_remotely("admin"), Err(UserError::Protected));
}

#[test]
fn the_first_user_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::stored(dir);
    let all = users(&site);
    all.make_default("admin", "public").unwrap();
    let admin = all.get("admin").unwrap();
    assert_eq!(admin.tags, "administrator");
    assert!(admin.default_password);
    // Another password in the file means nothing to a user that is there.
    all.make_default("admin", "other").unwrap();
    assert!(login(&all, "admin", "public").is_some());
    all.remove("admin").unwrap();
    all.make_default("admin", "public").unwrap();
    assert_eq!(all.list(), []);
    drop(all);
    let site = Site::stored(site.end());
    let all = users(&site);
    all.make_default("admin", "public").unwrap();
    assert_eq!(all.list(), []);
    // By hand it comes back, and another name is another user.
    all.add("admin", "new", "").unwrap();
    all.make_default("root", "public").unwrap();
    assert_eq!(all.list().len(), 2);
    let bad = all.make_default("a:b", "public");
    assert!(matches!(bad, Err(UserError::BadName(_))));
}

#[test]
fn users_keys_and_secrets_outlast_the_broker() {
    let site = Site::stored(tempfile::tempdir().unwrap());
    let all = users(&site);
    all.add("bob", "secret", "viewer").unwrap();
    all.add("eve", "secret", "").unwrap();
    all.remove("eve").unwrap();
    let before = all.generation("bob");
    let new = crate::NewKey {
        name: "ci".into(),
        scopes: [crate::Scope::Publish].into(),
        expires_at: None,
    };
    let (key, secret) = site.core.api_keys().create(new, "bob").unwrap();
    let ours = site.core.secret("tokens").unwrap();
    assert_eq!(site.core.secret("tokens"), Ok(ours));
    assert_ne!(site.core.secret("other"), Ok(ours));
    drop(all);
    let site = Site::stored(site.end());
    let all = users(&site);
    assert_eq!(all.list().len(), 1);
    assert_eq!(all.get("bob").unwrap().tags, "viewer");
    assert_eq!(all.generation("bob"), before);
    assert!(login(&all, "bob", "secret").is_some());
    assert_eq!(site.core.api_keys().list(), std::slice::from_ref(&key));
    assert!(site.core.api_keys().verify(&key.id, &secret).is_some());
    assert_eq!(site.core.secret("tokens"), Ok(ours));
}

#[test]
fn users_are_in_a_backup() {
    let site = Site::stored(tempfile::tempdir().unwrap());
    let all = users(&site);
    all.add("bob", "secret", "viewer").unwrap();
    let backup = tempfile::tempdir().unwrap();
    let broker = &site.core.broker;
    let (store, settings) = (broker.store().unwrap(), broker.settings());
    let nobody = crate::Watcher::default();
    crate::backup::take(&store, &settings, backup.path(), nobody).unwrap();
    let new = tempfile::tempdir().unwrap();
    let from = backup.path().join(crate::backup::STORE);
    emqttd_store::backup::restore(&from, &new.path().join("store"), &mut |_, _| {}).unwrap();
    let site = Site::stored(new);
    assert!(login(&users(&site), "bob", "secret").is_some());
}

#[test]
fn what_is_not_on_disk_does_not_count() {
    let small =
        "persistence.sync = 1s\npersistence.segment_bytes = 1MB\npersistence.max_bytes = 8MB\n";
    let site = Site::stored_with(tempfile::tempdir().unwrap(), small);
    let users = users(&site);
    users.add("bob", "one", "viewer").unwrap();
    let before = users.generation("bob");
    let filling = site.core.broker.table("filling");
    let mut rows = 0_u32;
    while filling.put(&rows.to_be_bytes(), &[0; 64 << 10]).is_ok() {
        rows += 1;
        assert!(rows < 1000);
    }
    for answer in [
        users.add("eve", "p", ""),
        users.set_password("bob", "two"),
        users.set_tags("bob", "x"),
    ] {
        assert!(matches!(answer, Err(UserError::Store(_))), "{answer:?}");
    }
    assert_eq!(users.list().len(), 1);
    assert_eq!(users.generation("bob"), before);
    assert!(login(&users, "bob", "one").is_some());
    // That makes room.
    users.remove("bob").unwrap();
    assert_eq!(users.list(), []);
}

#[test]
fn the_alarm_holds_while_somebody_has_the_default_password() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::stored(dir);
    let all = users(&site);
    assert_eq!(site.alarm(ALARM), None);
    all.make_default("admin", "public").unwrap();
    let alarm = site.alarm(ALARM).unwrap();
    assert_eq!(alarm.severity, Severity::Warning);
    all.add("bob", "public", "").unwrap();
    all.set_password("admin", "better").unwrap();
    assert!(site.alarm(ALARM).is_some(), "bob has it, too");
    assert!(login(&all, "bob", "public").unwrap().default_password);
    assert!(!login(&all, "admin", "better").unwrap().default_password);
    drop(all);
    // Nobody has to hash anything to know it again.
    let site = Site::stored(site.end());
    let all = users(&site);
    all.make_default("admin", "public").unwrap();
    assert!(site.alarm(ALARM).is_some());
    all.remove("bob").unwrap();
    assert_eq!(site.alarm(ALARM), None);
    all.set_password("admin", "public").unwrap();
    all.change_password("admin", "public", "best").unwrap();
    assert_eq!(site.alarm(ALARM), None);
}

#[test]
fn of_two_who_change_one_password_the_second_does_not_know_the_old_one() {
    let site = Site::new();
    let users = users(&site);
    for round in 0..10 {
        users.add("bob", "old", "").unwrap();
        let done: Vec<_> = thread::scope(|scope| {
            let users = &users;
            let change = |new| scope.spawn(move || users.change_password("bob", "old", new));
            let both = [change("a"), change("b")];
            both.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let well = done.iter().filter(|done| done.is_ok()).count();
        assert_eq!(well, 1, "round {round}: {done:?}");
        users.remove("bob").unwrap();
    }
}

#[test]
fn there_are_only_so_many() {
    let site = Site::new();
    let users = Users::with_cost(&site.core.broker, Cost::LIGHT);
    users.add("one", "secret", "").unwrap();
    let record = users.record("one").unwrap().unwrap();
    let held = users.records.changing();
    for n in 1..MOST {
        let name = format!("user{n}");
        users.records.put(&held, &name, record.clone()).unwrap();
    }
    drop(held);
    assert_eq!(users.add("more", "secret", ""), Err(UserError::TooMany));
    users.remove("user1").unwrap();
    users.add("more", "secret", "").unwrap();
}

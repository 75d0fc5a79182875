//! The verb `luahook`, the files it is about, and the start.

use std::fs;

use emqttd_tests::{Broker, End, Version};

use super::{
    PLUGIN, broker, config, echo, eventually, logs, luahook, on_publish, status, succeed,
    write_script,
};

fn append(word: &str) -> String {
    on_publish(&format!("return topic, payload .. \"{word}\", qos, retain"))
}

/// What comes of the payload `p`.
#[track_caller]
fn payload(broker: &Broker) -> String {
    let mut client = broker.client(Version::V311, "command");
    client.sub("t", 1);
    let got = echo(&mut client, "t", "p");
    client.disconnect();
    got["t ".len()..].to_owned()
}

fn exists(broker: &Broker, file: &str) -> bool {
    broker.root.join("hook_lua").join(file).exists()
}

#[test]
fn usage() {
    let broker = broker(&[], "");
    let usage = luahook(&broker, &[]);
    for (verb, what) in [
        ("load", "load lua script into hook"),
        ("unload", "unload lua script from hook"),
        ("reload", "reload lua script into hook"),
        ("enable", "enable lua script and load it into hook"),
        ("disable", "unload lua script out of hook and disable it"),
    ] {
        let words = format!("luahook {verb} <Script>");
        let line = format!("{words:<48}# {what}\n");
        assert!(usage.contains(&line), "{line} is not in\n{usage}");
    }
    for words in [
        &["load"][..],
        &["load", "a", "b"],
        &["nope"],
        &["nope", "a"],
    ] {
        let said = luahook(&broker, words);
        assert!(said.starts_with(&usage), "{words:?}: {said}");
    }
}

/// Sheet 13, check 6: an edited file counts when it is loaded again.
#[test]
fn an_edited_script_counts_from_its_reload_on() {
    let broker = broker(&[("edit", &append("+1"))], "");
    assert_eq!(payload(&broker), "p+1");
    write_script(&broker, "edit", &append("+2"));
    assert_eq!(payload(&broker), "p+1");
    succeed(&broker, "reload", "edit");
    assert_eq!(payload(&broker), "p+2");
    write_script(&broker, "edit", &append("+3"));
    succeed(&broker, "load", "edit");
    assert_eq!(payload(&broker), "p+3");
    succeed(&broker, "unload", "edit");
    assert_eq!(payload(&broker), "p");
    // Unloading says the same of one that is not there.
    succeed(&broker, "unload", "edit");
    succeed(&broker, "reload", "edit");
    assert_eq!(payload(&broker), "p+3");
}

/// `emq_reloader` watches the files of scripts that are loaded.
#[test]
fn an_edited_script_is_reloaded_by_the_reloader() {
    let config = config(&[("edit", &append("+1"))], "")
        .loaded(&["emq_retainer", PLUGIN, "emq_reloader"])
        .file("etc/plugins/emq_reloader.conf", "reloader.interval = 1s\n");
    let broker = Broker::start(config);
    assert_eq!(payload(&broker), "p+1");
    write_script(&broker, "edit", &append("+longer"));
    eventually("the new text counts", || payload(&broker) == "p+longer");
    write_script(&broker, "edit", "function (");
    let (_, said) = broker.ctl(&["reload", "edit.lua"]);
    assert!(said.contains("edit.lua:1:"), "{said}");
    assert_eq!(payload(&broker), "p+longer");
    write_script(&broker, "edit", &append("+2"));
    let (_, said) = broker.ctl(&["reload", "edit.lua"]);
    assert_eq!(said, "Reload module edit.lua successfully.\n");
    assert_eq!(payload(&broker), "p+2");
    succeed(&broker, "unload", "edit");
    let (_, said) = broker.ctl(&["reload", "edit.lua"]);
    assert!(said.contains("it is not loaded"), "{said}");
    assert_eq!(payload(&broker), "p");
}

/// What is wrong with the new text leaves the old one at work; the log has file and line.
#[test]
fn a_broken_edit_leaves_the_old_script_at_work() {
    let broker = broker(&[("edit", &append("+1"))], "");
    for (n, text) in [
        "function on_message_publish(\n",
        "local x = nil\nreturn x.y\n",
        "while true do end\n",
        "local t = {} for i = 1, 1e9 do t[i] = i end\n",
        "error({})\n",
        "\u{1b}Lua binary\n",
        "",
    ]
    .into_iter()
    .enumerate()
    {
        if text.is_empty() {
            fs::remove_file(broker.root.join("hook_lua/edit.lua")).unwrap();
        } else {
            write_script(&broker, "edit", text);
        }
        for verb in ["reload", "load"] {
            let said = luahook(&broker, &[verb, "edit"]);
            assert_eq!(
                said.lines().next(),
                Some(&*format!("fail to {verb} \"edit\"")),
                "{n}"
            );
            assert_eq!(payload(&broker), "p+1", "{n} {verb}");
        }
    }
    logs(&broker, &["edit.lua:2:"]);
}

/// Disabled scripts have another name, also at the next start.
#[test]
fn disabled_scripts_stay_out() {
    let mut broker = broker(&[("one", &append("+1")), ("two", &append("+2"))], "");
    succeed(&broker, "disable", "one");
    assert_eq!(payload(&broker), "p+2");
    assert!(exists(&broker, "one.lua.x") && !exists(&broker, "one.lua"));
    assert_eq!(luahook(&broker, &["load", "one"]), "fail to load \"one\"\n");
    assert_eq!(
        luahook(&broker, &["disable", "one"]),
        "fail to disable \"one\" due to enoent\n"
    );
    broker.restart(End::Stop);
    assert_eq!(payload(&broker), "p+2");
    succeed(&broker, "enable", "one");
    assert!(exists(&broker, "one.lua") && !exists(&broker, "one.lua.x"));
    let got = payload(&broker);
    assert!(["p+1+2", "p+2+1"].contains(&got.as_str()), "{got}");
    let said = luahook(&broker, &["enable", "one"]);
    assert!(
        said.starts_with("fail to enable \"one\" due to enoent\n"),
        "{said}"
    );
    succeed(&broker, "disable", "two");
    broker.restart(End::Stop);
    assert_eq!(payload(&broker), "p+1");
}

/// One that cannot be loaded is enabled on the disk, and said not to be.
#[test]
fn enabling_a_broken_script() {
    let broker = broker(&[("one", &append("+1"))], "");
    succeed(&broker, "disable", "one");
    fs::write(broker.root.join("hook_lua/one.lua.x"), "function (").unwrap();
    let said = luahook(&broker, &["enable", "one"]);
    assert_eq!(
        said.lines().next(),
        Some("fail to enable \"one\""),
        "{said}"
    );
    assert_eq!(payload(&broker), "p");
}

/// The manual of EMQ wrote them with it.
#[test]
fn names_may_have_their_ending() {
    let broker = broker(&[("one", &append("+1"))], "");
    for verb in ["unload", "load", "reload", "disable", "enable"] {
        let said = luahook(&broker, &[verb, "one.lua"]);
        assert!(
            said.starts_with(&format!("success to {verb} \"one")),
            "{said}"
        );
    }
    assert_eq!(payload(&broker), "p+1");
    assert!(exists(&broker, "one.lua") && !exists(&broker, "one.lua.lua"));
}

/// No verb leaves the directory of scripts, or stumbles over a name.
#[test]
fn names_that_are_none() {
    let broker = broker(&[("one", &append("+1"))], "");
    let outside = broker.root.join("outside.lua");
    fs::write(&outside, append("+outside")).unwrap();
    fs::create_dir(broker.root.join("hook_lua/dir.lua")).unwrap();
    let long = "x".repeat(5000);
    for name in [
        "../outside",
        "..",
        ".",
        "",
        "a/b",
        "/etc/passwd",
        "dir",
        &long,
        "one\n",
        "\u{e9}",
        "*",
    ] {
        // A directory may be renamed.
        let verbs = match name {
            "dir" => &["load", "reload"][..],
            _ => &["load", "reload", "enable", "disable"],
        };
        for verb in verbs {
            let said = luahook(&broker, &[verb, name]);
            assert!(!said.contains("success"), "{verb} {name:?}: {said}");
        }
        luahook(&broker, &["unload", name]);
    }
    assert!(outside.exists() && exists(&broker, "one.lua"));
    assert_eq!(payload(&broker), "p+1");
}

/// One that is broken is skipped at the start, and the log says why.
#[test]
fn broken_scripts_are_skipped_at_the_start() {
    let broker = broker(
        &[
            ("a_syntax", "x = = 1\n"),
            ("b_error", "\nlocal t = nil\nt.x = 1\n"),
            ("c_loop", "while true do end\n"),
            (
                "d_memory",
                "local t = {} while true do t[#t + 1] = ('x'):rep(1000) end\n",
            ),
            ("e_deep", "local function f() return 1 + f() end f()\n"),
            ("f_good", &append("+good")),
            ("g_register", "function register_hook() error('no') end\n"),
            ("h_number", "function register_hook() return 42 end\n"),
            (
                "i_missing",
                "function register_hook() return 'on_message_publish' end\n",
            ),
            ("j_good", &append("+too")),
        ],
        "lua.max_instructions = 200000\n",
    );
    let got = payload(&broker);
    assert!(
        ["p+good+too", "p+too+good"].contains(&got.as_str()),
        "{got}"
    );
    assert!(broker.is_active(PLUGIN));
    for word in [
        "a_syntax.lua:1:",
        "b_error.lua:3:",
        "c_loop",
        "d_memory",
        "e_deep",
        "g_register.lua:1:",
    ] {
        logs(&broker, &[word]);
    }
}

/// Files that are no scripts are none, whatever they are.
#[test]
fn what_is_loaded_at_the_start() {
    let config = config(&[("one", &append("+1"))], "")
        .file("hook_lua/two.lua.x", &append("+2"))
        .file("hook_lua/three.txt", &append("+3"))
        .file("hook_lua/four.lua~", &append("+4"))
        .file("hook_lua/sub/five.lua", &append("+5"))
        .file("hook_lua/six.lua/seven.lua", &append("+6"))
        .file("hook_lua/.lua", &append("+7"));
    let broker = Broker::start(config);
    assert_eq!(payload(&broker), "p+1");
}

#[test]
fn another_directory() {
    let config = config(&[("one", &append("+1"))], "lua.dir = etc/scripts\n")
        .file("etc/scripts/two.lua", &append("+2"));
    let broker = Broker::start(config);
    assert_eq!(payload(&broker), "p+2");
    assert_eq!(luahook(&broker, &["load", "one"]), "fail to load \"one\"\n");
}

/// Without the directory the plugin has no scripts; with it, later, it has.
#[test]
fn no_directory() {
    let config = config(&[], "lua.dir = later\n");
    let broker = Broker::start(config);
    assert!(broker.is_active(PLUGIN));
    assert_eq!(luahook(&broker, &["load", "one"]), "fail to load \"one\"\n");
    fs::create_dir(broker.root.join("later")).unwrap();
    fs::write(broker.root.join("later/one.lua"), append("+1")).unwrap();
    succeed(&broker, "load", "one");
    assert_eq!(payload(&broker), "p+1");
}

/// An unknown name is said aloud, which EMQ did not; the others count.
#[test]
fn unknown_hooks() {
    let script = append("+1").replace(
        "return \"on_message_publish\"",
        "return \"on_mesage_publish\", \"on_message_publish\", \"on_session_created\"",
    );
    let broker = broker(&[("typo", &script)], "");
    assert_eq!(payload(&broker), "p+1");
    logs(&broker, &["typo", "on_mesage_publish"]);
    assert_eq!(
        status(&broker, "typo", "no such hook"),
        "on_mesage_publish, on_session_created"
    );
    let said = luahook(&broker, &["reload", "typo"]);
    assert!(said.starts_with("success to reload \"typo\"\n"), "{said}");
    assert!(said.contains("on_mesage_publish"), "{said}");
}

/// Calls, errors with file and line, and who is there.
#[test]
fn status_and_list() {
    let failing = on_publish(
        "if payload == \"bad\" then\nlocal x = nil\nreturn x.y end\nreturn topic, payload, qos, retain",
    );
    let broker = broker(
        &[
            ("fine", &append("")),
            ("failing", &failing),
            ("broken", "x = = 1"),
        ],
        "",
    );
    let mut client = broker.client(Version::V311, "status");
    for payload in ["good", "bad", "bad", "good", "good"] {
        client.pub_("t", 1, payload);
    }
    assert_eq!(status(&broker, "failing", "state"), "loaded");
    assert_eq!(status(&broker, "failing", "hooks"), "on_message_publish");
    assert_eq!(status(&broker, "failing", "calls"), "5");
    assert_eq!(status(&broker, "failing", "errors"), "2");
    assert_eq!(status(&broker, "failing", "cut off"), "0");
    let error = status(&broker, "failing", "last error");
    assert!(error.contains("failing.lua:4:"), "{error}");
    assert_eq!(status(&broker, "fine", "calls"), "5");
    assert_eq!(status(&broker, "fine", "errors"), "0");
    assert_eq!(status(&broker, "broken", "state"), "broken");
    let error = status(&broker, "broken", "load error");
    assert!(error.contains("broken.lua:1:"), "{error}");
    let all = luahook(&broker, &["status"]);
    for name in ["fine", "failing", "broken"] {
        assert!(all.contains(name), "{all}");
    }
    // Another name with the ending.
    assert_eq!(status(&broker, "fine.lua", "calls"), "5");
    succeed(&broker, "unload", "fine");
    fs::rename(
        broker.root.join("hook_lua/broken.lua"),
        broker.root.join("hook_lua/broken.lua.x"),
    )
    .unwrap();
    luahook(&broker, &["load", "broken"]);
    let list = luahook(&broker, &["list"]);
    let rows: Vec<String> = list
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        rows,
        ["broken disabled", "failing loaded", "fine not loaded"]
    );
    let text = luahook(&broker, &["status", "nobody"]);
    assert!(text.contains("nobody") && !text.contains("calls"), "{text}");
}

/// The plugin comes and goes, its scripts and its verb with it.
#[test]
fn the_plugin_is_unloaded_and_loaded() {
    let broker = broker(&[("one", &append("+1"))], "");
    for _ in 0..3 {
        assert_eq!(payload(&broker), "p+1");
        broker.unload(PLUGIN);
        assert_eq!(payload(&broker), "p");
        let (code, text) = broker.ctl(&["luahook", "list"]);
        assert!(code != 0 || !text.contains("one"), "{text}");
        broker.load(PLUGIN);
    }
    // What an unload of a script has changed is not kept: the files say what is loaded.
    succeed(&broker, "unload", "one");
    broker.unload(PLUGIN);
    broker.load(PLUGIN);
    eventually("it is there again", || payload(&broker) == "p+1");
}

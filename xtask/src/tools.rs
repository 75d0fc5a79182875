//! What the tests need beside Rust and a C compiler: looked for, and installed on Debian.

use crate::shell::{at, has, run, target, works};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program, the Debian package that brings it, and what it is for.
const PROGRAMS: &[(&str, &[&str], &str)] = &[
    (
        "mosquitto_pub",
        &["mosquitto-clients"],
        "tests with the clients of mosquitto",
    ),
    ("valgrind", &["valgrind"], "instruction counts"),
    (
        "python3",
        &["python3", "python3-venv"],
        "the recorded exchanges, tests with paho-mqtt",
    ),
    (
        "npm",
        &["nodejs", "npm"],
        "the dashboard, tests with mqtt.js",
    ),
    ("c++", &["g++"], "fuzzing"),
    (
        "mariadbd",
        &["mariadb-server"],
        "tests of logins against MySQL",
    ),
    (
        "postgres",
        &["postgresql"],
        "tests of logins against PostgreSQL",
    ),
    (
        "redis-server",
        &["redis-server", "redis-tools"],
        "tests of logins against Redis",
    ),
    ("slapd", &["slapd"], "tests of logins against LDAP"),
    ("ldapadd", &["ldap-utils"], "tests of logins against LDAP"),
    (
        "coap-client-openssl",
        &["libcoap3-bin"],
        "tests of CoAP with libcoap's client",
    ),
    (
        "chromium",
        // The font is for pictures of its pages in Chinese.
        &["chromium", "fonts-wqy-zenhei"],
        "tests of the dashboard and of SockJS in a browser",
    ),
];

/// Installs packages as root. Those that are servers are wanted as programs only: none of them is started, now
/// or with the machine, and PostgreSQL makes no databases of its own.
const INSTALL: &str = r#"
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT INT TERM
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
fi
clusters=/etc/postgresql-common/createcluster.conf
if [ ! -e $clusters ]; then
    mkdir -p ${clusters%/*}
    echo 'create_main_cluster = false' >$clusters
fi
before=$(ls /etc/init.d)
apt-get update -q
apt-get -o DPkg::Lock::Timeout=300 install -q -y --no-install-recommends "$@"
status=$?
for service in mariadb postgresql redis-server slapd; do
    if [ -e /etc/init.d/$service ] && ! echo "$before" | grep -qx $service; then
        update-rc.d $service disable
    fi
done
exit $status
"#;

/// The versions that the tests run with.
const SECANTUS: &[&str] = &["secantusdb==0.7.0b3", "pymongo==4.20.0"];
const PAHO: &str = "paho-mqtt==2.1.0";
/// Clients of the gateways.
const GATEWAYS: &[&str] = &["stomp.py==9.0.0", "aiocoap==0.4.17", "mqtt-sn-12==1.0.9"];
/// Asks the HTTP API everything that its description allows, and what it does not.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
const DTLS_SOCKET: &str = "DTLSSocket==0.2.3";
/// Packages of npm and their versions. `ws` is the WebSocket of Node for stompjs.
const NODE: &[(&str, &str)] = &[
    ("mqtt", "5"),
    ("@stomp/stompjs", "7.5.0"),
    ("sockjs-client", "1.6.1"),
    ("ws", "8.23.0"),
    ("playwright-core", "1.58.0"),
    ("axe-core", "4.14.1"),
];

/// Where the tests find the interpreter that has paho-mqtt.
pub fn python() -> PathBuf {
    target().join("tools/venv/bin/python")
}

/// Where the tests find the interpreter that has what stands in for MongoDB.
pub fn mongo_python() -> PathBuf {
    target().join("tools/mongo/bin/python")
}

/// Where the tests find the interpreter that has clients of the gateways: stomp.py, aiocoap, mqtt-sn-12.
pub fn gateways_python() -> PathBuf {
    target().join("tools/gateways/bin/python")
}

/// Where the tests find the interpreter that has schemathesis.
pub fn rest_python() -> PathBuf {
    target().join("tools/rest/bin/python")
}

/// Where the tests find `node_modules` with mqtt.js, the clients of the gateways and what drives a browser.
pub fn node_dir() -> PathBuf {
    target().join("tools/node")
}

/// Installs what is missing and can be installed; returns what still is missing, a sentence each.
pub fn ensure() -> Vec<String> {
    let mut wanted: Vec<&str> = Vec::new();
    for (program, packages, _) in PROGRAMS {
        if !is_there(program) {
            wanted.extend(*packages);
        }
    }
    if has("python3") && !works("python3", &["-c", "import venv, ensurepip"]) {
        wanted.push("python3-venv");
    }
    if !wanted.is_empty()
        && let Err(e) = install(&wanted)
    {
        println!("xtask: {e}");
    }
    let mut missing = Vec::new();
    for (program, packages, what) in PROGRAMS {
        if !is_there(program) {
            missing.push(format!("{program} ({}) for {what}", packages.join(", ")));
        }
    }
    if let Err(e) = paho() {
        missing.push(format!("paho-mqtt: {e}"));
    }
    if let Err(e) = secantusdb() {
        missing.push(format!(
            "secantusdb for tests of logins against MongoDB: {e}"
        ));
    }
    if let Err(e) = gateways() {
        missing.push(format!("clients of the gateways: {e}"));
    } else {
        dtls_socket();
    }
    if let Err(e) = venv(&rest_python(), "import schemathesis", &[SCHEMATHESIS]) {
        missing.push(format!("schemathesis: {e}"));
    }
    if let Err(e) = node() {
        missing.push(format!("clients for Node: {e}"));
    }
    missing
}

fn install(packages: &[&str]) -> Result<(), String> {
    if !has("apt-get") {
        return Err(format!("please install: {}", packages.join(", ")));
    }
    let root = works("sh", &["-c", "[ \"$(id -u)\" = 0 ]"]);
    if !root && !works("sudo", &["-n", "true"]) {
        return Err(format!(
            "please run: sudo apt-get install {}",
            packages.join(" ")
        ));
    }
    let mut command = Command::new(if root { "sh" } else { "sudo" });
    if !root {
        command.args(["-n", "DEBIAN_FRONTEND=noninteractive", "sh"]);
    }
    command.env("DEBIAN_FRONTEND", "noninteractive");
    println!("xtask: installing {}", packages.join(", "));
    let command = command.args(["-c", INSTALL, "install"]).args(packages);
    let status = at(Path::new("sh"), command.stdin(Stdio::null()).status())?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("apt-get install {}: {status}", packages.join(" ")))
    }
}

/// Whether a program is in the path, or where Debian puts servers.
fn is_there(program: &str) -> bool {
    let mut places: Vec<PathBuf> = vec!["/usr/sbin".into(), "/usr/local/sbin".into()];
    // A directory for each release, with the programs below.
    for release in fs::read_dir("/usr/lib/postgresql").into_iter().flatten() {
        places.extend(release.ok().map(|entry| entry.path().join("bin")));
    }
    has(program) || places.iter().any(|dir| dir.join(program).is_file())
}

fn paho() -> Result<(), String> {
    venv(&python(), "import paho.mqtt", &[PAHO])
}

fn secantusdb() -> Result<(), String> {
    venv(&mongo_python(), "import secantus, pymongo", SECANTUS)
}

/// Makes the virtual environment that has `python`, with these packages, unless `check` works there.
fn venv(python: &Path, check: &str, packages: &[&str]) -> Result<(), String> {
    if python.is_file() && works(&python.to_string_lossy(), &["-c", check]) {
        return Ok(());
    }
    let venv = python.ancestors().nth(2).unwrap_or(python);
    run(Command::new("python3").args(["-m", "venv"]).arg(venv))?;
    run(Command::new(python)
        .args(["-m", "pip", "install", "-q"])
        .args(packages))
}

fn gateways() -> Result<(), String> {
    let check = "import stomp, aiocoap, mqttsn12";
    venv(&gateways_python(), check, GATEWAYS)
}

/// What gives aiocoap DTLS, if it can be had: it is built on the spot, with tools that not every machine has. The test
/// that wants it says so when it is left out; libcoap's client is there for DTLS in any case.
fn dtls_socket() {
    const IMPORT: [&str; 2] = ["-c", "import DTLSSocket"];
    let python = gateways_python();
    let has_it = || works(&python.to_string_lossy(), &IMPORT);
    if has_it() {
        return;
    }
    let tools = ["autoconf", "automake", "make", "python3-dev"];
    if (!has("autoconf") || !has("automake") || !has("make") || !has("python3-config"))
        && let Err(e) = install(&tools)
    {
        println!("xtask: {e}");
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "-q", DTLS_SOCKET]);
    if let Err(e) = run(&mut pip) {
        println!("xtask: DTLS of aiocoap is not tested: {e}");
    }
}

fn node() -> Result<(), String> {
    let dir = node_dir();
    let there = |name: &str| {
        let package = dir.join("node_modules").join(name).join("package.json");
        package.is_file()
    };
    if NODE.iter().all(|(name, _)| there(name)) {
        return Ok(());
    }
    at(&dir, fs::create_dir_all(&dir))?;
    let npm = ["install", "--silent", "--no-fund", "--no-audit", "--prefix"];
    let packages = NODE
        .iter()
        .map(|(name, version)| format!("{name}@{version}"));
    run(Command::new("npm").args(npm).arg(&dir).args(packages))
}

//! `cargo xtask dist`: a release tree as EMQ 2.x laid it out.

use crate::shell::{at, binaries, build, option, root};
use crate::ui;
use std::fs;
use std::path::{Path, PathBuf};

/// The plugins that EMQ 2.3 started from a fresh tree.
const LOADED_PLUGINS: &str = "emq_recon.\nemq_modules.\nemq_retainer.\nemq_dashboard.\n";

/// `--out DIR [--profile NAME]`
pub fn run(args: &[String]) -> Result<(), String> {
    let out = option(args, "--out").ok_or("dist: --out DIR is missing")?;
    let profile = option(args, "--profile").unwrap_or("release");
    let out = PathBuf::from(out);
    must_be_free(&out)?;
    ui::ensure()?;
    build(profile)?;
    make(&out, profile)?;
    println!("{} is ready: bin/emqttd start", out.display());
    Ok(())
}

/// Nobody's configuration is overwritten.
fn must_be_free(out: &Path) -> Result<(), String> {
    if fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(format!("{} is there and not empty", out.display()));
    }
    Ok(())
}

/// Lays the tree out in `out`, which must be empty or absent.
pub fn make(out: &Path, profile: &str) -> Result<(), String> {
    must_be_free(out)?;
    for dir in ["bin", "data", "log"] {
        at(out, fs::create_dir_all(out.join(dir)))?;
    }
    for program in ["emqttd", "emqttd_ctl"] {
        let from = binaries(profile).join(program);
        at(&from, fs::copy(&from, out.join("bin").join(program)))?;
    }
    copy_tree(&root().join("etc"), &out.join("etc"))?;
    scripts(out)?;
    loaded_plugins(&out.join("data"))?;
    copy_tree(&root().join("docs"), &out.join("docs"))?;
    for file in ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        let from = root().join(file);
        at(&from, fs::copy(&from, out.join(file)))?;
    }
    Ok(())
}

/// The list of plugins that start with the broker, in its directory of data.
pub fn loaded_plugins(data: &Path) -> Result<(), String> {
    let list = data.join("loaded_plugins");
    at(&list, fs::write(&list, LOADED_PLUGINS))
}

/// The directory of Lua scripts, as it is shipped.
pub fn scripts(out: &Path) -> Result<(), String> {
    let shipped = root().join("plugins/emq_lua_hook/hook_lua");
    copy_tree(&shipped, &out.join("hook_lua"))
}

/// Everything but keys: each node makes its own.
fn copy_tree(from: &Path, to: &Path) -> Result<(), String> {
    at(to, fs::create_dir_all(to))?;
    for entry in at(from, fs::read_dir(from))? {
        let path = at(from, entry)?.path();
        let Some(name) = path.file_name() else {
            continue;
        };
        if path.is_dir() {
            copy_tree(&path, &to.join(name))?;
        } else if path.extension().is_none_or(|x| x != "pem") {
            at(&path, fs::copy(&path, to.join(name)))?;
        }
    }
    Ok(())
}

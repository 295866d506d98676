//! Writes the man pages and completion scripts, from the same definitions as the program's command line.
//!
//! They go to OUT_DIR, and for packages to a place that does not change: `assets/man` and `assets/completions` in the
//! target directory (beside `debug` and `release`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::CommandFactory;
use clap_complete::env::Shells;

#[allow(dead_code, unused_imports, reason = "the program uses the values; here only the definitions count")]
#[path = "src/cli/arguments/mod.rs"]
mod arguments;

#[allow(dead_code, unreachable_pub, reason = "a part of the library")]
#[path = "src/config/address.rs"]
mod address;

#[allow(dead_code, unreachable_pub, reason = "a part of the library")]
#[path = "src/config/scope.rs"]
mod scope;

#[allow(dead_code, unreachable_pub, reason = "a part of the library")]
#[path = "src/config/unitless.rs"]
mod unitless;

/// In place of `lb::sys::interface`: nothing is parsed here.
mod interface {
    pub(crate) fn index_of(_: &str) -> Option<u32> {
        None
    }

    pub(crate) fn names() -> Vec<String> {
        Vec::new()
    }
}

/// The part of `lb::config` that the definitions use.
mod config {
    pub(crate) use super::address::Address;
    pub(crate) use super::unitless::unitless;
}

fn main() -> io::Result<()> {
    let parts = ["src/config/address.rs", "src/config/scope.rs", "src/config/unitless.rs"];
    for input in ["build.rs", "Cargo.toml", "src/cli/arguments"].into_iter().chain(parts) {
        println!("cargo::rerun-if-changed={input}");
    }
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo::rustc-env=LB_RELEASED={}", released());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    write_assets(&out.join("assets"))?;
    match target_directory(&out) {
        Some(target) => write_assets(&target.join("assets")),
        None => Ok(()),
    }
}

/// The day of the sources, as 2026/11/25: as packagers say it, else that of this build.
fn released() -> String {
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse().ok());
    let time = epoch.map_or_else(SystemTime::now, |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let day = humantime::format_rfc3339_seconds(time).to_string();
    day.split('T').next().unwrap_or_default().replace('-', "/")
}

/// `lb.1`, `lb-run.1`, `lb-server-list.1`, …; `lb.bash`, `_lb` and `lb.fish`.
fn write_assets(directory: &Path) -> io::Result<()> {
    let (man, completions) = (directory.join("man"), directory.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    for (shell, name) in [("bash", "lb.bash"), ("zsh", "_lb"), ("fish", "lb.fish")] {
        let shells = Shells::builtins();
        let completer = shells.completer(shell).expect("clap knows these shells");
        let mut script = Vec::new();
        completer.write_registration(VARIABLE, "lb", "lb", "lb", &mut script)?;
        if shell == "zsh" {
            // A file that zsh loads when a word is completed for the first time has to complete that one, too.
            script.extend(b"[[ $funcstack[1] = _lb ]] && _clap_dynamic_completer_lb \"$@\"\n");
        }
        fs::write(completions.join(name), script)?;
    }
    clap_mangen::generate_to(without_help_commands(arguments::CommandLine::command()), &man)
}

/// As in `cli::completion`; a test keeps them equal.
const VARIABLE: &str = "LB_COMPLETE";

/// `lb help COMMAND` needs no page of its own.
fn without_help_commands(command: clap::Command) -> clap::Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help_commands)
}

/// OUT_DIR is `TARGET/PROFILE/build/…`.
fn target_directory(out: &Path) -> Option<&Path> {
    let build = out.ancestors().find(|path| path.ends_with("build"))?;
    build.parent()?.parent()
}

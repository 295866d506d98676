//! `.cargo/protoc`, which a build without a protoc of its own runs: it finds the packaged protoc wherever cargo has put
//! the packages. `tests/run` builds with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::dependencies::packages;
use crate::support::process::run;

#[test]
fn protoc_is_found_beside_the_package_that_is_built() {
    let dir = tempfile::tempdir().unwrap();
    for name in [format!("{}-{}", package(), version()), package()] {
        let packages = dir.path().join(&name);
        a_protoc(&packages.join(&name), "the one");
        a_protoc(&packages.join(format!("{}-0.0.1", package())), "another version");
        assert_eq!(String::from_utf8(protoc(&packages).stdout).unwrap(), "the one --version\n");
    }
}

#[test]
fn without_the_package_the_message_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let output = protoc(dir.path());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && text.contains(&package()) && text.contains("set PROTOC"), "{text}");
}

#[test]
fn the_packaged_protoc_brings_its_own_proto_files() {
    let dir = tempfile::tempdir().unwrap();
    let proto = dir.path().join("a.proto");
    fs::write(
        &proto,
        "syntax = \"proto3\";\nimport \"google/protobuf/any.proto\";\nmessage A { google.protobuf.Any a = 1; }\n",
    )
    .unwrap();
    let out = dir.path().join("a.bin");
    let mut command = script(&registry());
    command.arg(format!("--proto_path={}", dir.path().display()));
    command.arg(format!("--descriptor_set_out={}", out.display())).arg("--include_imports").arg(&proto);
    let output = run(&command, Duration::from_secs(30));
    assert!(output.status.success(), "{output:?}");
    let descriptor = String::from_utf8_lossy(&fs::read(out).unwrap()).into_owned();
    assert!(descriptor.contains("google/protobuf/any.proto"));
}

/// The script, as a build script of a package there runs it.
fn script(packages: &Path) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(".cargo/protoc"));
    command.env("CARGO_MANIFEST_DIR", packages.join("etcd-client-1.0.0"));
    command
}

#[track_caller]
fn protoc(packages: &Path) -> Output {
    let mut command = script(packages);
    command.arg("--version");
    run(&command, Duration::from_secs(30))
}

/// A program that prints this text and its arguments.
fn a_protoc(package: &Path, text: &str) {
    let bin = package.join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("protoc"), format!("#!/bin/sh\necho {text} \"$@\"\n")).unwrap();
    fs::set_permissions(bin.join("protoc"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Where cargo has unpacked the packages.
fn registry() -> PathBuf {
    let packages = packages(&format!("{}-unknown-linux-gnu", std::env::consts::ARCH));
    let found = packages.iter().find(|found| found["name"] == package()).unwrap();
    Path::new(found["manifest_path"].as_str().unwrap()).ancestors().nth(2).unwrap().to_owned()
}

fn package() -> String {
    let machine = match std::env::consts::ARCH {
        "aarch64" => "aarch_64",
        machine => machine,
    };
    format!("protoc-bin-vendored-linux-{machine}")
}

fn version() -> String {
    let lock: toml::Table =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap().parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    let found = packages.iter().find(|found| found["name"].as_str() == Some(&package())).unwrap();
    found["version"].as_str().unwrap().to_owned()
}

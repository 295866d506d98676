//! Users and TLS: what grants access, what is refused, and what happens on a change.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::support::client::HANG;
use super::support::config::Config;
use super::support::etcd::Etcd;
use super::support::followed::Following;
use super::support::lb::Lb;
use super::support::wait::eventually;

const SOON: Duration = Duration::from_secs(5);
const RECOVERY: Duration = Duration::from_secs(5);

fn secret(dir: &Path, text: &str, mode: u32) -> PathBuf {
    let path = dir.join("password");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn a_token_that_is_no_longer_valid_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let mut etcd = Etcd::start();
    etcd.put("/app/a", "10.0.0.1:80");
    etcd.require_password("first");
    let mut following = Following::new(&[etcd.endpoint()]);
    following.etcd.username = Some("root".to_owned());
    following.etcd.password_file = Some(secret(dir.path(), "first\n", 0o600));
    let app = following.start();
    app.wait_for(&["a"], SOON);
    // etcd keeps tokens in memory: its restart invalidates all of them.
    etcd.kill();
    etcd.restart();
    etcd.put("/app/b", "10.0.0.2:80");
    app.wait_for(&["a", "b"], RECOVERY);
    // Any change of users invalidates earlier tokens.
    etcd.ctl(&["user", "add", "somebody:else"]);
    etcd.put("/app/c", "10.0.0.3:80");
    app.wait_for(&["a", "b", "c"], RECOVERY);
    // A new password is read from the file with the next connection.
    etcd.change_password("second");
    etcd.kill();
    etcd.restart();
    let error = eventually(RECOVERY, "the refusal", || app.status().error.filter(|error| error.contains("auth")));
    assert!(error.contains("authentication failed"), "{error}");
    assert_eq!(app.now().len(), 3);
    secret(dir.path(), "second\n", 0o600);
    etcd.put("/app/d", "10.0.0.4:80");
    app.wait_for(&["a", "b", "c", "d"], RECOVERY);
}

#[test]
fn a_user_connects_while_authentication_is_off_and_authenticates_once_it_is_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut etcd = Etcd::start();
    // As other tools write values, too.
    etcd.put("/app/a", "{\"addr\": \"10.0.0.1:80\", \"weight\": null, \"maxconn\": \"\", \"backup\": null}\n");
    let table = format!(
        "[etcd]\nendpoints = [\"{}\"]\nusername = \"root\"\npassword_file = {:?}",
        etcd.endpoint(),
        secret(dir.path(), "first\n", 0o600)
    );
    let lb = Lb::start(&Config::new().backend(r#"discovery = { etcd = "/app/" }"#).table(&table));
    let servers = |names: &[&str]| {
        let want: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        eventually(HANG, "the servers", || (lb.status().servers("app") == want).then_some(()));
    };
    servers(&["a"]);
    assert!(lb.stderr().contains("authentication is not enabled there"), "{}", lb.stderr());
    etcd.require_password("first");
    etcd.put("/app/b", "{\"addr\": \"10.0.0.2:80\", \"weight\": \"2\", \"drain\": null}");
    servers(&["a", "b"]);
}

#[test]
fn a_password_file_that_others_can_read_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let etcd = Etcd::start();
    let mut following = Following::new(&[etcd.endpoint()]);
    following.etcd.username = Some("root".to_owned());
    following.etcd.password_file = Some(secret(dir.path(), "first", 0o644));
    let app = following.start();
    let error = eventually(SOON, "the refusal", || app.status().error);
    assert!(error.contains("can be read or changed by others (mode 0644)"), "{error}");
}

#[test]
fn a_client_certificate_lets_in_and_its_key_must_be_secret() {
    let etcd = Etcd::start_tls();
    etcd.put("/app/a", "10.0.0.1:80");
    let files = etcd.certificates();
    let mut following = Following::new(&[etcd.endpoint()]);
    following.etcd.ca = Some(files.ca().to_owned());
    // Without a client certificate the connection is refused.
    let stranger = following.clone().start();
    eventually(RECOVERY, "the refusal", || stranger.status().error);
    following.etcd.cert = Some(files.client_cert().to_owned());
    following.etcd.key = Some(files.client_key().to_owned());
    let app = following.clone().start();
    app.wait_for(&["a"], SOON);
    etcd.put("/app/b", "10.0.0.2:80");
    app.wait_for(&["a", "b"], SOON);
    let copy = files.dir().join("copy.key");
    fs::copy(files.client_key(), &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o644)).unwrap();
    following.etcd.key = Some(copy);
    let careless = following.start();
    let error = eventually(SOON, "the refusal", || careless.status().error);
    assert!(error.contains("copy.key can be read or changed by others (mode 0644)"), "{error}");
    assert!(stranger.now().is_empty() && careless.now().is_empty());
}

#[test]
fn a_server_of_another_authority_is_refused() {
    let etcd = Etcd::start_tls();
    etcd.put("/app/a", "10.0.0.1:80");
    let other = Etcd::start_tls();
    let mut following = Following::new(&[etcd.endpoint()]);
    following.etcd.ca = Some(other.certificates().ca().to_owned());
    following.etcd.cert = Some(etcd.certificates().client_cert().to_owned());
    following.etcd.key = Some(etcd.certificates().client_key().to_owned());
    let app = following.start();
    let error = eventually(RECOVERY, "the refusal", || app.status().error);
    assert!(app.now().is_empty(), "{error}");
}

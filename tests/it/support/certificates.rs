//! Certificates for one test: an authority, a server at 127.0.0.1, a client. Made by openssl(1).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::process::run;

#[derive(Debug)]
pub(crate) struct Certificates {
    paths: [PathBuf; 5],
    dir: TempDir,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("server.ext"), "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n").unwrap();
        fs::write(at("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
        openssl(
            dir.path(),
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test-authority \
             -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.pem",
        );
        for name in ["server", "client"] {
            openssl(
                dir.path(),
                &format!(
                    "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
                ),
            );
            openssl(
                dir.path(),
                &format!(
                    "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile {name}.ext -out {name}.pem"
                ),
            );
        }
        let paths = ["ca.pem", "server.pem", "server.key", "client.pem", "client.key"].map(at);
        Self { paths, dir }
    }

    pub(crate) fn ca(&self) -> &Path {
        &self.paths[0]
    }

    pub(crate) fn server_cert(&self) -> &Path {
        &self.paths[1]
    }

    pub(crate) fn server_key(&self) -> &Path {
        &self.paths[2]
    }

    pub(crate) fn client_cert(&self) -> &Path {
        &self.paths[3]
    }

    /// Mode 0600, as openssl makes it.
    pub(crate) fn client_key(&self) -> &Path {
        &self.paths[4]
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

fn openssl(dir: &Path, arguments: &str) {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("cd '{}' && exec openssl {arguments}", dir.display()));
    let output = run(&command, Duration::from_secs(30));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {error}");
}

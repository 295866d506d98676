//! Connect: the configuration made an etcd client for one endpoint, with every timeout set.
//!
//! Certificates and passwords are read here, so that each new connection takes what is in the files now.

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::warn;

use super::error::EtcdError;
use super::limits::REQUEST;
use super::secret::read_secret;
use crate::config::{self, SlowFile};

/// A client of `endpoint`, which is one of `etcd.endpoints`. Authenticates when a user is configured and etcd has users.
/// Once they are enabled, a connection without one is refused, and the next one authenticates.
pub(crate) async fn connect(etcd: &config::Etcd, endpoint: &str) -> Result<Client, EtcdError> {
    match connect_as_configured(etcd, endpoint).await {
        Err(error) if etcd.username.is_some() && error.is_authentication_off() => {
            warn!("etcd {endpoint}: authentication is not enabled there: connecting without `username`");
            let without_user = config::Etcd { username: None, ..etcd.clone() };
            connect_as_configured(&without_user, endpoint).await
        }
        outcome => outcome,
    }
}

async fn connect_as_configured(etcd: &config::Etcd, endpoint: &str) -> Result<Client, EtcdError> {
    let options = read_options(etcd, endpoint).await?;
    let connected = timeout(REQUEST, Client::connect([endpoint], Some(options)));
    let waiting = EtcdError::Timeout { what: "connecting" };
    Ok(connected.await.map_err(|_| waiting)??)
}

/// Reads the files apart from this thread: a fifo without a writer or a mount that hangs must not hold up control. Threads
/// that hang have a place each, so that they do not pile up.
async fn read_options(etcd: &config::Etcd, endpoint: &str) -> Result<ConnectOptions, EtcdError> {
    let (etcd, endpoint) = (etcd.clone(), endpoint.to_owned());
    let read = async {
        let place = READERS.acquire().await.expect("the semaphore is never closed");
        let read = spawn_blocking(move || {
            let _place = place;
            options(&etcd, &endpoint)
        });
        read.await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
    };
    let waiting = EtcdError::Timeout { what: "reading certificates and passwords; is one on a mount that hangs?" };
    timeout(REQUEST, read).await.map_err(|_| waiting)?
}

fn options(etcd: &config::Etcd, endpoint: &str) -> Result<ConnectOptions, EtcdError> {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(CONNECT)
        .with_tcp_keepalive(Duration::from_secs(10))
        .with_keep_alive(KEEP_ALIVE, KEEP_ALIVE)
        .with_keep_alive_while_idle(true)
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    if endpoint.starts_with("https://") {
        options = options.with_tls(tls(etcd)?);
    }
    if let Some(user) = &etcd.username {
        options = options.with_user(user, password(etcd.password_file.as_deref())?);
    }
    Ok(options)
}

fn tls(etcd: &config::Etcd) -> Result<TlsOptions, EtcdError> {
    let ca = read_public(&authority(etcd)?)?;
    let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(ca));
    if let (Some(cert), Some(key)) = (&etcd.cert, &etcd.key) {
        tls = tls.identity(Identity::from_pem(read_public(cert)?, read_secret(key)?));
    }
    Ok(tls)
}

/// The configured authority, or those that the distribution trusts.
fn authority(etcd: &config::Etcd) -> Result<PathBuf, EtcdError> {
    if let Some(ca) = &etcd.ca {
        return Ok(ca.clone());
    }
    let known = BUNDLES.iter().map(Path::new).find(|path| path.exists());
    known.map(Path::to_owned).ok_or(EtcdError::NoAuthority)
}

fn read_public(path: &Path) -> Result<Vec<u8>, EtcdError> {
    let read = SlowFile::open(path).and_then(|file| file.read(MAX_CERTIFICATES));
    read.map_err(|source| EtcdError::Read { path: path.to_owned(), source })
}

/// A password file may end with a line feed, which is no part of the password.
fn password(file: Option<&Path>) -> Result<String, EtcdError> {
    let Some(file) = file else {
        return Ok(String::new());
    };
    let text = String::from_utf8(read_secret(file)?).map_err(|_| EtcdError::Password)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Reads of files under way.
static READERS: Semaphore = Semaphore::const_new(4);

/// A distribution's list of authorities has some hundred KiB.
const MAX_CERTIFICATES: u64 = 8 << 20;

/// For a TCP connection to come about.
const CONNECT: Duration = Duration::from_secs(2);

/// HTTP/2 pings at this interval, and this long for their answer: a hung peer is noticed within twice of it.
const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// Where distributions keep the authorities that they trust.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

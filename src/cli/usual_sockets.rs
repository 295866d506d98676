//! Where the admin socket is when none is named: the daemon takes the first place that it can have, and a command asks at
//! each of them in the same order.

use std::env;
use std::path::{Path, PathBuf};

use nix::unistd::{geteuid, getppid};

use crate::sys::private_dir::PrivateDir;
use crate::sys::process::is_haproxy;

/// The place of a service.
pub(super) const SYSTEM_SOCKET: &str = "/run/lb/lb.sock";

/// The usual places, in their order. An ordinary user has a runtime directory only while it is logged in; a service that
/// runs as its own user has the system's.
pub(super) fn usual_sockets() -> Vec<PathBuf> {
    let (user, own) = (geteuid(), env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from));
    let mut folders = Vec::new();
    if !user.is_root() {
        folders.extend(own.filter(|folder| folder.is_absolute()));
        folders.push(format!("/run/user/{user}").into());
    }
    let mut sockets: Vec<_> = folders.into_iter().filter(|folder| folder.is_dir()).collect();
    sockets.dedup();
    sockets.extend(["/run/lb".into(), format!("/tmp/lb-{user}").into()]);
    sockets.into_iter().map(|folder| folder.join("lb.sock")).collect()
}

/// Those that an engine tries. Several run as `haproxy` on one host: each has places with the pid of its supervisor, too.
pub(super) fn sockets_of_engine() -> Vec<PathBuf> {
    let mut sockets = usual_sockets();
    if is_haproxy() {
        let name = format!("{}.sock", getppid());
        let own: Vec<_> = sockets.iter().map(|socket| socket.with_file_name(&name)).collect();
        sockets.extend(own);
    }
    sockets
}

/// Whether no other user can have put this socket there: below /tmp any user can make directories of any name.
pub(super) fn is_trustworthy(socket: &Path) -> bool {
    let planted = |folder| PrivateDir::open(folder).is_err_and(|error| !error.is_missing());
    !(socket.starts_with("/tmp") && socket.parent().is_some_and(planted))
}

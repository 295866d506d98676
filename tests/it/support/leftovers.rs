//! Leftovers: the sockets that an `lb` which was killed leaves at the usual places of this machine. One that ends by
//! itself removes them.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// Removes those of a process that has ended, and an admin socket on which no process listens any more.
pub(crate) fn remove(pid: i32) {
    for folder in folders() {
        // An `lb` that is just being started holds the lock until its socket listens.
        let Some(lock) = File::open(&folder).ok().filter(|folder| folder.try_lock().is_ok()) else {
            continue;
        };
        for socket in [folder.join(format!("{pid}.sock")), folder.join("lb.sock")] {
            // A living takeover socket refuses with EPROTOTYPE.
            if UnixStream::connect(&socket).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
                drop(fs::remove_file(&socket));
            }
        }
        drop(lock);
    }
}

fn folders() -> impl Iterator<Item = PathBuf> {
    let temporary = fs::read_dir("/tmp").into_iter().flatten().flatten();
    let temporary = temporary.filter(|entry| entry.file_name().to_string_lossy().starts_with("lb-"));
    ["/run/lb", "/run/lb-takeover"].map(PathBuf::from).into_iter().chain(temporary.map(|entry| entry.path()))
}

//! What `haproxy -v`, `-vv` and a wrong command line print.

use std::{env, fs};

use crate::cli::{ExitStatus, output};
use crate::config::HAPROXY_VERSION;
use crate::log::voice;
use crate::sys::resources::cores;

/// HAProxy's level first, which tools compare, then this program's own.
pub(super) fn version() -> String {
    format!("{HAPROXY_VERSION}-lb{}", env!("CARGO_PKG_VERSION"))
}

/// `-v`
pub(super) fn show() -> ExitStatus {
    output::print(&about())
}

/// `-vv`
pub(super) fn show_features() -> ExitStatus {
    let threads = cores();
    output::print(&format!(
        "{}Build options :\n  TARGET  = linux-glibc\n  OPTIONS = USE_SYSTEMD=1\n\n\
         Feature list : +ACCEPT4 +EPOLL +LINUX_SPLICE -LUA -OPENSSL -PCRE2 -PROMEX -QUIC +SYSTEMD +THREAD -ZLIB\n\n\
         Built with multi-threading support (MAX_THREADS={threads}, default={threads}).\n\n\
         Available polling systems :\n      epoll : pref=300,  test result OK\nTotal: 1 (1 usable), will use epoll.\n",
        about()
    ))
}

/// A line that is not understood: the version on stdout and the usage on stderr, as scripts find them.
pub(super) fn show_usage() -> ExitStatus {
    output::print(&about());
    voice::write_all(USAGE);
    ExitStatus::Failed
}

fn about() -> String {
    let kernel = ["ostype", "osrelease", "version"].map(|name| fs::read_to_string(format!("/proc/sys/kernel/{name}")));
    let kernel = kernel.map(|part| part.unwrap_or_default().trim().to_owned()).join(" ");
    format!(
        "HAProxy version {} {RELEASED}\nStatus: this is lb {}, which stands where HAProxy stood.\n\
         Running on: {kernel} {}\n",
        version(),
        env!("CARGO_PKG_VERSION"),
        env::consts::ARCH
    )
}

/// The day from which the program has these words.
const RELEASED: &str = "2026/11/25";

const USAGE: &str = "\
Usage : haproxy [-f <cfgfile>]* [ -vdVD ] [ -p <pidfile> ] [ -C <dir> ] [-- <cfgfile>*]
        -v displays version ; -vv shows known build options.
        -d, -db stay in the foreground whatever the file says ; the other -d flags are accepted.
        -V enters verbose mode (disables quiet mode)
        -D goes daemon ; -C changes to <dir> before loading files.
        -W, -Ws run a supervisor in the foreground ; systemd is notified.
        -q quiet mode : don't display messages
        -c check mode : only check config files and exit
        -cc check condition : evaluate a condition and exit
        -p writes the pid of the supervisor to this file
        -dW notices of what differs are errors ; -dr is the default
        -n, -N, -m, -L, -S are accepted with a notice
        -sf/-st [pid ]* takes over from lb with these pids; a HAProxy finishes/terminates
        -x <unix_socket> get listening sockets from a HAProxy's stats socket
        --skip-refused, --socket <path> as for lb run
        haproxy run, check, status and the other commands of lb are there, too.

";

//! A real nginx, one process, that serves a small page.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::port::Port;
use super::process::Process;
use super::wait::eventually;

#[derive(Debug)]
pub(crate) struct Nginx {
    process: Option<Process>,
    port: Port,
    dir: TempDir,
}

impl Nginx {
    /// Serves on a free port of 127.0.0.1.
    pub(crate) fn start() -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), Port::reserve());
        let text =
            CONFIG.replace("@DIR@", &dir.path().display().to_string()).replace("@ADDR@", &port.addr().to_string());
        fs::write(dir.path().join("nginx.conf"), text).unwrap();
        let mut nginx = Self { process: None, port, dir };
        nginx.restart();
        nginx
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// SIGKILL: connections it has accepted are reset, then its port refuses.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Returns once it accepts.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        let mut command = Command::new("nginx");
        command.arg("-p").arg(self.dir.path()).arg("-c").arg(self.dir.path().join("nginx.conf")).args(["-e", "stderr"]);
        self.process = Some(Process::start("nginx", self.dir.path(), &command));
        eventually(Duration::from_secs(10), "nginx accepts", || TcpStream::connect(self.addr()).ok());
    }
}

/// Without a master process there is one pid, that of the server.
const CONFIG: &str = r#"
master_process off;
daemon off;
pid @DIR@/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile 16384;
events { worker_connections 8192; }
http {
    access_log off;
    client_body_temp_path @DIR@/body;
    proxy_temp_path @DIR@/proxy;
    fastcgi_temp_path @DIR@/fastcgi;
    uwsgi_temp_path @DIR@/uwsgi;
    scgi_temp_path @DIR@/scgi;
    keepalive_requests 1000000;
    server {
        listen @ADDR@ backlog=4096;
        location / { return 200 "a small page of a real server, as small pages are\n"; }
    }
}
"#;

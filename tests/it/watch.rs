//! `lb status --watch` in a terminal of 80 columns and 24 rows.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::support::config::Config;
use super::support::lb::{BINARY, Lb};
use super::support::wait::eventually;

const SOON: Duration = Duration::from_secs(10);

/// A program with a terminal of its own.
struct Terminal {
    child: Child,
    controller: OwnedFd,
    /// The program's side.
    side: File,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    fn start(mut command: Command, rows: u16) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap().into_string().unwrap();
        let side = File::options().read(true).write(true).open(name).unwrap();
        let stdio = || Stdio::from(side.try_clone().unwrap());
        let terminal = Self {
            child: command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap(),
            controller,
            side,
            shown: Arc::default(),
        };
        terminal.resize(rows);
        let (mut reader, shown) = (File::from(terminal.controller.try_clone().unwrap()), terminal.shown.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 65536];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                shown.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        terminal
    }

    fn resize(&self, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.controller, size).unwrap();
    }

    fn press(&self, keys: &str) {
        File::from(self.controller.try_clone().unwrap()).write_all(keys.as_bytes()).unwrap();
    }

    /// The lines of the last whole page, without what steers the terminal.
    fn page(&self) -> Vec<String> {
        let shown = self.shown.lock().unwrap().clone();
        let end = shown.rfind("\x1b[J").unwrap_or(0);
        let start = shown[..end].rfind("\x1b[H").unwrap_or(0);
        let steering = regex::Regex::new("\x1b\\[[0-9;?]*[A-Za-z]").unwrap();
        shown[start..end].split("\r\n").map(|line| steering.replace_all(line, "").into_owned()).collect()
    }

    /// Waits for a page of so many lines that shows this.
    fn wait_for(&self, rows: usize, text: &str) {
        eventually(SOON, text, || {
            let page = self.page();
            (page.len() == rows && page.iter().any(|line| line.contains(text))).then_some(())
        });
        let page = self.page();
        assert!(page[0].starts_with("lb ") && page.iter().all(|line| line.chars().count() <= 80), "{page:#?}");
    }

    /// Waits for the end; the terminal has to be as before.
    fn assert_restored(&mut self) {
        let ended = eventually(SOON, "its end", || self.child.try_wait().unwrap());
        assert_eq!(ended.code(), Some(0));
        let modes = tcgetattr(&self.side).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO), "{modes:?}");
        let back = || self.shown.lock().unwrap().ends_with("\x1b[?25h\x1b[?1049l");
        eventually(SOON, "the screen as before", || back().then_some(()));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn many_servers() -> Lb {
    let config = Config::bare().backend("check = false");
    let config = (0..36).fold(config, |config, n| config.server(&format!("s{n:02}"), format!("127.0.0.1:{}", n + 1)));
    Lb::start(&config)
}

fn watch(lb: &Lb) -> Terminal {
    let mut command = Command::new(BINARY);
    command.args(["status", "--watch", "--socket"]).arg(lb.socket());
    Terminal::start(command, 24)
}

#[test]
fn a_watch_fits_its_terminal_scrolls_and_ends_with_q() {
    let lb = many_servers();
    let mut terminal = watch(&lb);
    terminal.wait_for(24, "app/s00");
    terminal.wait_for(24, "SERVER ");
    terminal.wait_for(24, "more below, 0 above");
    terminal.press("jj");
    terminal.wait_for(24, " 2 above");
    terminal.wait_for(24, "SERVER ");
    terminal.press(&" ".repeat(9));
    terminal.wait_for(24, "app/s35");
    terminal.resize(14);
    terminal.wait_for(14, "more below");
    // All of it fits.
    terminal.resize(60);
    eventually(SOON, "the whole page", || terminal.page().iter().any(|line| line.contains("app/s00")).then_some(()));
    terminal.press("q");
    terminal.assert_restored();
}

#[test]
fn a_watch_gives_the_terminal_back_also_by_a_signal_and_outlives_the_daemon() {
    let mut lb = many_servers();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut terminal = watch(&lb);
        terminal.wait_for(24, "SERVER ");
        kill(Pid::from_raw(terminal.child.id().cast_signed()), signal).unwrap();
        terminal.assert_restored();
    }
    let mut terminal = watch(&lb);
    terminal.wait_for(24, "SERVER ");
    lb.signal(Signal::SIGTERM);
    lb.wait(SOON);
    eventually(SOON, "the message", || terminal.page()[0].contains("no daemon answers").then_some(()));
    assert!(terminal.page().len() == 24 && terminal.page().iter().any(|line| line.contains("SERVER ")));
    terminal.press("q");
    terminal.assert_restored();
}

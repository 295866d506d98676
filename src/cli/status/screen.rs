//! The terminal of `lb status --watch`: a page that fits its rows, keys, and at the end everything as it was.
//!
//! Only what rustix has is used: the size, two modes and six keys need no library for terminals.

use std::io::{self, IsTerminal, Read};
use std::thread;

use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::cli::output;

/// See the module. Dropping it gives the terminal back.
#[derive(Debug)]
pub(super) struct Screen {
    /// The modes of stdin before. `None`: it is no terminal, or that of another process now.
    before: Option<Termios>,
    keys: UnboundedReceiver<u8>,
    /// The first line shown of those that scroll.
    top: usize,
}

impl Screen {
    /// `None`: stdout is no terminal.
    pub(super) fn open() -> Option<Self> {
        if !io::stdout().is_terminal() {
            return None;
        }
        let (sender, keys) = unbounded_channel();
        let before = quiet_keys();
        if before.is_some() {
            // It ends with stdin or with the process.
            thread::spawn(move || {
                for key in io::stdin().lock().bytes().map_while(Result::ok) {
                    if sender.send(key).is_err() {
                        return;
                    }
                }
            });
        }
        output::try_print("\x1b[?1049h\x1b[?25l").ok();
        Some(Self { before, keys, top: 0 })
    }

    /// Waits for a key that ends the watch (`false`), or that scrolls (`true`). Cancel safety: no key is lost.
    pub(super) async fn key(&mut self) -> bool {
        loop {
            let Some(key) = self.keys.recv().await else {
                return std::future::pending().await;
            };
            // The last byte of what the arrow and page keys send.
            self.top = match key {
                b'q' | b'Q' => return false,
                b'j' | b'B' => self.top + 1,
                b'k' | b'A' => self.top.saturating_sub(1),
                b' ' | b'6' => self.top + PAGE,
                b'b' | b'5' => self.top.saturating_sub(PAGE),
                b'g' | b'H' => 0,
                _ => continue,
            };
            return true;
        }
    }

    /// Shows as much of the page as fits. `Ok(false)`: the terminal is gone.
    pub(super) fn draw(&mut self, page: &str) -> io::Result<bool> {
        let size = tcgetwinsize(io::stdout()).ok();
        let (rows, columns) = size.map_or((24, 80), |size| (usize::from(size.ws_row), usize::from(size.ws_col)));
        let lines = fit(page, rows.max(2), &mut self.top);
        let lines: Vec<_> = lines.iter().map(|line| format!("{}\x1b[K", clip(line, columns.max(1)))).collect();
        // No newline after the last one, which would scroll the first away.
        output::try_print(&format!("\x1b[H{}\x1b[J", lines.join("\n")))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        output::try_print("\x1b[?25h\x1b[?1049l").ok();
        if let Some(before) = &self.before {
            tcsetattr(io::stdin(), OptionalActions::Now, before).ok();
        }
    }
}

/// Keys arrive one by one and are not shown; those that send signals still do.
fn quiet_keys() -> Option<Termios> {
    let stdin = io::stdin();
    // In the background, changing the terminal would stop this process.
    if tcgetpgrp(&stdin).is_ok_and(|group| group != getpgrp()) {
        return None;
    }
    let before = tcgetattr(&stdin).ok()?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Now, &quiet).ok()?;
    Some(before)
}

/// The lines of the page that fit: the head down to the header of the servers stays, what follows scrolls.
fn fit(page: &str, rows: usize, top: &mut usize) -> Vec<String> {
    let lines: Vec<&str> = page.lines().collect();
    if lines.len() <= rows {
        *top = 0;
        return lines.into_iter().map(str::to_owned).collect();
    }
    let header = lines.iter().position(|line| line.contains("SERVER ")).map_or(1, |at| at + 1);
    // With many frontends the first line alone.
    let fixed = if header < rows / 2 + 2 && header + 2 < rows { header } else { 1 };
    let room = rows - fixed - 1;
    *top = (*top).min((lines.len() - fixed).saturating_sub(room));
    let shown = lines[fixed..].iter().skip(*top).take(room);
    let (above, below) = (*top, lines.len() - fixed - *top - room.min(lines.len() - fixed - *top));
    let more = format!("… {below} more below, {above} above; j and k or the arrows scroll, q quits");
    lines[..fixed].iter().chain(shown).map(|line| (*line).to_owned()).chain([more]).collect()
}

/// The first characters of a line, not counting what sets colours.
fn clip(line: &str, columns: usize) -> String {
    let (mut clipped, mut count, mut escape) = (String::new(), 0, false);
    for c in line.chars() {
        if c == '\x1b' {
            escape = true;
        } else if !escape {
            count += 1;
        } else if c.is_ascii_alphabetic() {
            escape = false;
            clipped.push(c);
            continue;
        }
        if escape || count <= columns {
            clipped.push(c);
        }
    }
    clipped
}

/// Lines that a page key scrolls.
const PAGE: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_page_keeps_its_head_and_says_what_is_missing() {
        let servers: String = (0..36).map(|n| format!("app/s{n}\n")).collect();
        let page = format!("lb\n\nFRONTEND\nweb\n\nBACKEND\napp\n\nSERVER ADDR\n{servers}");
        let mut top = 0;
        let lines = fit(&page, 24, &mut top);
        assert_eq!(
            (lines.len(), lines[0].as_str(), lines[8].as_str(), lines[9].as_str()),
            (24, "lb", "SERVER ADDR", "app/s0")
        );
        assert!(lines[23].starts_with("… 22 more below, 0 above"), "{}", lines[23]);
        top = 1000;
        let lines = fit(&page, 24, &mut top);
        assert_eq!((top, lines[22].as_str()), (22, "app/s35"));
        for rows in 2..60 {
            assert!(fit(&page, rows, &mut top).len() <= rows);
        }
    }

    #[test]
    fn colours_do_not_count_as_columns() {
        assert_eq!(clip("\x1b[31mabc\x1b[0md", 2), "\x1b[31mab\x1b[0m");
    }
}

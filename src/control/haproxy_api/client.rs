//! A client of a stats socket or of the master socket: its commands, one after the other, and its settings.
//!
//! One that is not interactive reads an empty line after each answer, and the end of the connection after the last one.
//! Limits: a line has a bound, silence and not reading have a time, and one answer at a time is held for it.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::answer::{DENIED, Said, SeverityStyle};
use super::command::{ApiCommand, ClientChange};
use super::console::Console;
use super::keyword::{self, Verb};
use super::line::{CommandWords, Lines, Taken, TooLong};
use super::master::{self, MasterTarget};
use super::role::SocketRole;
use super::{help, perform};
use crate::config::{AdminState, SocketLevel};

/// A connection.
pub(super) struct ApiClient<S> {
    stream: S,
    lines: Lines,
    console: Rc<Console>,
    level: SocketLevel,
    interactive: bool,
    silence: Duration,
    severity: SeverityStyle,
    /// Of the master socket: what commands without `@` are for.
    target: Option<MasterTarget>,
    /// Nothing more comes from it.
    ended: bool,
}

/// How a command leaves the connection.
enum Next {
    /// An answer, after which it goes on.
    Answered(Said),
    /// It goes on without one.
    Silent,
    /// It ends, after this.
    Close(String),
}

impl<S: AsyncRead + AsyncWrite + Unpin> ApiClient<S> {
    pub(super) fn new(stream: S, console: Rc<Console>, role: SocketRole) -> Self {
        let silence = console.silence.get();
        Self {
            stream,
            lines: Lines::default(),
            console,
            level: role.level,
            interactive: false,
            silence,
            severity: SeverityStyle::default(),
            target: role.master.then_some(MasterTarget::Master),
            ended: false,
        }
    }

    /// Answers until the client, or a limit, ends it. Cancel safety: a command that was given to the engine is carried out.
    pub(super) async fn run(mut self) -> io::Result<()> {
        loop {
            match self.lines.take() {
                Err(TooLong) => return Ok(()),
                Ok(Some(Taken::Part)) if self.interactive => self.write("+ ").await?,
                Ok(Some(Taken::Part)) => {}
                Ok(Some(Taken::Command(words))) => {
                    if !self.obey(words).await? {
                        return self.stream.shutdown().await;
                    }
                }
                Ok(None) if self.ended => return Ok(()),
                Ok(None) => self.read(self.silence).await?,
            }
        }
    }

    /// Answers one command. Returns whether the connection goes on.
    async fn obey(&mut self, words: CommandWords) -> io::Result<bool> {
        let mut text = match self.answer(words).await? {
            Next::Answered(said) => said.text(self.severity) + "\n",
            Next::Silent => String::new(),
            Next::Close(text) => {
                self.write(&text).await?;
                return Ok(false);
            }
        };
        if self.interactive {
            text += &self.prompt();
        }
        self.write(&text).await?;
        if self.interactive || self.target.is_some() || !self.lines.is_empty() {
            return Ok(true);
        }
        // What has come meanwhile belongs to the same request.
        match self.read(Duration::ZERO).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
            Err(error) => return Err(error),
        }
        Ok(!self.lines.is_empty())
    }

    async fn answer(&mut self, mut words: CommandWords) -> io::Result<Next> {
        let mut target = self.target;
        if target.is_some() && words.get(0).starts_with('@') {
            let prefix = words.get(0).to_owned();
            target = master::target(&prefix);
            if target.is_none() {
                return Ok(Next::Close(format!("Can't find the target PID matching the prefix '{prefix}'\n")));
            }
            words = words.behind_first();
            if words.as_slice().is_empty() {
                self.target = target;
                return Ok(Next::Silent);
            }
        }
        let table = if target == Some(MasterTarget::Master) { keyword::of_master() } else { keyword::of_process() };
        let Some(known) = keyword::find(&table, words.as_slice()) else {
            return Ok(Next::Answered(Said::info(help::unknown(&table, words.as_slice()))));
        };
        if self.level < known.level {
            return Ok(Next::Answered(Said::error(DENIED)));
        }
        if known.verb == Verb::Help {
            let about = words.as_slice().get(1..).unwrap_or_default();
            return Ok(Next::Answered(Said::info(help::help(&table, about))));
        }
        Ok(match ApiCommand::read(known.verb, &words) {
            ApiCommand::Client(change) => self.change(change),
            ApiCommand::Reload => Next::Close(master::reload(&self.console).await),
            ApiCommand::Wait(time, server) => Next::Answered(self.wait(time, server).await?),
            ApiCommand::Show(Verb::ShowProc, _) => {
                Next::Answered(master::processes(&self.console).await.unwrap_or_else(Said::error))
            }
            // The master has no stats sockets.
            ApiCommand::Show(Verb::ShowCliSockets, _) if target == Some(MasterTarget::Master) => {
                Next::Answered(Said::Nothing)
            }
            command => Next::Answered(perform::perform(&self.console, command, self.level).await),
        })
    }

    fn change(&mut self, change: ClientChange) -> Next {
        match change {
            ClientChange::Quit => return Next::Close(String::new()),
            ClientChange::TogglePrompt => {
                self.interactive = !self.interactive;
                if self.target.is_some() {
                    return Next::Silent;
                }
            }
            ClientChange::LowerToUser => self.level = SocketLevel::User,
            ClientChange::LowerToOperator => self.level = self.level.min(SocketLevel::Operator),
            ClientChange::Silence(time) => self.silence = time,
            ClientChange::Severity(style) => self.severity = style,
        }
        Next::Answered(Said::Nothing)
    }

    /// Behind the line end of an answer.
    fn prompt(&self) -> String {
        match self.target {
            None => "> ".to_owned(),
            Some(MasterTarget::Master) => "master> ".to_owned(),
            Some(MasterTarget::Engine) => format!("{}> ", std::process::id()),
        }
    }

    /// `wait`: for a server that can be removed, or for a time. What the client sends meanwhile ends it.
    async fn wait(&mut self, time: Duration, server: Option<(String, String)>) -> io::Result<Said> {
        let end = Instant::now() + time;
        loop {
            let obstacle = match &server {
                None => Some(String::new()),
                Some((backend, server)) => match self.console.server(backend, server).await {
                    Ok(known) if known.state != AdminState::Maint => Some(NOT_IN_MAINT.to_owned()),
                    Ok(known) if known.sessions > 0 => Some(STILL_USED.to_owned()),
                    Ok(_) => None,
                    Err(error) => return Ok(Said::error(format!("Failed. {error}"))),
                },
            };
            let Some(obstacle) = obstacle else {
                return Ok(Said::info("Done."));
            };
            if Instant::now() >= end {
                return Ok(match server {
                    None => Said::info("Done."),
                    Some(_) => Said::error(format!("Wait delay expired. {obstacle}")),
                });
            }
            let turn = if server.is_some() { end.min(Instant::now() + LOOK) } else { end };
            if self.ended {
                sleep_until(turn).await;
                continue;
            }
            match self.read(turn.saturating_duration_since(Instant::now())).await {
                Ok(()) if self.ended => {}
                Ok(()) => return Ok(Said::error("Interrupted.")),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes what comes within this time; an error of the kind `TimedOut` if nothing does.
    async fn read(&mut self, limit: Duration) -> io::Result<()> {
        let mut bytes = [0; 4096];
        let count = timeout(limit, self.stream.read(&mut bytes)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        self.ended = count == 0;
        self.lines.push(&bytes[..count]);
        Ok(())
    }

    /// Writes all of it, as long as the client reads on.
    async fn write(&mut self, text: &str) -> io::Result<()> {
        let (mut rest, end) = (text.as_bytes(), Instant::now() + LONGEST);
        while !rest.is_empty() {
            let by = end.min(Instant::now() + self.silence);
            let count = timeout_at(by, self.stream.write(rest)).await.map_err(|_| io::ErrorKind::TimedOut)??;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = &rest[count..];
        }
        Ok(())
    }
}

/// How often a server that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// For the whole of an answer, however slowly it is read.
const LONGEST: Duration = Duration::from_secs(60);

const NOT_IN_MAINT: &str = "Only servers in maintenance mode can be deleted.";
const STILL_USED: &str = "Server still has connections attached to it, cannot remove it.";

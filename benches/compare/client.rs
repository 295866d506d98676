//! The client's end of a connection.

use std::time::Instant;

use super::stream::{Progress, Read, Scratch, Stream};
use super::traffic::{HEADER, Request};

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: Stream,
    pub(crate) request: Request,
    stage: ClientStage,
    /// When the request was due.
    pub(crate) since: Instant,
    /// Answers received in full.
    pub(crate) answers: u64,
    /// One of the streams that only keep the balancer busy.
    pub(crate) background: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientStage {
    /// The number of sent bytes of header and upload.
    Sending(u64),
    /// The number of received bytes of the answer.
    Receiving(u64),
    /// The answer is complete, the origin's FIN is outstanding.
    Closing,
    Idle,
}

impl Client {
    /// A new connection that sends `request` once it is established.
    pub(crate) fn new(stream: Stream, request: Request, since: Instant, background: bool) -> Self {
        Self { stream, request, stage: ClientStage::Sending(0), since, answers: 0, background }
    }

    /// Starts the next request on an idle connection.
    pub(crate) fn ask(&mut self, request: Request, since: Instant) {
        (self.request, self.since) = (request, since);
        self.stage = ClientStage::Sending(0);
    }

    /// Advances as far as possible without waiting; a bulk request stops after each step.
    pub(crate) fn advance(&mut self, scratch: &mut Scratch) -> Progress {
        loop {
            let progress = match self.stage {
                ClientStage::Sending(sent) => self.send(sent, scratch),
                ClientStage::Receiving(got) => self.receive(got, scratch),
                ClientStage::Closing => return self.await_end(scratch),
                ClientStage::Idle => return self.idle(scratch),
            };
            match progress {
                Progress::More if !self.request.is_bulk() => {}
                other => return other,
            }
        }
    }

    fn send(&mut self, sent: u64, scratch: &Scratch) -> Progress {
        let header = HEADER as u64;
        let wrote = if sent < header {
            let bytes = self.request.encode();
            self.stream.write(&bytes[usize::try_from(sent).unwrap_or(0)..])
        } else {
            let (done, all) = (sent - header, self.request.upload);
            self.stream.write(scratch.pattern.at(self.request.seed, done, (all - done).min(scratch.step as u64)))
        };
        match wrote {
            Ok(0) => Progress::Blocked,
            Ok(len) => {
                let sent = sent + len as u64;
                let whole = sent == header + self.request.upload;
                self.stage = if whole { ClientStage::Receiving(0) } else { ClientStage::Sending(sent) };
                Progress::More
            }
            Err(errno) => Progress::Failed(format!("client send: {errno}")),
        }
    }

    fn receive(&mut self, got: u64, scratch: &mut Scratch) -> Progress {
        let request = self.request;
        match self.stream.read(&mut scratch.buf[..scratch.step]) {
            Read::Bytes(len) => {
                let total = got + len as u64;
                if total > request.answer || !scratch.pattern.is(request.seed, got, &scratch.buf[..len]) {
                    return Progress::Failed(format!("wrong bytes in the answer at {got}"));
                }
                if total < request.answer {
                    self.stage = ClientStage::Receiving(total);
                    return Progress::More;
                }
                self.answers += 1;
                if request.close {
                    self.stage = ClientStage::Closing;
                    return Progress::More;
                }
                self.stage = ClientStage::Idle;
                Progress::Answered
            }
            Read::Blocked => Progress::Blocked,
            Read::End => Progress::Failed(format!("answer ends at {got} of {}", request.answer)),
            Read::Failed(errno) => Progress::Failed(format!("client receive: {errno}")),
        }
    }

    fn await_end(&mut self, scratch: &mut Scratch) -> Progress {
        match self.stream.read(&mut scratch.buf) {
            Read::End => Progress::Ended,
            Read::Blocked => Progress::Blocked,
            Read::Bytes(_) => Progress::Failed("bytes after the answer".to_owned()),
            Read::Failed(errno) => Progress::Failed(format!("instead of a FIN: {errno}")),
        }
    }

    fn idle(&mut self, scratch: &mut Scratch) -> Progress {
        match self.await_end(scratch) {
            Progress::Ended => Progress::Failed("closed while idle".to_owned()),
            other => other,
        }
    }
}

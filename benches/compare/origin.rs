//! The origin's end of a connection: it checks the upload and sends the requested answer.

use super::stream::{Desk, Progress, Read, Stream};
use super::traffic::{HEADER, Request};

#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) stream: Stream,
    header: [u8; HEADER],
    request: Option<Request>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Header(usize),
    /// The number of received bytes of the upload.
    Upload(u64),
    /// The number of sent bytes of the answer.
    Answer(u64),
}

impl Origin {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, header: [0; HEADER], request: None, stage: Stage::Header(0) }
    }

    /// Whether it yields to others.
    pub(crate) fn is_bulk(&self) -> bool {
        self.request.is_some_and(|request| request.is_bulk())
    }

    /// Advances as far as possible without waiting; a bulk request stops after each step.
    pub(crate) fn advance(&mut self, desk: &mut Desk) -> Progress {
        loop {
            let progress = match (self.stage, self.request) {
                (Stage::Upload(got), Some(request)) => self.receive(got, request, desk),
                (Stage::Answer(sent), Some(request)) => self.answer(sent, request, desk),
                (Stage::Header(got), _) => self.listen(got, desk),
                (_, None) => Progress::Failed("no request".to_owned()),
            };
            match progress {
                Progress::More if !self.is_bulk() => {}
                other => return other,
            }
        }
    }

    fn listen(&mut self, got: usize, desk: &mut Desk) -> Progress {
        match self.stream.read(&mut desk.buf[..desk.step]) {
            Read::Bytes(len) => {
                let head = len.min(HEADER - got);
                self.header[got..got + head].copy_from_slice(&desk.buf[..head]);
                if got + head < HEADER {
                    self.stage = Stage::Header(got + head);
                    return Progress::More;
                }
                let Some(request) = Request::decode(&self.header) else {
                    return Progress::Failed("wrong bytes in a request".to_owned());
                };
                self.request = Some(request);
                self.take(0, request, head..len, desk)
            }
            Read::Blocked => Progress::Blocked,
            Read::End if got == 0 => Progress::Ended,
            Read::End => Progress::Failed("request ends early".to_owned()),
            Read::Failed(errno) => Progress::Failed(format!("origin receive: {errno}")),
        }
    }

    fn receive(&mut self, got: u64, request: Request, desk: &mut Desk) -> Progress {
        match self.stream.read(&mut desk.buf[..desk.step]) {
            Read::Bytes(len) => self.take(got, request, 0..len, desk),
            Read::Blocked => Progress::Blocked,
            Read::End => Progress::Failed(format!("upload ends at {got} of {}", request.upload)),
            Read::Failed(errno) => Progress::Failed(format!("origin receive: {errno}")),
        }
    }

    /// Consumes a part of the buffer as the next bytes of the upload.
    fn take(&mut self, got: u64, request: Request, part: std::ops::Range<usize>, desk: &Desk) -> Progress {
        let total = got + part.len() as u64;
        if total > request.upload || !desk.pattern.is(request.seed, got, &desk.buf[part]) {
            return Progress::Failed(format!("wrong bytes in the upload at {got}"));
        }
        self.stage = if total < request.upload { Stage::Upload(total) } else { Stage::Answer(0) };
        Progress::More
    }

    fn answer(&mut self, sent: u64, request: Request, desk: &Desk) -> Progress {
        let bytes = desk.pattern.at(request.seed, sent, (request.answer - sent).min(desk.step as u64));
        match self.stream.write(bytes) {
            Ok(0) => Progress::Blocked,
            Ok(len) if sent + len as u64 == request.answer => {
                if request.close {
                    return Progress::Ended;
                }
                self.stage = Stage::Header(0);
                Progress::More
            }
            Ok(len) => {
                self.stage = Stage::Answer(sent + len as u64);
                Progress::More
            }
            Err(errno) => Progress::Failed(format!("origin send: {errno}")),
        }
    }
}

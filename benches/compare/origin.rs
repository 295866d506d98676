//! The origin's end of a connection: it checks the upload and sends the requested answer.

use super::stream::{Progress, Read, Scratch, Stream};
use super::traffic::{HEADER, Request};

#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) stream: Stream,
    header: [u8; HEADER],
    request: Option<Request>,
    stage: OriginStage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OriginStage {
    Header(usize),
    /// The number of received bytes of the upload.
    Upload(u64),
    /// The number of sent bytes of the answer.
    Answer(u64),
}

impl Origin {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, header: [0; HEADER], request: None, stage: OriginStage::Header(0) }
    }

    /// Whether it yields to others.
    pub(crate) fn is_bulk(&self) -> bool {
        self.request.is_some_and(|request| request.is_bulk())
    }

    /// Advances as far as possible without waiting; a bulk request stops after each step.
    pub(crate) fn advance(&mut self, scratch: &mut Scratch) -> Progress {
        loop {
            let progress = match (self.stage, self.request) {
                (OriginStage::Upload(got), Some(request)) => self.receive(got, request, scratch),
                (OriginStage::Answer(sent), Some(request)) => self.answer(sent, request, scratch),
                (OriginStage::Header(got), _) => self.listen(got, scratch),
                (_, None) => Progress::Failed("no request".to_owned()),
            };
            match progress {
                Progress::More if !self.is_bulk() => {}
                other => return other,
            }
        }
    }

    fn listen(&mut self, got: usize, scratch: &mut Scratch) -> Progress {
        match self.stream.read(&mut scratch.buf[..scratch.step]) {
            Read::Bytes(len) => {
                let head = len.min(HEADER - got);
                self.header[got..got + head].copy_from_slice(&scratch.buf[..head]);
                if got + head < HEADER {
                    self.stage = OriginStage::Header(got + head);
                    return Progress::More;
                }
                let Some(request) = Request::decode(&self.header) else {
                    return Progress::Failed("wrong bytes in a request".to_owned());
                };
                self.request = Some(request);
                self.take(0, request, head..len, scratch)
            }
            Read::Blocked => Progress::Blocked,
            Read::End if got == 0 => Progress::Ended,
            Read::End => Progress::Failed("request ends early".to_owned()),
            Read::Failed(errno) => Progress::Failed(format!("origin receive: {errno}")),
        }
    }

    fn receive(&mut self, got: u64, request: Request, scratch: &mut Scratch) -> Progress {
        match self.stream.read(&mut scratch.buf[..scratch.step]) {
            Read::Bytes(len) => self.take(got, request, 0..len, scratch),
            Read::Blocked => Progress::Blocked,
            Read::End => Progress::Failed(format!("upload ends at {got} of {}", request.upload)),
            Read::Failed(errno) => Progress::Failed(format!("origin receive: {errno}")),
        }
    }

    /// Consumes a part of the buffer as the next bytes of the upload.
    fn take(&mut self, got: u64, request: Request, part: std::ops::Range<usize>, scratch: &Scratch) -> Progress {
        let total = got + part.len() as u64;
        if total > request.upload || !scratch.pattern.is(request.seed, got, &scratch.buf[part]) {
            return Progress::Failed(format!("wrong bytes in the upload at {got}"));
        }
        self.stage = if total < request.upload { OriginStage::Upload(total) } else { OriginStage::Answer(0) };
        Progress::More
    }

    fn answer(&mut self, sent: u64, request: Request, scratch: &Scratch) -> Progress {
        let bytes = scratch.pattern.at(request.seed, sent, (request.answer - sent).min(scratch.step as u64));
        match self.stream.write(bytes) {
            Ok(0) => Progress::Blocked,
            Ok(len) if sent + len as u64 == request.answer => {
                if request.close {
                    return Progress::Ended;
                }
                self.stage = OriginStage::Header(0);
                Progress::More
            }
            Ok(len) => {
                self.stage = OriginStage::Answer(sent + len as u64);
                Progress::More
            }
            Err(errno) => Progress::Failed(format!("origin send: {errno}")),
        }
    }
}

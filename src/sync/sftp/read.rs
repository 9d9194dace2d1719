//! Reading a file at the speed of the line: many requests are in flight, what comes is handed on in order.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::wire::{CLOSE, DATA, READ, Request, STATUS};
use super::{Handle, Sftp, SftpError, Status, status, unexpected};

/// What OpenSSH gives at once; a server that gives less is asked for less.
pub(super) const LARGEST: u32 = 255 * 1024;
const SMALLEST: u32 = 4096;

/// A request that has not been answered.
struct Asked {
    id: u32,
    bytes: Range<u64>,
}

/// What stopped a read before its end.
#[derive(Debug)]
pub(crate) enum Stopped<E> {
    /// Client and server.
    Sftp(SftpError),
    /// Whoever took the bytes. Answers are still on their way: the connection is of no more use.
    Taker(E),
}

impl<E> From<SftpError> for Stopped<E> {
    fn from(error: SftpError) -> Self {
        Stopped::Sftp(error)
    }
}

impl Sftp {
    /// Hands `bytes` of a file to `take`, in order, with up to `window` bytes in flight, and returns where the file
    /// ended, which is before the end of `bytes` only where it is shorter.
    pub(crate) fn read<E>(
        &mut self,
        handle: &Handle,
        bytes: Range<u64>,
        window: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<u64, Stopped<E>> {
        let mut asked: VecDeque<Asked> = VecDeque::new();
        // What came before what it follows; bounded by the window.
        let mut early: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let (mut next, mut at, mut end) = (bytes.start, bytes.start, bytes.end);
        loop {
            let mut requests = Vec::new();
            while next < end && next - at < window.max(1) {
                let stop = end.min(next + u64::from(self.read_size));
                self.request(handle, next..stop, &mut asked, &mut requests);
                next = stop;
            }
            self.send(&requests)?;
            if asked.is_empty() {
                return Ok(at);
            }
            let kind = self.receive()?;
            let id = super::Reader(&self.packet).u32()?;
            let which = asked.iter().position(|asked| asked.id == id);
            let which = which.ok_or(SftpError::Protocol("an answer to what was not asked"))?;
            let Some(Asked { bytes, .. }) = asked.remove(which) else { continue };
            let mut reply = self.reply(id)?;
            match kind {
                DATA => {
                    let data = reply.string()?;
                    let length = data.len() as u64;
                    if length == 0 || length > bytes.end - bytes.start {
                        return Err(SftpError::Protocol("not as many bytes as asked for").into());
                    }
                    let rest = bytes.start + length..bytes.end;
                    if bytes.start == at {
                        take(data).map_err(Stopped::Taker)?;
                        at += length;
                    } else {
                        early.insert(bytes.start, data.to_vec());
                    }
                    if !rest.is_empty() {
                        self.read_size = self.read_size.min(length as u32).max(SMALLEST);
                        self.request_rest(handle, rest, &mut asked)?;
                    }
                }
                STATUS if status(&mut reply)? == Some(Status::End) => {
                    end = end.min(bytes.start);
                    next = next.min(end);
                }
                _ => return Err(unexpected(kind, reply).into()),
            }
            while let Some(data) = early.remove(&at) {
                take(&data).map_err(Stopped::Taker)?;
                at += data.len() as u64;
            }
        }
    }

    /// Pieces of a file, each at most [`LARGEST`] bytes, in two round trips; nothing where one of them cannot be had
    /// whole and at once.
    pub(crate) fn glimpse(&mut self, path: &str, pieces: &[Range<u64>]) -> Result<Option<Vec<Vec<u8>>>, SftpError> {
        let handle = self.open(path)?;
        let (mut asked, mut requests) = (VecDeque::new(), Vec::new());
        for piece in pieces {
            self.request(&handle, piece.clone(), &mut asked, &mut requests);
        }
        let close = self.new_id();
        requests.extend(Request::new(CLOSE, close).string(&handle.0).into_bytes());
        self.send(&requests)?;
        let mut found = vec![None; pieces.len()];
        for _ in 0..=pieces.len() {
            let kind = self.receive()?;
            let id = super::Reader(&self.packet).u32()?;
            let Some(which) = asked.iter().position(|asked| asked.id == id) else {
                if id != close {
                    return Err(SftpError::Protocol("an answer to what was not asked"));
                }
                continue;
            };
            let length = pieces[which].end - pieces[which].start;
            if kind == DATA {
                let data = self.reply(id)?.string()?;
                found[which] = (data.len() as u64 == length).then(|| data.to_vec());
            }
        }
        Ok(found.into_iter().collect())
    }

    fn request(&mut self, handle: &Handle, bytes: Range<u64>, asked: &mut VecDeque<Asked>, out: &mut Vec<u8>) {
        let id = self.new_id();
        let length = (bytes.end - bytes.start) as u32;
        out.extend(Request::new(READ, id).string(&handle.0).u64(bytes.start).u32(length).into_bytes());
        asked.push_back(Asked { id, bytes });
    }

    /// Asks again for what a short answer left out.
    fn request_rest(
        &mut self,
        handle: &Handle,
        rest: Range<u64>,
        asked: &mut VecDeque<Asked>,
    ) -> Result<(), SftpError> {
        let mut requests = Vec::new();
        let mut next = rest.start;
        while next < rest.end {
            let stop = rest.end.min(next + u64::from(self.read_size));
            self.request(handle, next..stop, asked, &mut requests);
            next = stop;
        }
        self.send(&requests)
    }

    fn send(&mut self, requests: &[u8]) -> Result<(), SftpError> {
        if !requests.is_empty() {
            self.connection.write_all(requests)?;
            self.connection.flush()?;
        }
        Ok(())
    }
}

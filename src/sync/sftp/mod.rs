//! An SFTP client that only reads, over any byte stream. What a server sends is checked, never trusted.

mod read;
#[cfg(test)]
mod tests;
mod wire;

use std::io;

use super::transport::{Breaker, ConnectError, Connection};

pub(crate) use read::Stopped;
use wire::{ATTRS, Reader, Request};
pub(crate) use wire::{Attributes, Kind};
use wire::{CLOSE, FOR_READING, HANDLE, INIT, LONGEST_PACKET, LSTAT, NAME, OPEN, OPENDIR, READDIR, STATUS, VERSION};

/// More names than any folder of checkpoints has: a listing that goes on beyond does not end.
const MOST_NAMES: usize = 1_000_000;

/// What can go wrong between client and server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SftpError {
    /// The stream broke.
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
    /// What came is no answer to what was asked.
    #[error("the server breaks the SFTP protocol: {0}")]
    Protocol(&'static str),
    /// No such file or folder.
    #[error("no such file or folder")]
    NotFound,
    /// The user may not read it.
    #[error("permission denied")]
    Denied,
    /// Any other refusal.
    #[error("refused by the server: {message} (status {status})")]
    Refused {
        /// The status.
        status: u32,
        /// What the server says.
        message: String,
    },
}

/// A file that is open at the server.
#[derive(Debug)]
pub(crate) struct Handle(Vec<u8>);

/// A name in a folder, as the server sent it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) attributes: Attributes,
}

/// A connection whose SFTP subsystem has answered.
pub(crate) struct Sftp {
    connection: Box<dyn Connection>,
    next_id: u32,
    /// The packet that was received last, without its length.
    packet: Vec<u8>,
    /// What the server gives at once at most, as far as is known.
    read_size: u32,
}

impl Sftp {
    /// Greets the server.
    pub(crate) fn start(mut connection: Box<dyn Connection>, address: &str) -> Result<Self, ConnectError> {
        let greeting = Request::new(INIT, 3).into_bytes();
        let sent = connection.write_all(&greeting).and_then(|()| connection.flush());
        let mut sftp = Sftp { connection, next_id: 0, packet: Vec::new(), read_size: read::LARGEST };
        let answer = sent.map_err(SftpError::Lost).and_then(|()| sftp.receive());
        let no_sftp = |reason: String| ConnectError::NoSftp { address: address.into(), reason };
        match answer {
            Ok(VERSION) => Ok(sftp),
            Ok(_) => Err(no_sftp("it answers with something else".into())),
            Err(SftpError::Lost(error)) => {
                let explained = sftp.connection.explain(&error);
                Err(explained.unwrap_or_else(|| no_sftp(error.to_string())))
            }
            Err(error) => Err(no_sftp(error.to_string())),
        }
    }

    /// Everything in a folder, unsorted, `.` and `..` too.
    pub(crate) fn list(&mut self, folder: &str) -> Result<Vec<Entry>, SftpError> {
        let handle = self.handle(OPENDIR, |request| request.string(folder.as_bytes()))?;
        let mut entries = Vec::new();
        loop {
            let (kind, id) = self.ask(READDIR, |request| request.string(&handle.0))?;
            let mut reply = self.reply(id)?;
            match kind {
                NAME => {
                    for _ in 0..reply.u32()? {
                        let name = reply.string()?.to_vec();
                        reply.string()?;
                        entries.push(Entry { name, attributes: reply.attributes()? });
                    }
                }
                STATUS if status(&mut reply)? == Some(Status::End) => break,
                _ => return Err(unexpected(kind, reply)),
            }
            if entries.len() > MOST_NAMES {
                return Err(SftpError::Protocol("the listing does not end"));
            }
        }
        self.close(&handle)?;
        Ok(entries)
    }

    /// What the server tells of a name; of a link, of the link itself.
    pub(crate) fn stat(&mut self, path: &str) -> Result<Attributes, SftpError> {
        let (kind, id) = self.ask(LSTAT, |request| request.string(path.as_bytes()))?;
        let mut reply = self.reply(id)?;
        match kind {
            ATTRS => reply.attributes(),
            _ => Err(unexpected(kind, reply)),
        }
    }

    /// Opens a file for reading.
    pub(crate) fn open(&mut self, path: &str) -> Result<Handle, SftpError> {
        self.handle(OPEN, |request| request.string(path.as_bytes()).u32(FOR_READING).u32(0))
    }

    /// Closes a file.
    pub(crate) fn close(&mut self, handle: &Handle) -> Result<(), SftpError> {
        let (kind, id) = self.ask(CLOSE, |request| request.string(&handle.0))?;
        let mut reply = self.reply(id)?;
        match kind {
            STATUS if status(&mut reply)? == Some(Status::Ok) => Ok(()),
            _ => Err(unexpected(kind, reply)),
        }
    }

    /// Ends the connection from another thread.
    pub(crate) fn breaker(&self) -> Breaker {
        self.connection.breaker()
    }

    fn handle(&mut self, kind: u8, body: impl FnOnce(Request) -> Request) -> Result<Handle, SftpError> {
        let (kind, id) = self.ask(kind, body)?;
        let mut reply = self.reply(id)?;
        match kind {
            HANDLE => Ok(Handle(reply.string()?.to_vec())),
            _ => Err(unexpected(kind, reply)),
        }
    }

    /// Sends a request and waits for the answer; returns its kind and the id that it must have.
    fn ask(&mut self, kind: u8, body: impl FnOnce(Request) -> Request) -> Result<(u8, u32), SftpError> {
        let id = self.new_id();
        let request = body(Request::new(kind, id)).into_bytes();
        self.connection.write_all(&request)?;
        self.connection.flush()?;
        Ok((self.receive()?, id))
    }

    fn new_id(&mut self) -> u32 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }

    /// Receives one packet; returns its kind.
    fn receive(&mut self) -> Result<u8, SftpError> {
        let mut head = [0; 5];
        self.connection.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        if !(1..=LONGEST_PACKET).contains(&length) {
            return Err(SftpError::Protocol("a packet is longer than any of SFTP"));
        }
        self.packet.resize(length as usize - 1, 0);
        self.connection.read_exact(&mut self.packet)?;
        Ok(head[4])
    }

    /// The body of the answer to request `id`.
    fn reply(&self, id: u32) -> Result<Reader<'_>, SftpError> {
        let mut reader = Reader(&self.packet);
        if reader.u32()? != id {
            return Err(SftpError::Protocol("an answer to what was not asked"));
        }
        Ok(reader)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Ok,
    End,
}

/// The good statuses; the others are errors.
fn status(reply: &mut Reader<'_>) -> Result<Option<Status>, SftpError> {
    match reply.u32()? {
        0 => Ok(Some(Status::Ok)),
        1 => Ok(Some(Status::End)),
        2 => Err(SftpError::NotFound),
        3 => Err(SftpError::Denied),
        status => {
            let message = reply.string().map(printable).unwrap_or_default();
            Err(SftpError::Refused { status, message })
        }
    }
}

fn unexpected(kind: u8, mut reply: Reader<'_>) -> SftpError {
    let refused = (kind == STATUS).then(|| status(&mut reply).err()).flatten();
    refused.unwrap_or(SftpError::Protocol("an answer of another kind than asked for"))
}

/// What a server sent, for people: nothing that a terminal would obey, and not at any length.
pub(crate) fn printable(bytes: &[u8]) -> String {
    const LONGEST: usize = 200;
    let text = String::from_utf8_lossy(bytes);
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

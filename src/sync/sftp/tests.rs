//! The client against a server in memory that answers in any order, in any portions, and not always honestly.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, Read, Write};

use proptest::prelude::*;

use super::wire::{CLOSE, DATA, HANDLE, INIT, OPEN, READ, Reader, Request, STATUS, VERSION};
use super::{Handle, Sftp, SftpError, Stopped};
use crate::sync::transport::{Breaker, Connection};

/// Serves one file.
struct Server {
    file: Vec<u8>,
    /// Bytes that it gives at once at most.
    largest: usize,
    /// Which of the waiting requests is answered next.
    seed: u64,
    lie: Lie,
    received: Vec<u8>,
    waiting: VecDeque<Vec<u8>>,
    answer: VecDeque<u8>,
}

#[derive(Clone, Copy, PartialEq)]
enum Lie {
    None,
    WrongId,
    TooMuch,
    Nothing,
    HugePacket,
    Hangup,
}

impl Server {
    fn new(file: Vec<u8>, largest: usize, seed: u64, lie: Lie) -> Self {
        Server { file, largest, seed, lie, received: Vec::new(), waiting: VecDeque::new(), answer: VecDeque::new() }
    }

    fn random(&mut self, below: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) as usize % below
    }

    fn serve(&mut self) {
        let Some(at) = (!self.waiting.is_empty()).then(|| self.random(self.waiting.len())) else { return };
        let Some(packet) = self.waiting.remove(at) else { return };
        let mut reader = Reader(&packet[1..]);
        let id = reader.u32().unwrap();
        let reply = match packet[0] {
            INIT => Request::new(VERSION, 3),
            OPEN => Request::new(HANDLE, id).string(b"h"),
            CLOSE => Request::new(STATUS, id).u32(0).string(b"").string(b""),
            READ => {
                reader.string().unwrap();
                let (from, length) = (reader.u64().unwrap() as usize, reader.u32().unwrap() as usize);
                let id = if self.lie == Lie::WrongId { id + 1000 } else { id };
                let rest = self.file.get(from..).unwrap_or_default();
                let most = self.largest.min(length).min(rest.len());
                match self.lie {
                    _ if rest.is_empty() => Request::new(STATUS, id).u32(1).string(b"end").string(b""),
                    Lie::TooMuch => Request::new(DATA, id).string(&vec![7; length + 1]),
                    Lie::Nothing => Request::new(DATA, id).string(b""),
                    _ => Request::new(DATA, id).string(&rest[..1.max(most)]),
                }
            }
            kind => panic!("not expected: {kind}"),
        };
        self.answer.extend(reply.into_bytes());
        if self.lie == Lie::HugePacket && packet[0] == READ {
            self.answer = [0xff, 0xff, 0xff, 0xff, DATA].into();
        }
    }
}

impl Write for Server {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.received.extend(bytes);
        while self.received.len() >= 4 {
            let length = u32::from_be_bytes(self.received[..4].try_into().unwrap()) as usize;
            if self.received.len() < 4 + length {
                break;
            }
            self.waiting.push_back(self.received[4..4 + length].to_vec());
            self.received.drain(..4 + length);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Server {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.lie == Lie::Hangup && self.waiting.iter().any(|packet| packet[0] == READ) {
            return Ok(0);
        }
        if self.answer.is_empty() {
            self.serve();
        }
        let portion = 1 + self.random(buffer.len().max(1));
        self.answer.read(&mut buffer[..portion])
    }
}

impl Connection for Server {
    fn breaker(&self) -> Breaker {
        Box::new(|| {})
    }
}

fn open(server: Server) -> (Sftp, Handle) {
    let mut sftp = Sftp::start(Box::new(server), "here").unwrap();
    let handle = sftp.open("/file").unwrap();
    (sftp, handle)
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 + i / 251) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bytes_come_in_order_whatever_the_order_of_the_answers(
        length in 0usize..700_000,
        from in 0usize..700_000,
        to in 0usize..800_000,
        largest in prop_oneof![Just(1 << 20), 1000usize..100_000],
        window in prop_oneof![Just(1u64), 1u64..2_000_000],
        seed: u64,
    ) {
        let file = bytes(length);
        let (from, to) = (from.min(to), from.max(to));
        let expected = file.get(from..to.min(length)).unwrap_or_default().to_vec();
        let (mut sftp, handle) = open(Server::new(file, largest, seed, Lie::None));
        let mut got: Vec<u8> = Vec::new();
        let end = sftp.read(&handle, from as u64..to as u64, window, |bytes| {
            got.extend(bytes);
            Ok::<(), Infallible>(())
        });
        prop_assert!(got == expected);
        prop_assert_eq!(end.unwrap(), (from + expected.len()) as u64);
        sftp.close(&handle).unwrap();
    }
}

#[test]
fn pieces_come_whole_or_not_at_all() {
    let file = bytes(500_000);
    let pieces = [0..1000u64, 300_000..500_000];
    for seed in 0..20 {
        let mut sftp = Sftp::start(Box::new(Server::new(file.clone(), 1 << 20, seed, Lie::None)), "here").unwrap();
        let found = sftp.glimpse("/file", &pieces).unwrap().unwrap();
        assert!(found[0] == file[..1000] && found[1] == file[300_000..], "seed {seed}");
        assert!(sftp.open("/file").is_ok(), "every answer has been heard");
    }
    let mut sftp = Sftp::start(Box::new(Server::new(file.clone(), 5000, 1, Lie::None)), "here").unwrap();
    assert_eq!(sftp.glimpse("/file", &pieces).unwrap(), None, "the server gives less at once");
    let past = 499_000..500_001u64;
    let mut sftp = Sftp::start(Box::new(Server::new(file, 1 << 20, 1, Lie::None)), "here").unwrap();
    assert_eq!(sftp.glimpse("/file", std::slice::from_ref(&past)).unwrap(), None, "the file is shorter");
    assert!(sftp.open("/file").is_ok());
}

#[test]
fn lies_are_told_from_files() {
    for (lie, what) in [
        (Lie::WrongId, "an answer to what was not asked"),
        (Lie::TooMuch, "not as many bytes as asked for"),
        (Lie::Nothing, "not as many bytes as asked for"),
        (Lie::HugePacket, "a packet is longer than any of SFTP"),
    ] {
        let (mut sftp, handle) = open(Server::new(bytes(100_000), 1 << 20, 1, lie));
        let read = sftp.read(&handle, 0..100_000, 1 << 20, |_| Ok::<(), Infallible>(()));
        let Err(Stopped::Sftp(SftpError::Protocol(told))) = read else { panic!("{what}: {read:?}") };
        assert_eq!(told, what);
    }
    let (mut sftp, handle) = open(Server::new(bytes(100_000), 1 << 20, 1, Lie::Hangup));
    let read = sftp.read(&handle, 0..100_000, 1 << 20, |_| Ok::<(), Infallible>(()));
    assert!(matches!(read, Err(Stopped::Sftp(SftpError::Lost(_)))));
}

#[test]
fn whoever_takes_the_bytes_can_stop_them() {
    let (mut sftp, handle) = open(Server::new(bytes(1_000_000), 1000, 1, Lie::None));
    let mut got = 0;
    let read = sftp.read(&handle, 0..1_000_000, 1 << 20, |bytes| {
        got += bytes.len();
        if got > 5000 { Err("enough") } else { Ok(()) }
    });
    assert!(matches!(read, Err(Stopped::Taker("enough"))));
    assert!(got <= 6000);
}

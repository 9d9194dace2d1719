//! No file makes the scanner hold more than tens of MiB: files of gigabytes that only exist as a pattern, each made to
//! fill one of its tables.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

use std::io;
use std::ops::ControlFlow;
use std::process::Command;

use embstore_formats::pickle::{ItemRef, ItemSink, Source, scan};

/// A head, then one pattern again and again; `{}` in the pattern is a counter of four bytes.
struct Endless {
    head: &'static [u8],
    unit: Vec<u8>,
    counter: Option<usize>,
}

impl Endless {
    fn new(head: &'static [u8], unit: &[u8]) -> Self {
        let counter = unit.windows(4).position(|four| four == b"{{}}");
        Endless { head, unit: unit.to_vec(), counter }
    }

    fn byte(&self, at: u64) -> u8 {
        let Some(at) = at.checked_sub(self.head.len() as u64) else { return self.head[at as usize] };
        let (count, place) = (at / self.unit.len() as u64, (at % self.unit.len() as u64) as usize);
        match self.counter {
            // Letters, so that the counter may stand in a name.
            Some(start) if (start..start + 4).contains(&place) => {
                b'a' + (count / 26u64.pow((place - start) as u32) % 26) as u8
            }
            _ => self.unit[place],
        }
    }
}

impl Source for Endless {
    fn len(&self) -> u64 {
        1 << 40
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        buf.iter_mut().zip(offset..).for_each(|(byte, at)| *byte = self.byte(at));
        Ok(buf.len())
    }
}

/// Takes every list and stops after a while, where nothing else ends the scan.
struct Patient;

impl ItemSink for Patient {
    fn wants(&mut self, _: Option<&str>) -> bool {
        true
    }

    fn item(&mut self, index: u64, _: ItemRef<'_>) -> ControlFlow<()> {
        if index < 300_000 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// The most memory that this process has used, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

struct Case {
    name: &'static str,
    file: Endless,
    /// How the error begins.
    outcome: &'static str,
}

fn cases() -> Vec<Case> {
    let array = b"\x80\x04cnumpy.core.multiarray\n_reconstruct\n\x94cnumpy\nndarray\nK\0\x85C\x01b\x87\x94(";
    let dict_then_sets = b"\x80\x04cbuiltins\nset\n\x94](KaKbKcKdKeKfKgKhKiKjKkKlKmKnKoe\x85\x94(";
    let long_text = [b"\x8c\x18".as_slice(), b"{{}}".repeat(6).as_slice(), b"0"].concat();
    vec![
        Case { name: "lists in lists", file: Endless::new(b"", b"]"), outcome: "TooManyValues" },
        Case { name: "one-tuples", file: Endless::new(b"N", b"\x85"), outcome: "TooDeep" },
        Case { name: "marks", file: Endless::new(b"", b"("), outcome: "TooManyValues" },
        Case { name: "lists closed at once", file: Endless::new(b"\x80\x04](", b"]]a0"), outcome: "TooManyValues" },
        Case { name: "nones", file: Endless::new(b"(", b"N"), outcome: "TooManyValues" },
        Case { name: "integers thrown away", file: Endless::new(b"", b"M\xff\xff0"), outcome: "TooManyValues" },
        Case { name: "texts thrown away", file: Endless::new(b"", &long_text), outcome: "TooManyValues" },
        Case { name: "memo in sequence", file: Endless::new(b"\x80\x04N", b"\x94"), outcome: "TooManyValues" },
        Case { name: "memo at random", file: Endless::new(b"N", b"r{{}}"), outcome: "TooManyValues" },
        Case {
            name: "tuples of one value again and again",
            file: Endless::new(b"", b"(N222222222222222222222222222222222222222t0"),
            outcome: "TooManyValues",
        },
        Case { name: "arrays", file: Endless::new(array, b"h\0h\x01R0"), outcome: "TooManyValues" },
        Case { name: "sets of one list", file: Endless::new(dict_then_sets, b"h\0h\x01R0"), outcome: "TooManyValues" },
        Case {
            name: "globals",
            file: Endless::new(b"", b"c{{}}\nname\n0"),
            outcome: "TooManyValues { what: \"different globals\"",
        },
        Case {
            name: "items of a list",
            file: Endless::new(b"\x80\x04]", b"(}\x94\x8c\x04{{}}\x94\x8c\x05value\x94se"),
            outcome: "Stopped",
        },
        Case { name: "items one by one", file: Endless::new(b"(l", b"(dS'id'\nV{{}}\nsa"), outcome: "Stopped" },
        Case {
            name: "items that share a text with a neighbour",
            file: Endless::new(b"\x80\x04]", b"(\x8c\x04{{}}\x940h\x00e"),
            outcome: "Stopped",
        },
        Case {
            name: "items that are lists of floats",
            file: Endless::new(b"\x80\x04]", b"](GabcdefghGabcdefghGabcdefghea"),
            outcome: "Stopped",
        },
        Case {
            name: "an irregular memo under a long list",
            file: Endless::new(b"]q\x05q\x01q\x09", b"(M\xff\xffM\xff\xffM\xff\xffM\xff\xffM\xff\xffta"),
            outcome: "TooManyValues",
        },
    ]
}

/// In a process of its own for each case, so that one does not use what another left.
#[test]
fn hostile_files_cost_no_more_than_honest_ones() {
    for index in 0..cases().len() {
        let this = std::env::current_exe().unwrap();
        let mut child = Command::new(this);
        child.args(["--exact", "one_case", "--nocapture"]).env("EMBSTORE_CASE", index.to_string());
        let output = child.output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout);
        println!("{}", shown.lines().filter(|line| line.contains("MiB")).collect::<String>());
        assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Does nothing unless the test above names a case.
#[test]
fn one_case() {
    let Ok(index) = std::env::var("EMBSTORE_CASE") else { return };
    let Case { name, file, outcome } = cases().swap_remove(index.parse().unwrap());
    let got = format!("{:?}", scan(&file, &mut Patient).map(|_| ()).unwrap_err());
    println!("{name}: {got}, {} MiB", peak());
    assert!(got.starts_with(outcome), "{name}: {got}");
    assert!(peak() < 56, "{name}: {} MiB", peak());
}

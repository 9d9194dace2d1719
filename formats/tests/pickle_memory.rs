//! No file makes the scanner hold more than tens of MiB: files of gigabytes that only exist as a pattern, each made to
//! fill one of its tables.

use std::io;
use std::ops::ControlFlow;

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
struct Some1000000;

impl ItemSink for Some1000000 {
    fn wants(&mut self, _: Option<&str>) -> bool {
        true
    }

    fn item(&mut self, index: u64, _: ItemRef<'_>) -> ControlFlow<()> {
        if index < 1_000_000 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// The most memory that this process has used, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn hostile_files_cost_no_more_than_honest_ones() {
    let array = b"\x80\x04cnumpy.core.multiarray\n_reconstruct\n\x94cnumpy\nndarray\nK\0\x85C\x01b\x87\x94(";
    let dict_then_sets = b"\x80\x04cbuiltins\nset\n\x94](KaKbKcKdKeKfKgKhKiKjKkKlKmKnKoe\x85\x94(";
    let cases: [(&str, &[u8], &[u8], &str); 18] = [
        ("lists in lists", b"", b"]", "TooManyValues"),
        ("one-tuples", b"N", b"\x85", "TooDeep"),
        ("marks", b"", b"(", "TooManyValues"),
        ("lists closed at once", b"\x80\x04](", b"]]a0", "TooManyValues"),
        ("nones", b"(", b"N", "TooManyValues"),
        ("integers thrown away", b"", b"M\xff\xff0", "TooManyValues"),
        ("texts thrown away", b"", b"\x8c\xff.{{}}abcdefghijklmnopqrstuvwxyz_-_-abcdefghijklmnopqrstuvwxyz_-_-abcdefghijklmnopqrstuvwxyz_-_-abcdefghijklmnopqrstuvwxyz_-_-abcdefghijklmnopqrstuvwxyz_-_-abcdefghijklmnopqrstuvwxyz_-_-abcdefghijklmnopqrstuvwxyz_-_-abcdefghijklmnopqrstuvwxyz_-_-abcdefghijklmnop0", "TooManyValues"),
        ("memo in sequence", b"\x80\x04N", b"\x94", "TooManyValues"),
        ("memo at random", b"N", b"r{{}}", "TooManyValues"),
        ("tuples of one value again and again", b"N", b"(2222222222222222222222222222222222222222t0", "TooManyValues"),
        ("arrays", array, b"h\0h\x01R0", "TooManyValues"),
        ("sets of one list", dict_then_sets, b"h\0h\x01R0", "TooManyValues"),
        ("globals", b"", b"c{{}}\nname\n0", "TooManyValues { what: \"different globals\""),
        ("items of a list", b"\x80\x04]", b"(}\x94\x8c\x04{{}}\x94\x8c\x05value\x94se", "Stopped"),
        ("items one by one", b"(l", b"(dS'id'\nV{{}}\nsa", "Stopped"),
        ("items that share a text with a neighbour", b"\x80\x04]", b"(\x8c\x04{{}}\x940h\x00e", "Stopped"),
        ("items that are lists of floats", b"\x80\x04]", b"](GabcdefghGabcdefghGabcdefghea", "Stopped"),
        ("an irregular memo under a long list", b"]q\x05q\x01q\x09", b"M\xff\xffa", "TooManyValues"),
    ];
    for (name, head, unit, expected) in cases {
        let got = scan(&Endless::new(head, unit), &mut Some1000000).map(|_| ()).unwrap_err();
        let got = format!("{got:?}");
        println!("{name}: {got}, {} MiB", peak());
        assert!(got.starts_with(expected), "{name}: {got}");
        assert!(peak() < 60, "{name}: {} MiB", peak());
    }
}

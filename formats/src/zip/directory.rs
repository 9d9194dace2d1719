//! The central directory: found from the end of the file, read whole, checked before anything is believed.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;

use super::{Fault, LONGEST_DIRECTORY, Member, Packing, u16_at, u32_at, u64_at};

/// The end record without its comment, which is at most `u16::MAX` bytes long.
const END: u64 = 22;
const ZIP64_END: u64 = 56;
const ZIP64_LOCATOR: u64 = 20;
/// An entry without its name, extra field and comment.
const ENTRY: usize = 46;
/// A local header without its name and extra field.
const LOCAL: u64 = 30;
/// The extra field with the sizes that 32 bits do not hold.
const ZIP64_EXTRA: u16 = 1;

/// Where the directory lies.
struct Place {
    offset: u64,
    size: u64,
    entries: u64,
}

/// The members of an archive, in the order of its directory.
pub(super) fn read(file: &File) -> Result<Vec<Member>, Fault> {
    let len = file.metadata()?.len();
    let place = find(file, len)?;
    if place.size > LONGEST_DIRECTORY {
        return Err(broken(format!("its directory has {} bytes, more than {LONGEST_DIRECTORY}", place.size)));
    }
    let mut bytes = vec![0; place.size as usize];
    file.read_exact_at(&mut bytes, place.offset)?;
    let mut members = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (member, next) = entry(&bytes, at, place.offset)?;
        members.push(member);
        at = next;
    }
    if members.len() as u64 != place.entries {
        return Err(broken(format!("its directory has {} members, not {}", members.len(), place.entries)));
    }
    check_names(&members)?;
    check_places(&mut members, place.offset)?;
    Ok(members)
}

fn broken(what: String) -> Fault {
    Fault::Broken(what)
}

/// Finds the directory. It must end where the records behind it begin: an archive with something before it, or with
/// two directories, is read differently by different programs.
fn find(file: &File, len: u64) -> Result<Place, Fault> {
    let searched = len.min(END + u64::from(u16::MAX));
    let mut tail = vec![0; searched as usize];
    file.read_exact_at(&mut tail, len - searched)?;
    let is_end = |at: &usize| {
        tail[*at..].starts_with(b"PK\x05\x06")
            && tail.len() >= *at + END as usize
            && *at + END as usize + usize::from(u16_at(&tail, *at + 20)) == tail.len()
    };
    let Some(at) = (0..tail.len().saturating_sub(END as usize - 1)).rev().find(is_end) else {
        return Err(broken(format!("the zip archive is cut short: its directory is not at its end, byte {len}")));
    };
    let end = &tail[at..];
    let end_at = len - searched + at as u64;
    let short = Place { entries: u16_at(end, 10).into(), size: u32_at(end, 12).into(), offset: u32_at(end, 16).into() };
    let disks = [u16_at(end, 4), u16_at(end, 6)];
    let (place, directory_end) = match zip64(file, end_at)? {
        Some((long, at)) => {
            let agree = |short: u64, long: u64, full: u64| short == long || short == full;
            if !agree(short.entries, long.entries, u16::MAX.into())
                || !agree(short.size, long.size, u32::MAX.into())
                || !agree(short.offset, long.offset, u32::MAX.into())
            {
                return Err(broken(format!("its two end records, at bytes {at} and {end_at}, contradict each other")));
            }
            (long, at)
        }
        None if disks != [0, 0] => return Err(broken("it is one part of several".into())),
        None => (short, end_at),
    };
    if place.offset.checked_add(place.size) != Some(directory_end) {
        let (offset, size) = (place.offset, place.size);
        return Err(broken(format!("its directory, {size} bytes at {offset}, does not end at byte {directory_end}")));
    }
    Ok(place)
}

/// The end record of zip64 and its place, where there is one before the end record at `end`.
fn zip64(file: &File, end: u64) -> Result<Option<(Place, u64)>, Fault> {
    let Some(locator_at) = end.checked_sub(ZIP64_LOCATOR) else { return Ok(None) };
    let mut locator = [0; ZIP64_LOCATOR as usize];
    file.read_exact_at(&mut locator, locator_at)?;
    if !locator.starts_with(b"PK\x06\x07") {
        return Ok(None);
    }
    let at = u64_at(&locator, 8);
    if at.checked_add(ZIP64_END).is_none_or(|record_end| record_end > locator_at) {
        return Err(broken(format!("its zip64 record is said to be at byte {at}")));
    }
    let mut record = [0; ZIP64_END as usize];
    file.read_exact_at(&mut record, at)?;
    if !record.starts_with(b"PK\x06\x06") {
        return Err(broken(format!("its zip64 record is not at byte {at}")));
    }
    if [u32_at(&record, 16), u32_at(&record, 20)] != [0, 0] {
        return Err(broken("it is one part of several".into()));
    }
    let place = Place { entries: u64_at(&record, 32), size: u64_at(&record, 40), offset: u64_at(&record, 48) };
    Ok(Some((place, at)))
}

/// The entry at `at` of the directory, and where the next one begins.
fn entry(directory: &[u8], at: usize, directory_at: u64) -> Result<(Member, usize), Fault> {
    let place = directory_at + at as u64;
    let cut = || broken(format!("the directory's entry at byte {place} is cut short or none"));
    let rest = &directory[at..];
    if rest.len() < ENTRY || !rest.starts_with(b"PK\x01\x02") {
        return Err(cut());
    }
    let [name_len, extra_len, comment_len] = [28, 30, 32].map(|field| usize::from(u16_at(rest, field)));
    let name = rest.get(ENTRY..ENTRY + name_len).ok_or_else(cut)?;
    let extra = rest.get(ENTRY + name_len..ENTRY + name_len + extra_len).ok_or_else(cut)?;
    let next = at + ENTRY + name_len + extra_len + comment_len;
    if next > directory.len() {
        return Err(cut());
    }
    let flags = u16_at(rest, 8);
    let (mut packed, mut size) = (u64::from(u32_at(rest, 20)), u64::from(u32_at(rest, 24)));
    let mut header = u64::from(u32_at(rest, 42));
    let mut long = zip64_extra(extra);
    for field in [&mut size, &mut packed, &mut header] {
        if *field == u64::from(u32::MAX) {
            let (value, rest) = long.split_first_chunk().ok_or_else(cut)?;
            *field = u64::from_le_bytes(*value);
            long = rest;
        }
    }
    let packing = match u16_at(rest, 10) {
        _ if flags & 1 != 0 => Packing::Encrypted,
        0 => Packing::Stored,
        8 => Packing::Deflated,
        method => Packing::Other(method),
    };
    let name = String::from_utf8_lossy(name).into_owned();
    if packing == Packing::Stored && packed != size {
        return Err(broken(format!("the stored member {name:?} has {packed} bytes and is said to have {size}")));
    }
    Ok((Member { name, packing, crc: u32_at(rest, 16), packed, size, header, limit: 0 }, next))
}

/// The values of the zip64 field; nothing where there is none.
fn zip64_extra(mut extra: &[u8]) -> &[u8] {
    while extra.len() >= 4 {
        let (id, len) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        let Some(value) = extra.get(4..4 + len) else { break };
        if id == ZIP64_EXTRA {
            return value;
        }
        extra = &extra[4 + len..];
    }
    &[]
}

fn check_names(members: &[Member]) -> Result<(), Fault> {
    let mut seen = HashSet::with_capacity(members.len());
    match members.iter().find(|member| !seen.insert(member.name.as_str())) {
        Some(twice) => Err(broken(format!("the member {:?} is there twice", twice.name))),
        None => Ok(()),
    }
}

/// Every member must end before the next one begins, and the last one before the directory.
fn check_places(members: &mut [Member], directory: u64) -> Result<(), Fault> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|index| members[*index].header);
    let starts: Vec<u64> = order.iter().map(|index| members[*index].header).chain([directory]).collect();
    for (index, limit) in order.into_iter().zip(starts.into_iter().skip(1)) {
        let member = &mut members[index];
        let end = member.header.checked_add(LOCAL).and_then(|data| data.checked_add(member.packed));
        if end.is_none_or(|end| end > limit) {
            let Member { name, header, packed, .. } = member;
            let what =
                format!("the member {name:?} at byte {header} has {packed} bytes, which reach into what follows");
            return Err(broken(format!("{what} at {limit}")));
        }
        member.limit = limit;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive with one stored member `a` of three bytes, and where its parts begin.
    fn archive(extra: &[u8], sizes: u32, zip64: bool) -> Vec<u8> {
        let mut bytes = [b"PK\x03\x04".as_slice(), &[0; 22], &[1, 0, 0, 0], b"aXYZ"].concat();
        let directory = bytes.len() as u32;
        let head = [b"PK\x01\x02".as_slice(), &[0; 12], &7u32.to_le_bytes(), &sizes.to_le_bytes()].concat();
        bytes.extend([head, sizes.to_le_bytes().into(), vec![1, 0, extra.len() as u8, 0]].concat());
        bytes.extend([&[0; 14], b"a".as_slice(), extra].concat());
        let size = bytes.len() as u32 - directory;
        let record_at = bytes.len() as u64;
        if zip64 {
            let long = [1, 1, u64::from(size), u64::from(directory)].map(u64::to_le_bytes).concat();
            bytes.extend([b"PK\x06\x06".as_slice(), &[0; 20], &long].concat());
            bytes.extend([b"PK\x06\x07\0\0\0\0".as_slice(), &record_at.to_le_bytes(), &[1, 0, 0, 0]].concat());
        }
        bytes.extend([b"PK\x05\x06".as_slice(), &[0; 4], &[1, 0, 1, 0]].concat());
        let short = if zip64 { [u32::MAX; 2] } else { [size, directory] };
        bytes.extend([short.map(u32::to_le_bytes).concat(), vec![2, 0, b'o', b'k']].concat());
        bytes
    }

    fn members(bytes: &[u8]) -> Result<Vec<Member>, String> {
        let file = tempfile::tempfile().expect("a file");
        file.write_all_at(bytes, 0).expect("written");
        read(&file).map_err(|fault| format!("{fault:?}"))
    }

    #[test]
    fn sizes_come_from_the_directory_in_either_width() {
        let extra = [[1, 0, 16, 0].as_slice(), &3u64.to_le_bytes(), &3u64.to_le_bytes()].concat();
        for bytes in [archive(&[], 3, false), archive(&extra, u32::MAX, false), archive(&extra, u32::MAX, true)] {
            let found = members(&bytes).expect("sound");
            let member = &found[0];
            assert_eq!((member.name.as_str(), member.packed, member.size, member.crc), ("a", 3, 3, 7));
            assert_eq!((member.header, member.limit, member.packing), (0, 34, Packing::Stored));
        }
    }

    #[test]
    fn what_reaches_too_far_is_refused() {
        assert!(members(&archive(&[], 5, false)).expect_err("too long").contains("reach into what follows at 34"));
        let extra = [[1, 0, 16, 0].as_slice(), &[0xff; 16]].concat();
        assert!(members(&archive(&extra, u32::MAX, false)).expect_err("too long").contains("reach into"));
        assert!(members(&archive(&[], u32::MAX, false)).expect_err("no zip64 field").contains("cut short"));
    }

    #[test]
    fn every_truncation_and_every_changed_byte_ends_in_a_result() {
        let whole = archive(&[1, 0, 0, 0], 3, true);
        for len in 0..whole.len() {
            assert!(members(&whole[..len]).is_err(), "{len}");
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                let _ = members(&changed);
            }
        }
    }
}

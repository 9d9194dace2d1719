//! Numbers, times and names as people read them.

use std::cmp::Ordering;
use std::time::SystemTime;

/// `1234567` as `1,234,567`.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes as `1,234.56 MB` (10⁶ bytes).
#[must_use]
pub fn megabytes(bytes: u64) -> String {
    let hundredths = (u128::from(bytes) + 5_000) / 10_000;
    format!("{}.{:02} MB", thousands((hundredths / 100) as u64), hundredths % 100)
}

/// ISO 8601 in UTC, to the second, as every Python since 3.7 parses it.
#[must_use]
pub fn iso8601(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .map_or_else(|_| "unknown".into(), |time| time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string())
}

/// Order of names as people expect it: runs of digits compare as numbers, so `part-2` comes before `part-10`.
#[must_use]
pub fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (Some(x), Some(y)) = (left.chars().next(), right.chars().next()) else {
            return left.len().cmp(&right.len()).then_with(|| a.cmp(b));
        };
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (number_a, rest_a) = split_number(left);
            let (number_b, rest_b) = split_number(right);
            let order = number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b));
            if order != Ordering::Equal {
                return order;
            }
            (left, right) = (rest_a, rest_b);
        } else if x != y {
            return x.cmp(&y);
        } else {
            (left, right) = (&left[x.len_utf8()..], &right[y.len_utf8()..]);
        }
    }
}

/// The digits at the start, without leading zeros, and the rest.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].trim_start_matches('0'), &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sizes() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(250_010), "250,010");
        assert_eq!(megabytes(768_004_096), "768.00 MB");
        assert_eq!(megabytes(1_234_567_890), "1,234.57 MB");
    }

    #[test]
    fn names_sort_as_people_expect() {
        let mut names = ["part-10", "part-2", "part-02b", "Part-1", "part-2b", "part"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(names, ["Part-1", "part", "part-2", "part-02b", "part-2b", "part-10"]);
    }

    #[test]
    fn times_are_iso_8601() {
        assert_eq!(iso8601(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00+00:00");
    }
}

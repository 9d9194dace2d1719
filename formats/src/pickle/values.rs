//! Dates, numbers and other values that are only ever shown, as Python would print them.

use super::node::{Node, NodeId, Shown};
use super::tree::Tree;

impl Shown {
    /// The class, for messages.
    pub(super) fn type_name(self) -> &'static str {
        match self {
            Shown::Date => "datetime.date",
            Shown::Time => "datetime.time",
            Shown::DateTime => "datetime.datetime",
            Shown::TimeZone => "datetime.timezone",
            Shown::Decimal => "decimal.Decimal",
            Shown::Fraction => "fractions.Fraction",
            Shown::Uuid => "uuid.UUID",
            Shown::Path => "pathlib.Path",
            Shown::Range => "range",
            Shown::Slice => "slice",
        }
    }
}

/// The text of a value that is made by calling its class with `args`; `None` where no writer would have done so.
pub(super) fn show(tree: &Tree, kind: Shown, args: &[NodeId]) -> Option<String> {
    let text = |id: NodeId| tree.text(id);
    match (kind, args) {
        (Shown::Date, &[state]) => date(tree.bytes(state)?.as_ref().try_into().ok()?),
        (Shown::Time, &[state]) => time(tree.bytes(state)?.as_ref().try_into().ok()?),
        (Shown::Time, &[state, zone]) => {
            Some(time(tree.bytes(state)?.as_ref().try_into().ok()?)? + &offset(tree, zone)?)
        }
        (Shown::DateTime, &[state]) => date_time(&tree.bytes(state)?),
        (Shown::DateTime, &[state, zone]) => Some(date_time(&tree.bytes(state)?)? + &offset(tree, zone)?),
        (Shown::TimeZone, &[delta] | &[delta, _]) => match *tree.node(delta) {
            Node::TimeDelta { seconds, .. } => Some(utc_offset(seconds)),
            _ => None,
        },
        (Shown::Decimal, &[value]) => Some(text(value)?.into_owned()),
        (Shown::Fraction, &[value]) => Some(text(value)?.into_owned()),
        (Shown::Fraction, &[over, under]) => match tree.int_text(under)?.as_str() {
            "1" => tree.int_text(over),
            under => Some(format!("{}/{under}", tree.int_text(over)?)),
        },
        (Shown::Path, parts) => {
            let parts = parts.iter().map(|&part| text(part)).collect::<Option<Vec<_>>>()?;
            Some(if parts.is_empty() { ".".into() } else { parts.join("/").replacen("//", "/", 1) })
        }
        (Shown::Range, &[stop]) => Some(format!("range(0, {})", tree.int_text(stop)?)),
        (Shown::Range, &[start, stop]) => Some(format!("range({}, {})", tree.int_text(start)?, tree.int_text(stop)?)),
        (Shown::Range, &[start, stop, step]) => {
            let (start, stop, step) = (tree.int_text(start)?, tree.int_text(stop)?, tree.int_text(step)?);
            Some(if step == "1" {
                format!("range({start}, {stop})")
            } else {
                format!("range({start}, {stop}, {step})")
            })
        }
        (Shown::Slice, &[start, stop, step]) => {
            Some(format!("slice({}, {}, {})", bound(tree, start)?, bound(tree, stop)?, bound(tree, step)?))
        }
        _ => None,
    }
}

/// A bound of a slice: a number or nothing.
fn bound(tree: &Tree, id: NodeId) -> Option<String> {
    match tree.node(id) {
        Node::None => Some("None".into()),
        _ => tree.int_text(id),
    }
}

fn date([high, low, month, day]: [u8; 4]) -> Option<String> {
    (month <= 12 && day <= 31).then(|| format!("{:04}-{month:02}-{day:02}", u16::from_be_bytes([high, low])))
}

fn time([hour, minute, second, a, b, c]: [u8; 6]) -> Option<String> {
    // The top bit is `fold`: which of two equal times, when clocks are set back.
    let hour = hour & 0x7f;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let micros = u32::from_be_bytes([0, a, b, c]);
    let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
    Some(format!("{hour:02}:{minute:02}:{second:02}{fraction}"))
}

fn date_time(state: &[u8]) -> Option<String> {
    let (day, clock) = state.split_first_chunk::<4>()?;
    // Here `fold` is the top bit of the month.
    let [high, low, month, day] = *day;
    Some(format!("{}T{}", date([high, low, month & 0x7f, day])?, time(clock.try_into().ok()?)?))
}

/// What a time zone adds to a date in ISO 8601.
fn offset(tree: &Tree, zone: NodeId) -> Option<String> {
    match *tree.node(zone) {
        Node::None => Some(String::new()),
        Node::Shown(Shown::TimeZone, at) => Some(String::from_utf8_lossy(tree.inline(zone, at)).into_owned()),
        _ => None,
    }
}

fn utc_offset(seconds: i64) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let all = seconds.unsigned_abs();
    let (hours, minutes, rest) = (all / 3600, all / 60 % 60, all % 60);
    let rest = if rest == 0 { String::new() } else { format!(":{rest:02}") };
    format!("{sign}{hours:02}:{minutes:02}{rest}")
}

/// A duration as Python's `str` writes it.
pub(super) fn time_delta(seconds: i64, micros: u32) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let days = match days {
        0 => String::new(),
        1 | -1 => format!("{days} day, "),
        _ => format!("{days} days, "),
    };
    let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
    format!("{days}{}:{:02}:{:02}{fraction}", rest / 3600, rest / 60 % 60, rest % 60)
}

/// A complex number as Python's `str` writes it, but for exponents.
pub(super) fn complex(re: f64, im: f64) -> String {
    if re == 0.0 && re.is_sign_positive() { format!("{im}j") } else { format!("({re}{im:+}j)") }
}

/// A UUID from its 128 bits in decimal.
pub(super) fn uuid(digits: &str) -> Option<String> {
    let hex = format!("{:032x}", digits.parse::<u128>().ok()?);
    Some([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

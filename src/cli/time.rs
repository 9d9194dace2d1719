//! Times as people write them.

use std::time::Duration;

/// `30`, `30s`, `5m` or `2h`: from a tenth of a second to a day.
pub(super) fn parse_time(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[number.len()..] {
        "" | "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    };
    let seconds = unit.zip(number.trim().parse::<f64>().ok()).map(|(unit, number)| unit * number);
    let seconds = seconds.ok_or("a time is expected, such as 30, 60s or 5m")?;
    if !(0.1..=86_400.0).contains(&seconds) {
        return Err("from 0.1 s up to a day".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Seconds as `12 s`, `3 min 20 s` or `2 h 5 min`.
#[cfg(feature = "embed")]
pub(super) fn spoken(seconds: f64) -> String {
    match seconds.max(0.0).round() as u64 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(parse_time("30"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_time("0.5s"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_time("5 m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_time("2h"), Ok(Duration::from_secs(7200)));
        for bad in ["", "0", "s", "soon", "1x", "-5", "25h", "1e99", "NaN", "inf"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }

    #[cfg(feature = "embed")]
    #[test]
    fn times_are_told_as_people_tell_them() {
        for (seconds, told) in [(0.4, "0 s"), (119.4, "119 s"), (200.0, "3 min 20 s"), (7500.0, "2 h 5 min")] {
            assert_eq!(spoken(seconds), told);
        }
    }
}

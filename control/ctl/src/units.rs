//! Numbers as people read them.

use std::time::Duration;

/// A duration with its two greatest units: `2d03h`, `1h02m`, `4m05s`, `3.2s`, `15ms`.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match seconds {
        86_400.. => format!("{days}d{hours:02}h"),
        3_600.. => format!("{hours}h{minutes:02}m"),
        60.. => format!("{minutes}m{:02}s", seconds % 60),
        10.. => format!("{seconds}s"),
        1.. => format!("{seconds}.{}s", duration.subsec_millis() / 100),
        0 if duration.is_zero() => "0s".to_owned(),
        0 => format!("{}ms", duration.as_millis()),
    }
}

/// Octets: `512 B`, `1.5 KiB`, `20 MiB`.
pub(crate) fn octets(count: u64) -> String {
    scaled(count as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"])
}

/// A count that may be large: `999`, `12.3k`, `4.5M`.
pub(crate) fn short(count: f64) -> String {
    scaled(count, 1000.0, &["", "k", "M", "G", "T"]).replace(' ', "")
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut units = units.iter().peekable();
    let mut unit = *units.next().unwrap_or(&"");
    let first = unit;
    // 999.95 would be written as 1000.0.
    while value >= step - step / 20_000.0 {
        let Some(next) = units.next() else { break };
        value /= step;
        unit = next;
    }
    let digits = usize::from(unit != first && value < 99.95);
    format!("{value:.digits$} {unit}").trim_end().to_owned()
}

/// A count with its thousands apart: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 object`, `2 objects`.
pub(crate) fn plural(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", count(number))
}

/// A share of 1 as a percentage.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// The duration of a message; one that is negative or absent is zero.
pub(crate) fn duration(message: Option<&prost_types::Duration>) -> Duration {
    message.and_then(|message| Duration::try_from(*message).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_show_their_two_greatest_units() {
        let text =
            [0, 15, 3_250, 42_000, 245_000, 3_720_000, 183_600_000].map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(text, ["0s", "15ms", "3.2s", "42s", "4m05s", "1h02m", "2d03h"]);
    }

    #[test]
    fn counts_are_grouped_or_shortened() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 999.0, 12_345.0, 999_999.0].map(short), ["0", "999", "12.3k", "1.0M"]);
        assert_eq!(
            [0, 512, 1_536, 20 << 20, 200 << 30].map(octets),
            ["0 B", "512 B", "1.5 KiB", "20.0 MiB", "200 GiB"]
        );
    }
}

//! Durations and sizes as people write them: `500ms`, `30s`, `1m`, `64KiB`, `4MiB`.

use std::time::Duration;

const DURATION_UNITS: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const SIZE_UNITS: &[(&str, u64)] = &[
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
    ("", 1),
];

/// What a duration looks like.
pub const DURATION_HINT: &str = "write a number and a unit, such as 500ms, 30s, 1m, 2h or 7d";

/// What a size looks like.
pub const SIZE_HINT: &str = "write bytes, or a number and a unit, such as 64KiB, 4MiB or 1MB";

/// Reads a duration: a number (fractions allowed) and a unit.
pub fn duration(text: &str) -> Option<Duration> {
    amount(text, DURATION_UNITS).map(Duration::from_millis)
}

/// Reads a size in bytes.
pub fn size(text: &str) -> Option<u64> {
    amount(text, SIZE_UNITS)
}

/// Writes a duration so that [`duration`] reads it again, in the largest unit that divides it.
pub fn duration_text(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let divides = |(_, unit): &&(&str, u64)| millis.is_multiple_of(*unit);
    let (name, unit) = DURATION_UNITS.iter().find(divides).copied().unwrap_or(("ms", 1));
    format!("{}{name}", millis / unit)
}

/// Writes a size so that [`size`] reads it again, in the largest unit that divides it.
pub fn size_text(bytes: u64) -> String {
    let divides = |(_, unit): &&(&str, u64)| bytes > 0 && unit.is_power_of_two() && bytes.is_multiple_of(*unit);
    match SIZE_UNITS.iter().find(divides) {
        Some((name, unit)) if *unit > 1 => format!("{}{name}", bytes / unit),
        _ => bytes.to_string(),
    }
}

fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = units.iter().find(|(name, _)| *name == unit.trim_start())?.1;
    let number = number.replace('_', "");
    let Some((whole, fraction)) = number.split_once('.') else {
        return number.parse::<u64>().ok()?.checked_mul(factor);
    };
    let scale = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = fraction.parse::<u64>().ok()?.checked_mul(factor)?;
    let total = whole.parse::<u64>().ok()?.checked_mul(factor)?.checked_add(part / scale)?;
    part.is_multiple_of(scale).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        let read = |text| duration(text).map(|duration| duration.as_millis());
        assert_eq!(read("500ms"), Some(500));
        assert_eq!(read("30s"), Some(30_000));
        assert_eq!(read("1.5m"), Some(90_000));
        assert_eq!(read("2 h"), Some(7_200_000));
        assert_eq!(read("7d"), Some(604_800_000));
        for wrong in ["", "10", "1 minute", "-1s", "1.s", "s", "1m30s", "0.0001s", "99999999999999999d"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_read_in_both_families_of_units() {
        assert_eq!(size("4MiB"), Some(4 << 20));
        assert_eq!(size("64KiB"), Some(65_536));
        assert_eq!(size("1MB"), Some(1_000_000));
        assert_eq!(size("0.5 GiB"), Some(1 << 29));
        assert_eq!(size("1_000"), Some(1_000));
        assert_eq!(size("4 megs"), None);
        assert_eq!(size("99999999999GiB"), None);
    }

    #[test]
    fn what_is_written_reads_back() {
        for millis in [0, 1, 1500, 60_000, 90_000, 86_400_000, 604_800_000] {
            let given = Duration::from_millis(millis);
            assert_eq!(duration(&duration_text(given)), Some(given));
        }
        assert_eq!(duration_text(Duration::from_secs(90)), "90s");
        for bytes in [0, 1, 1000, 65_536, 4 << 20, (4 << 20) + 1] {
            assert_eq!(size(&size_text(bytes)), Some(bytes));
        }
        assert_eq!(size_text(65_536), "64KiB");
    }
}

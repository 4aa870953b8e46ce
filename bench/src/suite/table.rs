//! Rows of measurements, and the table they are shown in.

use std::fmt::Write as _;

use serde::Serialize;

/// One measured thing.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    /// What is to be reached.
    pub(crate) target: Option<Target>,
    /// One for each repetition; the median is shown.
    pub(crate) values: Vec<f64>,
    /// What else was measured, each the median.
    pub(crate) beside: Vec<Beside>,
    pub(crate) note: &'static str,
}

/// Something measured beside a row's value.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Beside {
    pub(crate) name: &'static str,
    pub(crate) target: Option<Target>,
    pub(crate) value: f64,
}

/// A bound.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Target {
    AtLeast(f64),
    Below(f64),
}

impl Target {
    /// Whether a value keeps it.
    pub(crate) fn met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::Below(bound) => value < bound,
        }
    }

    fn shown(self) -> String {
        match self {
            Self::AtLeast(bound) => format!(">= {}", number(bound)),
            Self::Below(bound) => format!("< {}", number(bound)),
        }
    }
}

impl Row {
    /// A row.
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, target: Option<Target>, values: Vec<f64>) -> Self {
        Self { name: name.into(), unit, target, values, beside: Vec::new(), note: "" }
    }

    /// The same with something beside its value: the median of these.
    pub(crate) fn beside(mut self, name: &'static str, target: Option<Target>, values: &[f64]) -> Self {
        self.beside.push(Beside { name, target, value: median(values) });
        self
    }

    /// The same with a remark.
    pub(crate) fn note(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }

    /// The median of its values.
    pub(crate) fn median(&self) -> f64 {
        median(&self.values)
    }
}

/// The median; of an even number, the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle).copied().unwrap_or(f64::NAN);
    if sorted.len() % 2 == 1 {
        return upper;
    }
    sorted.get(middle.wrapping_sub(1)).map_or(upper, |lower| f64::midpoint(*lower, upper))
}

/// A number with as many digits as mean something.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 1000.0 => {
            let digits = format!("{value:.0}");
            let mut out = String::new();
            for (at, digit) in digits.chars().enumerate() {
                if at > 0 && (digits.len() - at) % 3 == 0 {
                    out.push(',');
                }
                out.push(digit);
            }
            out
        }
        tens if tens >= 10.0 => format!("{value:.0}"),
        ones if ones >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// The rows as a Markdown table.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut out = String::from("| work | target | here | spread | beside |\n|---|---|---|---|---|\n");
    for row in rows {
        let value = row.median();
        let spread = match row.values.len() {
            0 | 1 => String::new(),
            count => {
                let (low, high) = row
                    .values
                    .iter()
                    .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
                format!("{} to {} in {count}", number(low), number(high))
            }
        };
        let beside: Vec<String> = row.beside.iter().map(shown).collect();
        let note = if row.note.is_empty() { String::new() } else { format!(" ({})", row.note) };
        // Writing into a string does not fail.
        let _written = writeln!(
            out,
            "| {}{note} | {} | {} {}{} | {spread} | {} |",
            row.name,
            row.target.map(Target::shown).unwrap_or_default(),
            number(value),
            row.unit,
            missed(row.target, value),
            beside.join("; ")
        );
    }
    out
}

fn shown(beside: &Beside) -> String {
    let target = beside.target.map(|target| format!(" ({})", target.shown())).unwrap_or_default();
    format!("{} {}{target}{}", beside.name, number(beside.value), missed(beside.target, beside.value))
}

fn missed(target: Option<Target>, value: f64) -> &'static str {
    if target.is_none_or(|target| target.met(value)) { "" } else { " **missed**" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0])), (2.0, 2.5));
    }

    #[test]
    fn a_missed_target_is_marked_and_a_kept_one_is_not() {
        let row = |value| Row::new("ingest", "runs/s", Some(Target::AtLeast(20_000.0)), vec![value]);
        assert!(table(&[row(19_999.0)]).contains(">= 20,000 | 19,999 runs/s **missed**"));
        assert!(table(&[row(26_000.0)]).contains("| 26,000 runs/s |"));
    }
}

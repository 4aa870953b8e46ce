//! Line charts as SVG, with a logarithmic axis to the right.

use std::fmt::Write as _;

/// A line: its name, and its points.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A chart.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) across: &'static str,
    pub(crate) up: &'static str,
    pub(crate) lines: Vec<Line>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 610.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 260.0;
const COLOURS: [&str; 4] = ["#1f6feb", "#d1242f", "#1a7f37", "#8250df"];

impl Chart {
    /// The chart as a picture.
    pub(crate) fn svg(&self) -> Result<String, std::fmt::Error> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let least = points().map(|point| point.0).fold(f64::MAX, f64::min).max(1.0).log10();
        let most = points().map(|point| point.0).fold(1.0, f64::max).log10();
        let top = ceiling(points().map(|point| point.1).fold(0.0, f64::max));
        let across = |value: f64| LEFT + (value.max(1.0).log10() - least) / (most - least).max(1e-9) * (RIGHT - LEFT);
        let up = |value: f64| BOTTOM - value / top * (BOTTOM - TOP);
        let mut out = String::new();
        writeln!(
            out,
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>
<text x="{LEFT}" y="22" font-size="14" font-weight="bold">{}</text>
<text x="{RIGHT}" y="300" text-anchor="end">{}</text>
<text x="{LEFT}" y="300">{}</text>"##,
            self.title, self.across, self.up
        )?;
        for step in 0..=4 {
            let value = top * f64::from(step) / 4.0;
            let y = up(value);
            writeln!(out, r##"<path d="M{LEFT} {y:.1}H{RIGHT}" stroke="#d8dee4"/>"##)?;
            writeln!(out, r#"<text x="62" y="{:.1}" text-anchor="end">{}</text>"#, y + 4.0, short(value))?;
        }
        for (x, _) in self.lines.first().map(|line| line.points.as_slice()).unwrap_or_default() {
            writeln!(out, r#"<text x="{:.1}" y="278" text-anchor="middle">{}</text>"#, across(*x), short(*x))?;
        }
        for (number, (line, colour)) in self.lines.iter().zip(COLOURS).enumerate() {
            let path: Vec<String> =
                line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", across(*x), up(*y))).collect();
            writeln!(out, r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#, path.join(" "))?;
            for (x, y) in &line.points {
                writeln!(out, r#"<circle cx="{:.1}" cy="{:.1}" r="3" fill="{colour}"/>"#, across(*x), up(*y))?;
            }
            let y = 56.0 + 16.0 * f64::from(u8::try_from(number).unwrap_or(u8::MAX));
            writeln!(out, r#"<text x="{RIGHT}" y="{y}" text-anchor="end" fill="{colour}">{}</text>"#, line.name)?;
        }
        out.push_str("</svg>\n");
        Ok(out)
    }
}

/// The next round number.
fn ceiling(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 4.0, 5.0, 8.0, 10.0].map(|step| step * power).into_iter().find(|step| *step >= value).unwrap_or(1.0)
}

fn short(value: f64) -> String {
    match value {
        millions if millions >= 1e6 => format!("{}M", millions / 1e6),
        thousands if thousands >= 1e3 => format!("{}k", thousands / 1e3),
        whole if whole.fract() == 0.0 => format!("{whole:.0}"),
        part => format!("{part:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_holds_every_point_between_its_axes() {
        let line = Line { name: "runs/s", points: vec![(10.0, 5.0), (1000.0, 10.0)] };
        let chart = Chart { title: "t", across: "rules", up: "runs/s", lines: vec![line] };
        let svg = chart.svg().unwrap();
        assert!(svg.contains(r#"cx="70.0" cy="150.0""#) && svg.contains(r#"cx="610.0" cy="40.0""#), "{svg}");
        assert!(svg.contains(">1k<"), "{svg}");
    }

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!([0.7, 11.0, 4300.0].map(|value| format!("{:.1}", ceiling(value))), ["0.8", "20.0", "5000.0"]);
    }
}

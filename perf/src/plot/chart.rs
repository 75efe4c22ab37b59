//! A chart as SVG: lines over a scale, or bars by name. Just what these results need.

use std::fmt::Write;

/// How the horizontal axis runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Decades, marked as numbers.
    Numbers,
    /// Powers of two, marked as octets.
    Octets,
}

/// What a chart shows.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Points `(x, least, middle, most)` of each series, x on a logarithmic scale.
    Lines(Scale, Vec<Series>),
    /// The same over numbers, with decades on the vertical axis as well: for what differs by tens.
    Decades(Vec<Series>),
    /// A name, and least, middle and most, from the top down.
    Bars(Vec<(String, [f64; 3])>),
}

/// One line.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// `(x, [least, middle, most])`, by x.
    pub points: Vec<(f64, [f64; 3])>,
    /// Drawn broken: something to compare with.
    pub faint: bool,
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What is to be seen.
    pub title: String,
    /// What the horizontal axis counts.
    pub x: String,
    /// What the vertical axis counts.
    pub y: String,
    /// Where it comes from.
    pub caption: String,
    /// The data.
    pub kind: Kind,
}

const WIDTH: f64 = 760.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 74.0;
const COLORS: [&str; 6] = ["#2563a8", "#c2571a", "#3b7d3b", "#7d4fa3", "#8a6d1d", "#5b6470"];
const INK: &str = "#1f2428";
const QUIET: &str = "#6b7178";

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A round step that cuts `most` into some four to eight parts.
fn step(most: f64) -> f64 {
    let rough = (most / 6.0).max(f64::MIN_POSITIVE);
    let decade = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|f| f * decade).find(|s| *s >= rough).unwrap_or(rough)
}

fn short(x: f64, scale: Scale) -> String {
    let units: &[(f64, &str)] = match scale {
        Scale::Numbers => &[(1e6, "M"), (1e3, "k")],
        Scale::Octets => &[(1073741824.0, " GB"), (1048576.0, " MB"), (1024.0, " KB")],
    };
    units.iter().find(|(u, _)| x >= *u).map_or(format!("{x}"), |(u, name)| format!("{}{name}", x / u))
}

impl Chart {
    /// As a file.
    pub fn svg(&self) -> String {
        let height = match &self.kind {
            Kind::Lines(..) | Kind::Decades(_) => 430.0,
            Kind::Bars(bars) => TOP + BOTTOM + 26.0 * bars.len() as f64,
        };
        let mut s = String::new();
        let _ = write!(
            s,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" font-family=\"DejaVu Sans, sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
             <text x=\"16\" y=\"28\" font-size=\"16\" fill=\"{INK}\">{}</text>\n\
             <text x=\"16\" y=\"{}\" font-size=\"10\" fill=\"{QUIET}\">{}</text>\n",
            escape(&self.title),
            height - 12.0,
            escape(&self.caption)
        );
        match &self.kind {
            Kind::Lines(scale, series) => self.lines(&mut s, height, *scale, series, false),
            Kind::Decades(series) => self.lines(&mut s, height, Scale::Numbers, series, true),
            Kind::Bars(bars) => self.bars(&mut s, height, bars),
        }
        s.push_str("</svg>\n");
        s
    }

    fn lines(&self, s: &mut String, height: f64, scale: Scale, series: &[Series], decades: bool) {
        let all = || series.iter().flat_map(|l| &l.points);
        let (first, last) = all().fold((f64::MAX, f64::MIN), |(a, b), (x, _)| (a.min(x.ln()), b.max(x.ln())));
        let most = all().fold(0f64, |m, (_, y)| m.max(y[2]));
        let (right, bottom) = (WIDTH - RIGHT, height - BOTTOM);
        let x = |v: f64| LEFT + (v.ln() - first) / (last - first).max(1e-9) * (right - LEFT);
        let marks = if decades {
            // From the decade below the least to the one above the most.
            let least = all().fold(f64::MAX, |m, (_, y)| m.min(y[0])).max(0.1);
            let (from, to) = (least.log10().floor() as i32, most.max(1.0).log10().ceil() as i32);
            (from..=to.max(from + 1)).map(|n| 10f64.powi(n)).collect()
        } else {
            let step = step(most);
            (0..=(most / step).ceil().max(1.0) as i32).map(|n| f64::from(n) * step).collect::<Vec<_>>()
        };
        let (low, top) = (marks.first().copied().unwrap_or(0.0), marks.last().copied().unwrap_or(1.0));
        let y = |v: f64| {
            let share = if decades { (v.max(low) / low).ln() / (top / low).ln() } else { v / top.max(1e-9) };
            bottom - share * (bottom - TOP)
        };
        for v in marks {
            let at = y(v);
            let _ = writeln!(
                s,
                "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#e4e7ea\"/>"
            );
            let _ = writeln!(
                s,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"{QUIET}\">{v}</text>",
                LEFT - 8.0,
                at + 4.0
            );
        }
        let factor = if scale == Scale::Numbers { 10.0 } else { 8.0 };
        let mut v = if scale == Scale::Numbers { 1.0 } else { 1024.0 };
        while v <= last.exp() * 1.001 {
            if v >= first.exp() * 0.999 {
                let at = x(v);
                let _ = writeln!(
                    s,
                    "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{bottom}\" y2=\"{}\" stroke=\"{QUIET}\"/>",
                    bottom + 5.0
                );
                let _ = writeln!(
                    s,
                    "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"{QUIET}\">{}</text>",
                    bottom + 20.0,
                    short(v, scale)
                );
            }
            v *= factor;
        }
        let _ = writeln!(
            s,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"{INK}\">{}</text>",
            (LEFT + right) / 2.0,
            bottom + 40.0,
            escape(&self.x)
        );
        let _ = writeln!(s, "<text x=\"16\" y=\"46\" fill=\"{INK}\">{}</text>", escape(&self.y));
        // Names at the lines' ends, moved apart where they would overlap.
        let mut ends: Vec<(f64, usize)> =
            series.iter().enumerate().filter_map(|(n, l)| Some((y(l.points.last()?.1[1]), n))).collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut lowest = TOP - 15.0;
        for (at, n) in ends {
            let (line, color) = (&series[n], COLORS[n % COLORS.len()]);
            let dash = if line.faint { " stroke-dasharray=\"5 4\"" } else { "" };
            let points: Vec<String> =
                line.points.iter().map(|(px, py)| format!("{:.1},{:.1}", x(*px), y(py[1]))).collect();
            let _ = writeln!(
                s,
                "<polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"{dash} points=\"{}\"/>",
                points.join(" ")
            );
            for (px, py) in &line.points {
                let at = x(*px);
                let _ = writeln!(
                    s,
                    "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{color}\"/>",
                    y(py[0]),
                    y(py[2])
                );
                let _ =
                    writeln!(s, "<circle cx=\"{at:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{color}\"/>", y(py[1]));
            }
            let label = at.max(lowest + 15.0);
            lowest = label;
            let value = line.points.last().map_or(0.0, |p| p.1[1]);
            let _ = writeln!(
                s,
                "<text x=\"{}\" y=\"{:.1}\" fill=\"{color}\">{} {value}</text>",
                right + 10.0,
                label + 4.0,
                escape(&line.name)
            );
        }
    }

    fn bars(&self, s: &mut String, height: f64, bars: &[(String, [f64; 3])]) {
        let most = bars.iter().fold(0f64, |m, (_, v)| m.max(v[2]));
        let (left, right) = (250.0, WIDTH - 80.0);
        let x = |v: f64| left + v / most.max(1e-9) * (right - left);
        for (n, (name, [least, middle, top])) in bars.iter().enumerate() {
            let at = TOP + 26.0 * n as f64;
            let _ = writeln!(
                s,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"{INK}\">{}</text>",
                left - 10.0,
                at + 13.0,
                escape(name)
            );
            let _ = writeln!(
                s,
                "<rect x=\"{left}\" y=\"{at}\" width=\"{:.1}\" height=\"17\" fill=\"{}\"/>",
                x(*middle) - left,
                COLORS[0]
            );
            let _ = writeln!(
                s,
                "<line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{2}\" y2=\"{2}\" stroke=\"{INK}\"/>",
                x(*least),
                x(*top),
                at + 8.5
            );
            let _ = writeln!(
                s,
                "<text x=\"{:.1}\" y=\"{}\" fill=\"{INK}\">{middle}</text>",
                x(*top) + 8.0,
                at + 13.0
            );
        }
        let _ = writeln!(
            s,
            "<text x=\"{left}\" y=\"{}\" fill=\"{INK}\">{}</text>",
            height - BOTTOM + 22.0,
            escape(&self.y)
        );
        let _ = writeln!(s, "<text x=\"16\" y=\"46\" fill=\"{QUIET}\">{}</text>", escape(&self.x));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_of_one_point_and_hostile_names_is_still_a_picture() {
        let series = Series { name: "<a & b>".into(), points: vec![(1024.0, [1.0, 2.0, 3.0])], faint: true };
        for kind in [
            Kind::Lines(Scale::Numbers, vec![series]),
            Kind::Bars(vec![("<".into(), [0.0; 3])]),
            Kind::Bars(vec![]),
        ] {
            let chart = Chart { title: "t".into(), x: "x".into(), y: "y".into(), caption: "&".into(), kind };
            let svg = chart.svg();
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("<a &"));
        }
    }
}

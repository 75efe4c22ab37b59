//! Which charts there are.

use super::{Chart, Kind, Results, Scale, Series};
use crate::bench::Record;
use crate::compare::Point;
use crate::spread::Spread;

const fn three(s: Spread) -> [f64; 3] {
    [s.min, s.median, s.max]
}

/// An established load as it is by default: what the charts by sessions show.
fn plain<'a>(results: &'a Results, nat: &str) -> Vec<&'a Record> {
    let mut all: Vec<&Record> = results
        .bench
        .iter()
        .filter(|r| r.load == "established" && r.nat == nat && r.flows == "uniform" && r.note.is_empty())
        .collect();
    all.sort_by_key(|r| r.sessions);
    all.dedup_by_key(|r| r.sessions);
    all
}

fn series(name: &str, records: &[&Record], faint: bool, figure: impl Fn(&Record) -> [f64; 3]) -> Series {
    let points = records.iter().map(|r| (r.sessions as f64, figure(r))).collect();
    Series { name: name.to_owned(), points, faint }
}

/// A line for each gateway and translation of `compare`, and the memory floor of our runs.
fn peers(points: &[Point]) -> Vec<Series> {
    let mut lines: Vec<Series> = Vec::new();
    let mut add = |name: String, faint: bool, at: u64, figure: Spread| {
        let point = (at as f64, three(figure));
        match lines.iter_mut().find(|l| l.name == name) {
            Some(line) => line.points.push(point),
            None => lines.push(Series { name, points: vec![point], faint }),
        }
    };
    // What holds no sessions has no place on this axis.
    for p in points.iter().filter(|p| p.sessions > 0) {
        let ours = p.who == "Sluice";
        let name = match (ours, p.nat.as_str()) {
            (true, "dnat") => "Sluice DNAT".to_owned(),
            (true, _) => "Sluice SNAT".to_owned(),
            _ => p.who.clone(),
        };
        add(name, !ours, p.sessions, p.cycles_per_packet);
        if let Some(floor) = p.floor_cycles.filter(|_| p.nat == "snat") {
            add("memory floor".to_owned(), true, p.sessions, floor);
        }
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
        line.points.dedup_by_key(|p| p.0 as u64);
    }
    lines
}

/// Every chart that there is data for, by file name.
pub fn charts(results: &Results) -> Vec<(&'static str, Chart)> {
    let caption = &results.caption;
    let chart = |title: &str, x: &str, y: &str, kind| Chart {
        title: title.to_owned(),
        x: x.to_owned(),
        y: y.to_owned(),
        caption: caption.clone(),
        kind,
    };
    let mut all = Vec::new();
    let (snat, dnat) = (plain(results, "snat"), plain(results, "dnat"));
    if snat.len() > 1 {
        let mut lines = vec![series("SNAT", &snat, false, |r| three(r.cycles_per_packet))];
        if dnat.len() > 1 {
            lines.push(series("balanced DNAT", &dnat, false, |r| three(r.cycles_per_packet)));
        }
        lines.push(series("memory floor", &snat, true, |r| three(r.floor_cycles)));
        let kind = Kind::Lines(Scale::Numbers, lines);
        all.push((
            "cycles-by-sessions",
            chart("Established sessions", "sessions, drawn uniformly", "cycles a packet", kind),
        ));
        // Under a few thousand sessions pages are coarser than what they hold.
        let large: Vec<&Record> = snat.iter().copied().filter(|r| r.sessions >= 1 << 16).collect();
        if large.len() > 1 {
            let bytes = |r: &Record| [r.bytes_per_session; 3];
            let kind = Kind::Lines(Scale::Numbers, vec![series("SNAT", &large, false, bytes)]);
            all.push(("memory-by-sessions", chart("Resident memory", "sessions", "octets a session", kind)));
        }
    }
    let lines = peers(&results.compare);
    if lines.len() > 1 {
        let kind = Kind::Decades(lines);
        let y = "cycles a packet on one CPU, runs in turn";
        all.push(("peers", chart("Established sessions beside peers", "sessions, drawn uniformly", y, kind)));
    }
    let mut bars: Vec<(String, [f64; 3])> = Vec::new();
    for r in results.bench.iter().filter(|r| r.sessions == 1 << 20) {
        let detail = match (r.flows.as_str(), r.note.as_str()) {
            ("uniform", "") => String::new(),
            ("uniform", note) if note.len() < 24 => format!(", {note}"),
            (flows, "") => format!(", {flows}"),
            _ if r.load == "expiring" => String::new(),
            _ => ", 1,000 policies".to_owned(),
        };
        bars.push((format!("{} {}{detail}", r.load, r.nat), three(r.cycles_per_packet)));
    }
    if !bars.is_empty() {
        let x = "1,048,576 sessions; 'expiring': a session that ends";
        all.push((
            "loads",
            chart("Cycles a packet by kind of traffic", x, "cycles a packet", Kind::Bars(bars)),
        ));
    }
    if results.floor.len() > 1 {
        let points = results.floor.iter().map(|p| (p.bytes as f64, three(p.cycles))).collect();
        let line = Series { name: "one line".to_owned(), points, faint: false };
        let kind = Kind::Lines(Scale::Octets, vec![line]);
        all.push(("floor", chart("Memory alone: one random prefetched line", "table", "cycles", kind)));
    }
    all.extend(latency(results).map(|chart| ("latency", chart)));
    all
}

/// Latency by how few packets are slower, as HdrHistogram draws it: 100 is the 99th percentile.
fn latency(results: &Results) -> Option<Chart> {
    let lines: Vec<Series> = results
        .flood
        .iter()
        .map(|(_, trial)| {
            let l = &trial.account.latency_us;
            let points = [(2.0, l.p50), (10.0, l.p90), (100.0, l.p99), (1e3, l.p999), (1e4, l.p9999)];
            // Beside the lines there is room for two dozen letters.
            let rate = match trial.rate {
                Some(rate) if rate >= 10_000 => format!("{}k pps", (rate + 500) / 1000),
                Some(rate) => format!("{rate} pps"),
                None => "all that go".to_owned(),
            };
            let note = if trial.note.is_empty() { String::new() } else { format!(", {}", trial.note) };
            let points = points.into_iter().map(|(x, us)| (x, [us; 3])).collect();
            Series { name: format!("{rate}{note}"), points, faint: false }
        })
        .collect();
    let (caption, trial) = results.flood.first()?;
    Some(Chart {
        title: format!("Latency through the gateway over {}", trial.driver()),
        x: "one packet in so many is slower".to_owned(),
        y: "µs from when it was due".to_owned(),
        caption: caption.clone(),
        kind: Kind::Lines(Scale::Numbers, lines),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(who: &str, nat: &str, sessions: u64, cycles: f64) -> Point {
        let cycles_per_packet = Spread::of(&[cycles]);
        Point { who: who.into(), nat: nat.into(), sessions, cycles_per_packet, ..Point::default() }
    }

    #[test]
    fn peers_are_lines_by_sessions_and_what_holds_none_is_left_out() {
        let points = [
            point("Sluice", "snat", 65536, 90.0),
            point("Sluice", "snat", 1024, 80.0),
            point("nftables masquerade", "snat", 1024, 3900.0),
            point("testpmd io", "", 0, 3.0),
        ];
        let lines = peers(&points);
        let names: Vec<_> = lines.iter().map(|l| (l.name.as_str(), l.faint, l.points.len())).collect();
        assert_eq!(names, [("Sluice SNAT", false, 2), ("nftables masquerade", true, 1)]);
        assert!(lines[0].points[0].0 < lines[0].points[1].0);
    }
}

//! Lockstep: one stream of events, the reference, and labs of several sizes.

use super::report::{Difference, Outcome};
use super::traffic::{Event, Traffic};
use crate::Lab;
use crate::reference::{Output, Reference};

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Frames to feed.
    pub packets: u64,
    /// Seed of everything.
    pub seed: u64,
    /// Sizes of the labs; they run in lockstep.
    pub workers: Vec<u16>,
    /// Differences after which to give up.
    pub patience: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Frames fed.
    pub packets: u64,
    /// Events after which somebody disagreed.
    pub differences: u64,
    /// Sum of absolute conservation errors.
    pub conservation_error: u64,
    /// The first few differences.
    pub first: Vec<Difference>,
    /// Counters of the first lab at the end: what the run exercised.
    pub exercised: Vec<(&'static str, u64)>,
    /// Most sessions that lived at once.
    pub sessions: usize,
}

/// Differences that are told.
const TOLD: usize = 5;

/// Runs to the end, or until patience is over. An error is a configuration that was refused.
pub fn run(options: &Options) -> Result<Summary, String> {
    let mut traffic = Traffic::new(options.seed);
    let config = traffic.first_config();
    let topology = super::world::topology();
    let mut labs = Vec::new();
    for workers in &options.workers {
        labs.push(Lab::new(*workers, &topology, &config, options.seed)?);
    }
    let mut reference = Reference::new(&topology, 0);
    reference.configure(&config, labs.first().map_or(0, Lab::judged));
    let mut summary = Summary::default();
    let (mut step, mut now) = (0u64, 0u32);
    while summary.packets < options.packets && summary.differences < options.patience {
        let event = traffic.event();
        step += 1;
        summary.packets += u64::from(matches!(event, Event::Frame(..)));
        if let Event::Tick(tick) = event {
            now = tick;
        }
        let mut got = Vec::with_capacity(labs.len());
        for lab in &mut labs {
            let output = feed(lab, &event)?;
            got.push(Outcome { output: sorted(output), counters: lab.counters() });
            summary.conservation_error += lab.conservation_error().unsigned_abs();
        }
        let Some(lab) = labs.first_mut() else { return Err("no labs".to_owned()) };
        let output = match &event {
            Event::Frame(device, frame) => reference.receive(*device, frame, lab),
            Event::Tick(now) => reference.tick(*now, lab),
            Event::Configure(config) => {
                reference.configure(config, lab.judged());
                Output::default()
            }
        };
        summary.sessions = summary.sessions.max(lab.sessions());
        let expected = Outcome { output: sorted(output), counters: reference.counters() };
        let complaints = reference.complaints();
        let mut sides = vec![("the reference".to_owned(), &expected)];
        let names = options.workers.iter().map(|n| format!("{n} workers"));
        sides.extend(names.zip(&got));
        let differs = sides.windows(2).find(|w| w[0].1 != w[1].1).map(|w| (w[0].clone(), w[1].clone()));
        if differs.is_some() || !complaints.is_empty() {
            summary.differences += 1;
            if summary.first.len() < TOLD {
                let (a, b) = differs.unwrap_or_else(|| (sides[0].clone(), sides[1].clone()));
                summary.first.push(Difference {
                    step,
                    now,
                    who: format!("{} against {}", a.0, b.0),
                    event: event.clone(),
                    expected: a.1.clone(),
                    got: b.1.clone(),
                    complaints,
                });
            }
        }
        if let Some(first) = got.first() {
            traffic.observe(&first.output);
        }
    }
    summary.exercised = labs.first().map(|l| l.counters().into_iter().collect()).unwrap_or_default();
    Ok(summary)
}

fn feed(lab: &mut Lab, event: &Event) -> Result<Output, String> {
    match event {
        Event::Frame(device, frame) => Ok(lab.receive(*device, frame)),
        Event::Tick(now) => Ok(lab.tick(*now)),
        Event::Configure(config) => lab.configure(config).map(|_| Output::default()),
    }
}

/// Between steps order counts; within one it does not.
fn sorted(mut output: Output) -> Output {
    output.sent.sort_unstable();
    output.punted.sort_unstable();
    output
}

//! `explain-drop`: the list of drop reasons, from the engine's own table; needs no gateway.

use engine::DropReason;
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{self, Format, Row};

#[derive(Serialize)]
struct Reason {
    reason: &'static str,
    stage: String,
    cause: &'static str,
    remedy: &'static str,
}

impl From<DropReason> for Reason {
    fn from(reason: DropReason) -> Self {
        Reason {
            reason: reason.name(),
            stage: format!("{:?}", reason.stage()).to_ascii_lowercase(),
            cause: reason.cause(),
            remedy: reason.remedy(),
        }
    }
}

impl Row for Reason {
    const HEADINGS: &'static [&'static str] = &["REASON", "STAGE", "CAUSE"];

    fn cells(&self) -> Vec<String> {
        vec![self.reason.to_owned(), self.stage.clone(), self.cause.to_owned()]
    }
}

/// `explain-drop`.
pub(crate) fn explain(format: Format, name: Option<&str>) -> Result<(), Failure> {
    let Some(name) = name else {
        let all: Vec<Reason> = DropReason::ALL.iter().copied().map(Reason::from).collect();
        return Ok(output::list(format, &all, "no reasons")?);
    };
    let found = DropReason::ALL.iter().copied().find(|reason| reason.name() == name);
    let Some(reason) = found.map(Reason::from) else {
        return Err(Failure::Failed(unknown(name)));
    };
    let Reason { reason: name, stage, cause, remedy } = &reason;
    let text = format!("{name} (stage: {stage})\n  cause:  {cause}\n  remedy: {remedy}");
    Ok(output::value(format, &reason, &text)?)
}

/// Names the reasons that share a word with what was typed.
fn unknown(name: &str) -> String {
    let words: Vec<&str> = name.split(['_', '-', ' ']).filter(|word| word.len() > 2).collect();
    let near: Vec<&str> = DropReason::ALL
        .iter()
        .map(|reason| reason.name())
        .filter(|reason| words.iter().any(|word| reason.contains(word)))
        .collect();
    match near.is_empty() {
        true => format!("{name:?} is no drop reason; `sluicectl explain-drop` lists all of them"),
        false => format!("{name:?} is no drop reason; near it are {}", near.join(", ")),
    }
}

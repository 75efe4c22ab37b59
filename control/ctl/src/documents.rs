//! Object files: found, read and checked here by the same code as in the gateway, so that a mistake
//! is told with its file before anything is sent.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use model::{Kind, ObjectReader, Objects, Origin};

use crate::failure::Failure;

/// For clap: a kind in any case, in the plural too; `pool`, `policy`, `lb` for short.
pub(crate) fn kind(text: &str) -> Result<Kind, String> {
    let word = text.to_ascii_lowercase();
    let same = |kind: &Kind| {
        let name = kind.as_str().to_ascii_lowercase();
        let plural = |name: &str| {
            name.strip_suffix('y').map_or_else(|| format!("{name}s"), |stem| format!("{stem}ies"))
        };
        let short = match kind {
            Kind::EgressPool => "pool",
            Kind::EgressPolicy => "policy",
            Kind::LoadBalancer => "lb",
            Kind::StaticMapping => "mapping",
            Kind::AccessPolicy => "access",
            Kind::AccessGuard => "guard",
            Kind::Route => "route",
        };
        word == name || word == plural(&name) || word == short || word == plural(short)
    };
    Kind::ALL
        .into_iter()
        .find(same)
        .ok_or_else(|| format!("no such kind; kinds are {}", Kind::ALL.map(Kind::as_str).join(", ")))
}

/// For a command: the origin, checked.
pub(crate) fn origin(name: &str) -> Result<Origin, Failure> {
    model::parse_origin(name).map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Failure::Usage(format!("--origin: {}", texts.join("; ")))
    })
}

/// Reads files, directories (their `.yaml`, `.yml` and `.json` files by name) and `-`. Faults go to
/// standard error, all of them; so do warnings.
pub(crate) fn read(paths: &[PathBuf], origin: &Origin) -> Result<Objects, Failure> {
    let mut reader = ObjectReader::new(origin.clone());
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map_err(|error| unreadable(path, &error))?;
            reader.read("standard input", &text);
            continue;
        }
        for file in files(path)? {
            let text = fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
            reader.read(&file.display().to_string(), &text);
        }
    }
    match reader.finish() {
        // Warnings are the gateway's to give: it knows what is accepted.
        Ok((objects, _)) => Ok(objects),
        Err(errors) => {
            errors.iter().for_each(|error| eprintln!("{error}"));
            let faults = crate::units::plural(errors.len() as u64, "fault");
            Err(Failure::Failed(format!("{faults}; nothing was sent")))
        }
    }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let is_directory = fs::metadata(path).map_err(|error| unreadable(path, &error))?.is_dir();
    if !is_directory {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut files: Vec<PathBuf> = entries
        .map_err(|error| unreadable(path, &error))?
        .into_iter()
        .map(|entry| entry.path())
        .filter(|file| {
            let ending = file.extension().and_then(|ending| ending.to_str());
            matches!(ending, Some("yaml" | "yml" | "json")) && file.is_file()
        })
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(Failure::Failed(format!("{}: no .yaml, .yml or .json file in it", path.display())));
    }
    Ok(files)
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_in_any_case_in_the_plural_and_for_short() {
        for word in ["EgressPolicy", "egresspolicy", "egresspolicies", "policy", "policies"] {
            assert_eq!(kind(word), Ok(Kind::EgressPolicy), "{word}");
        }
        assert_eq!(kind("loadbalancers"), Ok(Kind::LoadBalancer));
        assert!(kind("service").is_err());
    }
}

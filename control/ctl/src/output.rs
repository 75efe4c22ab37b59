//! Rows as a table, as JSON or as YAML.
//!
//! Rows are written as they come: a million sessions take no more memory than a page of them. A
//! table's columns are as wide as the pages so far need.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for people.
    #[default]
    Table,
    /// JSON for programs.
    Json,
    /// YAML; of `get` it can be applied again.
    Yaml,
}

/// One line of a table; in JSON and YAML, one item of a list.
pub(crate) trait Row: Serialize {
    /// Headings; one that begins with `>` belongs to a column of numbers, aligned to the right.
    const HEADINGS: &'static [&'static str];
    /// One cell for each heading.
    fn cells(&self) -> Vec<String>;
}

/// Writes a list of rows, page by page.
pub(crate) struct Listing<W: Write> {
    format: Format,
    out: W,
    widths: Vec<usize>,
    rows: u64,
}

impl<W: Write> Listing<W> {
    /// Nothing is written yet.
    pub(crate) fn new(format: Format, out: W) -> Self {
        Listing { format, out, widths: Vec::new(), rows: 0 }
    }

    /// Writes some rows.
    pub(crate) fn page<R: Row>(&mut self, rows: &[R]) -> io::Result<()> {
        match self.format {
            Format::Table => self.table(rows),
            Format::Json => self.json(rows),
            Format::Yaml if rows.is_empty() => Ok(()),
            Format::Yaml => {
                self.rows += rows.len() as u64;
                self.out.write_all(yaml(&rows)?.as_bytes())
            }
        }
    }

    /// Ends the list; says in a table's case that there was nothing.
    pub(crate) fn end(mut self, nothing: &str) -> io::Result<()> {
        match (self.format, self.rows) {
            (Format::Table, 0) => writeln!(self.out, "{nothing}")?,
            (Format::Json, 0) => writeln!(self.out, "[]")?,
            (Format::Json, _) => writeln!(self.out, "\n]")?,
            (Format::Yaml, 0) => writeln!(self.out, "[]")?,
            _ => {}
        }
        self.out.flush()
    }

    fn table<R: Row>(&mut self, rows: &[R]) -> io::Result<()> {
        let cells: Vec<Vec<String>> = rows.iter().map(Row::cells).collect();
        let names: Vec<String> =
            R::HEADINGS.iter().map(|name| name.trim_start_matches('>').to_owned()).collect();
        self.widths.resize(names.len(), 0);
        for line in std::iter::once(&names).chain(&cells) {
            for (width, cell) in self.widths.iter_mut().zip(line) {
                *width = cell.chars().count().max(*width);
            }
        }
        if self.rows == 0 && !cells.is_empty() {
            self.line::<R>(&names)?;
        }
        self.rows += cells.len() as u64;
        cells.iter().try_for_each(|line| self.line::<R>(line))
    }

    fn line<R: Row>(&mut self, cells: &[String]) -> io::Result<()> {
        let mut text = String::new();
        for ((cell, &width), heading) in cells.iter().zip(&self.widths).zip(R::HEADINGS) {
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            let (before, after) = if heading.starts_with('>') { (&*padding, "") } else { ("", &*padding) };
            text.extend([before, cell, after, "  "]);
        }
        writeln!(self.out, "{}", text.trim_end())
    }

    fn json<R: Row>(&mut self, rows: &[R]) -> io::Result<()> {
        for row in rows {
            let before = if self.rows == 0 { "[\n  " } else { ",\n  " };
            self.rows += 1;
            self.out.write_all(before.as_bytes())?;
            serde_json::to_writer(&mut self.out, row)?;
        }
        Ok(())
    }
}

/// Writes a whole list at once to standard output.
pub(crate) fn list<R: Row>(format: Format, rows: &[R], nothing: &str) -> io::Result<()> {
    let mut listing = Listing::new(format, io::stdout().lock());
    listing.page(rows)?;
    listing.end(nothing)
}

/// Writes one value: `text` as a table, else the value.
pub(crate) fn value(format: Format, value: &impl Serialize, text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        Format::Table => writeln!(out, "{text}")?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, value)?;
            writeln!(out)?;
        }
        Format::Yaml => out.write_all(yaml(value)?.as_bytes())?,
    }
    out.flush()
}

/// A value as YAML, ending with a new line.
pub(crate) fn yaml(value: &impl Serialize) -> io::Result<String> {
    let mut text = serde_saphyr::to_string(value).map_err(io::Error::other)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

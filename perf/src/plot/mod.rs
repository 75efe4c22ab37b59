//! Pictures from recorded results: SVG, and PNG of the same.

mod chart;
mod charts;
mod results;

pub use chart::{Chart, Kind, Scale, Series};
pub use charts::charts;
pub use results::Results;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};

/// Draws every chart that the results in `folder` have data for into `out`; gives the files written.
pub fn draw(folder: &Path, out: &Path) -> Result<Vec<PathBuf>> {
    let results = Results::read(folder)?;
    let charts = charts(&results);
    if charts.is_empty() {
        bail!("{} has no results: record some with `sluice-perf bench --all --json`", folder.display());
    }
    fs::create_dir_all(out).with_context(|| format!("create {}", out.display()))?;
    let mut fonts = resvg::usvg::fontdb::Database::new();
    fonts.load_system_fonts();
    if fonts.is_empty() {
        bail!("no font is installed, so PNG would have no text: apt-get install fonts-dejavu-core");
    }
    let options = resvg::usvg::Options { fontdb: Arc::new(fonts), ..Default::default() };
    let mut written = Vec::new();
    for (name, chart) in charts {
        let svg = chart.svg();
        let path = out.join(format!("{name}.svg"));
        fs::write(&path, &svg).with_context(|| format!("write {}", path.display()))?;
        written.push(path);
        let tree = resvg::usvg::Tree::from_str(&svg, &options)?;
        // Twice the size, for screens that show it.
        let size = tree.size();
        let (width, height) = ((size.width() * 2.0) as u32, (size.height() * 2.0) as u32);
        let mut pixels =
            resvg::tiny_skia::Pixmap::new(width, height).ok_or_else(|| anyhow!("a picture of no size"))?;
        resvg::render(&tree, resvg::tiny_skia::Transform::from_scale(2.0, 2.0), &mut pixels.as_mut());
        let path = out.join(format!("{name}.png"));
        pixels.save_png(&path).map_err(|e| anyhow!("write {}: {e}", path.display()))?;
        written.push(path);
    }
    Ok(written)
}

//! One module for each group of commands.

mod apply;
mod explain;
mod health;
mod objects;
mod plan;
mod reasons;
mod sessions;
mod stats;
mod summary;
mod top;

use clap::CommandFactory as _;

use crate::args::{Command, Line};
use crate::failure::Failure;

/// Does what the line says.
pub(crate) async fn run(line: Line) -> Result<(), Failure> {
    let Line { gateway, output, command } = line;
    match command {
        Command::Apply(args) => apply::run(&gateway, output, args).await,
        Command::Plan(args) => plan::run(&gateway, output, args).await,
        Command::Get(args) => objects::show(&gateway.connect().await?, output, args).await,
        Command::Delete(args) => objects::delete(&gateway, output, args).await,
        Command::Sessions(args) => sessions::list(&gateway.connect().await?, output, args).await,
        Command::Kill(args) => sessions::kill(&gateway, output, args).await,
        Command::Pools => stats::pools(&gateway.connect().await?, output).await,
        Command::Backends => stats::backends(&gateway.connect().await?, output).await,
        Command::Workers => stats::workers(&gateway.connect().await?, output).await,
        Command::Drops { all } => stats::drops(&gateway.connect().await?, output, all).await,
        Command::Explain(args) => explain::run(&gateway, output, args).await,
        Command::ExplainDrop { name } => reasons::explain(output, name.as_deref()),
        Command::Health { wait } => health::run(&gateway, output, wait).await,
        Command::Top { interval, screens } => top::run(&gateway.connect().await?, interval, screens).await,
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Line::command(), "sluicectl", &mut std::io::stdout());
            Ok(())
        }
    }
}

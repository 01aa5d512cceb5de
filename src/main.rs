//! The `whitewater` binary: allocator, arguments, exit code.

#![forbid(unsafe_code)]

pub mod advice;
pub mod cli;
pub mod config;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(cli::Cli::parse(), serve)
}

/// Runs the node until it is told to stop.
fn serve(effective: config::Effective) -> ExitCode {
    for note in &effective.notes {
        eprintln!("note: {note}");
    }
    eprintln!("whitewater: this build has no node to run");
    ExitCode::FAILURE
}

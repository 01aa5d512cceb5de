//! The `whitewater` binary: allocator, arguments, signals, exit code.

#![forbid(unsafe_code)]

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;
use whitewater::config::{Effective, LogLevel};
use whitewater::{Manager, Node, StartError, cli};
use whitewater_dataplane::join_in_giving_back;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(cli::Cli::parse(), serve, manage, load)
}

/// Runs the node until it is told to stop.
fn serve(effective: Effective, lifetime: cli::Lifetime) -> ExitCode {
    log_to_stderr(effective.config.log.level);
    if lifetime == cli::Lifetime::Parent
        && let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
    {
        tracing::warn!(%error, "this process may outlive the one that started it");
    }
    on_control_threads(async {
        let node = match Node::start(&effective) {
            Ok(node) => node,
            Err(error) => return refused(&error),
        };
        let stop = match stop_signal() {
            Ok(stop) => stop,
            Err(error) => {
                eprintln!("whitewater: signals cannot be handled: {error}");
                return ExitCode::FAILURE;
            }
        };
        // Signals are heard from here on. A reader that went away does not stop the server.
        let _ = write!(std::io::stdout(), "{}", node.greeting());
        ended(node.run(stop).await)
    })
}

/// Runs a manager until it is told to stop.
fn manage(effective: Effective, inheritance: cli::Inheritance) -> ExitCode {
    log_to_stderr(effective.config.log.level);
    on_control_threads(async {
        let manager = match Manager::start(&effective, &inheritance) {
            Ok(manager) => manager,
            Err(error) => return refused(&error),
        };
        let stop = match stop_signal() {
            Ok(stop) => stop,
            Err(error) => {
                eprintln!("whitewater: signals cannot be handled: {error}");
                return ExitCode::FAILURE;
            }
        };
        let _ = write!(std::io::stdout(), "{}", manager.greeting());
        ended(manager.run(stop).await)
    })
}

fn on_control_threads(work: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .on_thread_park(join_in_giving_back)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => {
            eprintln!("whitewater: no threads for the control plane: {error}");
            ExitCode::FAILURE
        }
    }
}

fn refused(error: &StartError) -> ExitCode {
    eprintln!("whitewater: {error}");
    match error {
        StartError::Config(_) | StartError::Tls(_) => ExitCode::from(cli::EXIT_REFUSED),
        _ => ExitCode::FAILURE,
    }
}

fn ended(result: std::io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("whitewater: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the load generator until it is done or told to stop.
fn load(plan: whitewater_load::Plan) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("whitewater load: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        match stop_signal() {
            Ok(stop) => whitewater_load::run(plan, stop).await,
            Err(error) => {
                eprintln!("whitewater load: signals cannot be handled: {error}");
                ExitCode::FAILURE
            }
        }
    })
}

/// Ready at SIGTERM or SIGINT.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: ending all sessions"),
            _ = interrupt.recv() => tracing::info!("SIGINT: ending all sessions"),
        }
    })
}

fn log_to_stderr(level: LogLevel) {
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // The libraries below speak up only when something is wrong: their debug lines may hold
    // credentials and whole descriptions.
    let filter = tracing_subscriber::filter::Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        // It speaks up about every bad packet, which a peer can send as many of as it likes.
        .with_target("sctp_proto", LevelFilter::OFF)
        .with_target("whitewater", level)
        .with_target("whitewater_control", level)
        .with_target("whitewater_dataplane", level)
        .with_target("whitewater_engine", level)
        .with_target("whitewater_model", level)
        .with_target("whitewater_net", level);
    use tracing_subscriber::prelude::*;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .init();
}

/// HTTP is light work next to media; two threads keep a slow request from holding up the rest.
const CONTROL_THREADS: usize = 2;

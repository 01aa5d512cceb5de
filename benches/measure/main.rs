//! What serving costs: `cargo bench --bench measure -- NAME…`, each name one part; without a name
//! all of them. Every part prints its section of docs/performance.md; `benches/run` puts them there.

mod common;
mod fanout;
mod floor;
mod hold;
mod joins;
mod latency;
mod memory;
mod pipeline;
mod relay;

use std::process::ExitCode;

/// The binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Cargo adds flags of its own.
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    if let Some(unknown) = wanted
        .iter()
        .find(|name| !PARTS.iter().any(|(part, _)| part == name))
    {
        let known: Vec<&str> = PARTS.iter().map(|(part, _)| *part).collect();
        eprintln!("{unknown:?} is no part; there are {}", known.join(", "));
        return ExitCode::FAILURE;
    }
    for (name, run) in PARTS {
        if !wanted.is_empty() && !wanted.iter().any(|one| one == name) {
            continue;
        }
        match run() {
            Ok(section) => print!("{section}"),
            Err(error) => {
                eprintln!("{name}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

type Part = fn() -> Result<String, common::Failed>;

const PARTS: &[(&str, Part)] = &[
    ("pipeline", pipeline::run),
    ("fanout", fanout::run),
    ("plain", fanout::run_plain),
    ("shards", fanout::run_shards),
    ("hold", hold::run),
    ("latency", latency::run),
    ("joins", joins::run),
    ("memory", memory::run),
    ("relay", relay::run),
];

//! Subcommands and flags. Values of flags are not judged here: they are settings like those of the
//! file and the environment, and are judged where those are.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use whitewater_load::{LoadArgs, Plan};

use crate::advice::{self, Advice, Readings};
use crate::config::{self, ConfigError, Effective, Flag, Sources};
use crate::node;

/// A WebRTC SFU: streams in by WHIP, out by WHEP.
#[derive(Debug, Parser)]
#[command(name = "whitewater", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the node; also without any subcommand.
    Serve(Settings),
    /// Runs a manager, one address in front of several nodes.
    Manager(Box<ManagerSettings>),
    /// Loads a WHIP/WHEP server with publishers and viewers, and measures what they get.
    Load(Box<LoadArgs>),
    /// Shows or checks the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Prints the configuration in force as TOML; secrets masked.
    Print(Settings),
    /// Tells whether the configuration can be used, and what of the machine stands in its way.
    Check(Settings),
    /// Prints the reference of all keys in Markdown.
    #[command(hide = true)]
    Reference,
}

/// Settings from the command line. They override the environment, which overrides the file.
#[derive(Args, Clone, Debug, Default)]
pub struct Settings {
    /// Configuration file [default: whitewater.toml, if it exists; env: WHITEWATER_CONFIG]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// HTTP address and port
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// HTTPS with a certificate that is made at start, for tests on a local network
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    tls_self_signed: Option<String>,
    /// UDP address and port of all media
    #[arg(long, value_name = "ADDR:PORT")]
    udp: Option<String>,
    /// Give each shard a port of its own, counted up from that of --udp
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    ports_per_core: Option<String>,
    /// Address told to peers; may be given several times
    #[arg(long, value_name = "IP")]
    advertise: Vec<String>,
    /// Threads which forward media; 0: one per core
    #[arg(long, value_name = "N")]
    shards: Option<String>,
    /// What this node is called in a cluster
    #[arg(long, value_name = "NAME")]
    alias: Option<String>,
    /// Where this node stands, in any word
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Publishers this node takes
    #[arg(long, value_name = "N")]
    pub_max: Option<String>,
    /// Viewers this node takes
    #[arg(long, value_name = "N")]
    sub_max: Option<String>,
    /// The etcd this node registers in; may be given several times for one of several members
    #[arg(long, value_name = "URL")]
    etcd: Vec<String>,
    /// How datagrams are received and sent: auto, uring, mmsg, tokio-uring
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// What is logged: off, error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
    /// Any other key, as http.connections_max=500; may be given several times
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// End when the process that started this one ends
    #[arg(long, hide = true)]
    end_with_parent: bool,
}

/// Settings of a manager from the command line.
#[derive(Args, Clone, Debug, Default)]
pub struct ManagerSettings {
    /// Configuration file [default: whitewater.toml, if it exists; env: WHITEWATER_CONFIG]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// HTTP address and port [default: 127.0.0.1:8888]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// A node; once for each
    #[arg(long, value_name = "ALIAS=URL[,region=R]")]
    node: Vec<String>,
    /// Nodes to start on this machine, for a try-out
    #[arg(long, value_name = "N")]
    embedded: Option<String>,
    /// The etcd where nodes register and managers agree; may be given several times for one of
    /// several members
    #[arg(long, value_name = "URL")]
    etcd: Vec<String>,
    /// What is logged: off, error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
    /// Any other key, as manager.poll_ms=200; may be given several times
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

/// What the command line of a manager says that is for its nodes as well.
#[derive(Clone, Debug, Default)]
pub struct Inheritance {
    /// The configuration file that was asked for.
    pub file: Option<PathBuf>,
    /// What `--set` says, `SECTION.KEY=VALUE` each.
    pub assignments: Vec<String>,
}

impl ManagerSettings {
    fn flags(&self) -> Vec<Flag> {
        let own = [
            ("manager.listen", "--listen", self.listen.clone()),
            ("manager.nodes", "--node", array(&self.node)),
            ("manager.embedded", "--embedded", self.embedded.clone()),
            ("cluster.etcd", "--etcd", list(&self.etcd)),
            ("log.level", "--log", self.log.clone()),
        ];
        named(own).chain(assigned(&self.set)).collect()
    }

    /// These settings together with the environment and the default file of this process.
    pub fn sources(&self) -> Sources {
        sources(self.config.as_ref(), self.flags())
    }

    /// What nodes that the manager starts are told too.
    pub fn inheritance(&self) -> Inheritance {
        Inheritance {
            file: self.config.clone(),
            assignments: self.set.clone(),
        }
    }
}

impl Settings {
    /// The flags as settings, in the order of the reference.
    fn flags(&self) -> Vec<Flag> {
        let own = [
            ("http.listen", "--listen", self.listen.clone()),
            (
                "tls.self_signed",
                "--tls-self-signed",
                self.tls_self_signed.clone(),
            ),
            ("media.udp", "--udp", self.udp.clone()),
            (
                "media.ports_per_core",
                "--ports-per-core",
                self.ports_per_core.clone(),
            ),
            ("media.advertise", "--advertise", list(&self.advertise)),
            ("media.shards", "--shards", self.shards.clone()),
            ("media.backend", "--backend", self.backend.clone()),
            ("node.alias", "--alias", self.alias.clone()),
            ("node.region", "--region", self.region.clone()),
            ("node.pub_max", "--pub-max", self.pub_max.clone()),
            ("node.sub_max", "--sub-max", self.sub_max.clone()),
            ("cluster.etcd", "--etcd", list(&self.etcd)),
            ("log.level", "--log", self.log.clone()),
        ];
        named(own).chain(assigned(&self.set)).collect()
    }

    /// These settings together with the environment and the default file of this process.
    pub fn sources(&self) -> Sources {
        sources(self.config.as_ref(), self.flags())
    }
}

fn sources(file: Option<&PathBuf>, flags: Vec<Flag>) -> Sources {
    Sources {
        file: file.cloned(),
        default_file: Some(PathBuf::from("whitewater.toml")),
        environment: std::env::vars_os().collect(),
        flags,
    }
}

/// The flags that were given, as settings.
fn named<const N: usize>(
    flags: [(&'static str, &'static str, Option<String>); N],
) -> impl Iterator<Item = Flag> {
    flags.into_iter().filter_map(|(path, written, value)| {
        let value = Some(value?);
        Some(Flag {
            path: path.to_owned(),
            value,
            written: written.to_owned(),
        })
    })
}

/// What `--set` says.
fn assigned(assignments: &[String]) -> impl Iterator<Item = Flag> {
    assignments.iter().map(|assignment| {
        let (path, value) = match assignment.split_once('=') {
            Some((path, value)) => (path.trim(), Some(value.to_owned())),
            None => (assignment.as_str(), None),
        };
        Flag {
            path: path.to_owned(),
            value,
            written: "--set".to_owned(),
        }
    })
}

fn list(words: &[String]) -> Option<String> {
    (!words.is_empty()).then(|| words.join(","))
}

/// As a TOML array, for words with commas in them.
fn array(words: &[String]) -> Option<String> {
    let words: Vec<_> = words
        .iter()
        .map(|word| toml::Value::from(word.as_str()))
        .collect();
    (!words.is_empty()).then(|| toml::Value::Array(words).to_string())
}

/// How long a process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is told to end.
    Own,
    /// No longer than the process that started it.
    Parent,
}

/// Does what the command line asks for; `serve` runs the node with the configuration in force,
/// `manage` the manager with it and what its nodes are told too, `load` the load generator.
pub fn run(
    cli: Cli,
    serve: impl FnOnce(Effective, Lifetime) -> ExitCode,
    manage: impl FnOnce(Effective, Inheritance) -> ExitCode,
    load: impl FnOnce(Plan) -> ExitCode,
) -> ExitCode {
    match cli.command.unwrap_or(Command::Serve(cli.settings)) {
        Command::Serve(settings) => {
            let lifetime = if settings.end_with_parent {
                Lifetime::Parent
            } else {
                Lifetime::Own
            };
            with_configuration(&settings.sources(), |effective| serve(effective, lifetime))
        }
        Command::Manager(settings) => with_configuration(&settings.sources(), |effective| {
            manage(effective, settings.inheritance())
        }),
        Command::Load(arguments) => match arguments.plan() {
            Ok(plan) => load(plan),
            Err(error) => {
                eprintln!("whitewater load: {error}");
                ExitCode::from(EXIT_REFUSED)
            }
        },
        Command::Config(ConfigCommand::Print(settings)) => {
            with_configuration(&settings.sources(), |effective| {
                for note in &effective.notes {
                    eprintln!("note: {note}");
                }
                say(&config::effective(&effective))
            })
        }
        Command::Config(ConfigCommand::Check(settings)) => {
            with_configuration(&settings.sources(), |effective| {
                if let Err(error) = node::check(&effective.config) {
                    eprintln!("whitewater: {error}");
                    return ExitCode::from(EXIT_REFUSED);
                }
                let advice = machine_advice(&effective);
                say(&checked(&effective, &advice))
            })
        }
        Command::Config(ConfigCommand::Reference) => say(&config::reference()),
    }
}

fn with_configuration(sources: &Sources, then: impl FnOnce(Effective) -> ExitCode) -> ExitCode {
    match config::load(sources) {
        Ok(effective) => then(effective),
        Err(error) => {
            eprintln!("{}", refusal(&error));
            ExitCode::from(EXIT_REFUSED)
        }
    }
}

fn refusal(error: &ConfigError) -> String {
    format!("whitewater: the configuration cannot be used\n{error}")
}

fn machine_advice(effective: &Effective) -> Vec<Advice> {
    let mut readings = Readings::take(Path::new("/proc"));
    // The node raises this limit when it starts: judge what will be in force then.
    readings.raise_open_files(|_| Ok(())).ok();
    let core_count = std::thread::available_parallelism().map_or(1, usize::from);
    advice::advise(&readings, &effective.config, core_count)
}

fn checked(effective: &Effective, advice: &[Advice]) -> String {
    let mut text = "The configuration can be used.\n".to_owned();
    for note in &effective.notes {
        text += &format!("note: {note}\n");
    }
    for line in advice {
        text += &format!("advice: {line}\n");
    }
    text
}

/// Writes to standard output; a reader that went away is no failure.
fn say(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("whitewater: cannot write: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Exit code for refused flags and configurations, the same as that of a wrong command line.
pub const EXIT_REFUSED: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Key;
    use clap::CommandFactory;

    fn settings(arguments: &[&str]) -> Settings {
        let cli = Cli::try_parse_from([&["whitewater"], arguments].concat()).unwrap();
        match cli.command {
            None => cli.settings,
            Some(Command::Serve(settings)) => settings,
            Some(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_arguments_mean_serve() {
        assert!(settings(&[]).flags().is_empty());
        let short = settings(&["--listen", "127.0.0.1:1"]).flags();
        assert_eq!(
            short,
            settings(&["serve", "--listen", "127.0.0.1:1"]).flags()
        );
        assert_eq!(short.len(), 1);
    }

    #[test]
    fn each_flag_of_the_table_exists_and_sets_its_key() {
        let mut seen = 0;
        for key in Key::all().iter().filter(|key| !key.flag.is_empty()) {
            let flag = format!("--{}", key.flag);
            let flags = settings(&["serve", &flag, "7"]).flags();
            let expected = Flag {
                path: key.path(),
                value: Some("7".into()),
                written: flag,
            };
            assert_eq!(flags, [expected]);
            seen += 1;
        }
        let serve = Cli::command();
        let others = ["config", "set", "help", "version", "end_with_parent"];
        let own = serve
            .get_arguments()
            .filter(|arg| !others.contains(&arg.get_id().as_str()));
        assert_eq!(own.count(), seen, "a flag without a key");
    }

    #[test]
    fn nodes_of_a_manager_are_a_list_with_commas_inside() {
        let arguments = [
            "whitewater",
            "manager",
            "--node",
            "a=http://10.0.0.1:7777,region=eu",
            "--node",
            "b=http://10.0.0.2:7777",
            "--etcd",
            "http://10.0.0.3:2379",
            "--embedded",
            "3",
        ];
        let cli = Cli::try_parse_from(arguments).unwrap();
        let Some(Command::Manager(settings)) = cli.command else {
            panic!("{cli:?}");
        };
        let sources = Sources {
            flags: settings.flags(),
            ..Sources::default()
        };
        let config = config::load(&sources).unwrap().config;
        let nodes = &config.manager.nodes;
        assert_eq!(nodes.len(), 2);
        assert_eq!(nodes[0].region.as_deref(), Some("eu"));
        assert_eq!(nodes[1].url.as_str(), "http://10.0.0.2:7777");
        assert_eq!(config.manager.embedded, 3);
        assert_eq!(config.cluster.etcd[0].as_str(), "http://10.0.0.3:2379");
    }

    #[test]
    fn a_switch_alone_switches_on() {
        let value = |arguments: &[&str]| settings(arguments).flags()[0].value.clone();
        assert_eq!(value(&["--ports-per-core"]).as_deref(), Some("true"));
        let off = value(&["--ports-per-core", "false", "--log", "info"]);
        assert_eq!(off.as_deref(), Some("false"));
    }

    #[test]
    fn repeated_flags_of_lists_add_up() {
        let flags = settings(&["--advertise", "192.0.2.1", "--advertise", "192.0.2.2"]).flags();
        assert_eq!(flags.len(), 1);
        assert_eq!(flags[0].value.as_deref(), Some("192.0.2.1,192.0.2.2"));
    }

    #[test]
    fn assignments_split_at_the_first_equals_sign() {
        let flags = settings(&["--set", "publish.takeover=a=b", "--set", "log.level"]).flags();
        assert_eq!(flags[0].path, "publish.takeover");
        assert_eq!(flags[0].value.as_deref(), Some("a=b"));
        assert_eq!(
            (flags[1].path.as_str(), &flags[1].value),
            ("log.level", &None)
        );
    }

    #[test]
    fn serve_gets_the_configuration_in_force_and_decides_the_exit_code() {
        let name = format!("whitewater-cli-{}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        let run_with = |file: &str| {
            std::fs::write(&path, file).unwrap();
            let config = path.to_str().unwrap();
            let arguments = ["whitewater", "--config", config, "--log", "warn"];
            let mut served = None;
            let serve = |effective: Effective, lifetime| {
                assert_eq!(lifetime, Lifetime::Own);
                served = Some(effective.config);
                ExitCode::from(7)
            };
            let cli = Cli::try_parse_from(arguments).unwrap();
            let code = run(
                cli,
                serve,
                |_, _| panic!("a manager was not asked for"),
                |_| panic!("load was not asked for"),
            );
            std::fs::remove_file(&path).unwrap();
            (format!("{code:?}"), served)
        };

        let (code, served) = run_with("[media]\nshards = 3\n");
        assert_eq!(code, format!("{:?}", ExitCode::from(7)));
        let config = served.unwrap();
        assert_eq!(
            (config.media.shards, config.log.level.as_str()),
            (3, "warn")
        );

        let (code, served) = run_with("[media]\nshards = -3\n");
        assert_eq!(code, format!("{:?}", ExitCode::from(EXIT_REFUSED)));
        assert_eq!(served, None);
    }

    #[test]
    fn check_lists_notes_and_advice() {
        let mut effective = config::load(&Sources::default()).unwrap();
        assert_eq!(checked(&effective, &[]), "The configuration can be used.\n");
        effective.notes.push("an old name".to_owned());
        effective.config.http.listen = "0.0.0.0:1".parse().unwrap();
        let advice = advice::advise(&Readings::default(), &effective.config, 1);
        let text = checked(&effective, &advice);
        assert!(
            text.contains("note: an old name\nadvice: http.listen = \"0.0.0.0:1\""),
            "{text}"
        );
    }

    #[test]
    fn reference_is_hidden_and_unknown_words_are_refused() {
        assert!(Cli::try_parse_from(["whitewater", "config", "reference"]).is_ok());
        let mut command = Cli::command();
        let config = command.find_subcommand_mut("config").unwrap();
        assert!(!config.render_help().to_string().contains("reference"));
        assert!(Cli::try_parse_from(["whitewater", "sevre"]).is_err());
        assert!(Cli::try_parse_from(["whitewater", "--listne", "x"]).is_err());
    }
}

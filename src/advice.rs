//! Start-up checks: what of the machine stands in the way of the configuration, in words.
//!
//! Everything here judges [`Readings`] it is given; only [`Readings::take`] looks at the machine.
//! Nothing here refuses to start: a node with small buffers still carries media.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use crate::config::{Backend, Config};

/// One line of advice for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What it is about.
    pub topic: Topic,
    /// What is wrong and what to do.
    pub text: String,
}

/// What a line of advice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Topic {
    /// `net.core.rmem_max` is below the receive buffers wanted.
    ReceiveBuffer,
    /// `net.core.wmem_max` is below the send buffers wanted.
    SendBuffer,
    /// Fewer files may be open than connections are allowed.
    OpenFiles,
    /// The kernel is too old for the io_uring back end.
    Kernel,
    /// `kernel.io_uring_disabled` forbids io_uring.
    IoUringDisabled,
    /// Little memory may be locked.
    LockedMemory,
    /// The management API is reachable by others and asks for no token.
    OpenToAll,
    /// Others can reach the HTTP side, and it is not HTTPS.
    PlainHttp,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A resource limit of the process; `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is enforced.
    pub soft: Option<u64>,
    /// What `soft` may be raised to.
    pub hard: Option<u64>,
}

/// What the machine was found to allow; `None` where it does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// `net.core.rmem_max` in bytes.
    pub rmem_max_bytes: Option<u64>,
    /// `net.core.wmem_max` in bytes.
    pub wmem_max_bytes: Option<u64>,
    /// `kernel.io_uring_disabled`: 0 for all, 1 for privileged processes, 2 for nobody.
    pub io_uring_disabled: Option<u64>,
    /// Version of the kernel: major, minor.
    pub kernel: Option<(u32, u32)>,
    /// RLIMIT_NOFILE, in files.
    pub open_files: Option<Limit>,
    /// RLIMIT_MEMLOCK, in bytes.
    pub locked_memory: Option<Limit>,
}

impl Readings {
    /// Reads what `proc`, a mounted procfs, tells.
    pub fn take(proc: &Path) -> Self {
        let line = |path: &str| fs::read_to_string(proc.join(path)).ok();
        let number = |path: &str| line(path)?.trim().parse().ok();
        let limits = line("self/limits").unwrap_or_default();
        Self {
            rmem_max_bytes: number("sys/net/core/rmem_max"),
            wmem_max_bytes: number("sys/net/core/wmem_max"),
            io_uring_disabled: number("sys/kernel/io_uring_disabled"),
            kernel: line("sys/kernel/osrelease").and_then(|release| kernel_version(&release)),
            open_files: limit(&limits, "Max open files"),
            locked_memory: limit(&limits, "Max locked memory"),
        }
    }

    /// Raises the soft limit of open files to the hard one by calling `set`, and remembers what is
    /// in force then. Does nothing when there is nothing to raise.
    ///
    /// # Errors
    /// What `set` answers; the readings then stay as they are.
    pub fn raise_open_files(
        &mut self,
        set: impl FnOnce(Limit) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(limit) = self.open_files.filter(|limit| limit.soft != limit.hard) else {
            return Ok(());
        };
        let raised = Limit {
            soft: limit.hard,
            ..limit
        };
        set(raised)?;
        self.open_files = Some(raised);
        Ok(())
    }
}

/// Judges the machine against what the configuration wants.
///
/// `core_count` is the number of shards that `media.shards = 0` stands for.
pub fn advise(readings: &Readings, config: &Config, core_count: usize) -> Vec<Advice> {
    let shard_count = match config.media.shards {
        0 => core_count as u64,
        count => u64::from(count),
    };
    [
        buffer(
            Topic::ReceiveBuffer,
            "net.core.rmem_max",
            readings.rmem_max_bytes,
            config.media.recv_buffer_bytes as u64,
            "bursts may be lost before they are read",
        ),
        buffer(
            Topic::SendBuffer,
            "net.core.wmem_max",
            readings.wmem_max_bytes,
            config.media.send_buffer_bytes as u64,
            "bursts may be lost before they are sent",
        ),
        open_files(readings, config, shard_count),
        kernel(readings, config.media.backend),
        io_uring_disabled(readings, config.media.backend),
        locked_memory(readings, config.media.backend, shard_count),
        open_to_all(config),
        plain_http(config),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn buffer(topic: Topic, name: &str, max: Option<u64>, wanted: u64, risk: &str) -> Option<Advice> {
    let max = max.filter(|max| *max < wanted)?;
    let text =
        format!("{name} is {max} bytes, {wanted} are wanted: {risk}; sysctl -w {name}={wanted}");
    Some(Advice { topic, text })
}

fn open_files(readings: &Readings, config: &Config, shard_count: u64) -> Option<Advice> {
    // Peers over UDP share the sockets of the shards; connections cost a file each.
    let ice = match config.media.tcp {
        true => config.limits.tcp_connections_max,
        false => 0,
    };
    let wanted = u64::from(config.http.connections_max)
        + u64::from(ice)
        + shard_count.saturating_mul(FILES_PER_SHARD)
        + FILES_PER_NODE;
    let soft = readings.open_files?.soft.filter(|soft| *soft < wanted)?;
    let text = format!(
        "{soft} files may be open, {wanted} are wanted for http.connections_max = {} and \
         limits.tcp_connections_max = {ice}: raise the hard limit (ulimit -Hn, LimitNOFILE=) or \
         lower these",
        config.http.connections_max
    );
    Some(Advice {
        topic: Topic::OpenFiles,
        text,
    })
}

fn kernel(readings: &Readings, backend: Backend) -> Option<Advice> {
    let (wanted, otherwise) = match backend {
        Backend::Uring => (KERNEL_URING, "media.backend = \"uring\" cannot be used"),
        Backend::Auto => (KERNEL_URING, "sendmmsg is used"),
        Backend::TokioUring => (
            KERNEL_TOKIO_URING,
            "media.backend = \"tokio-uring\" cannot be used",
        ),
        Backend::Mmsg => return None,
    };
    let (major, minor) = readings.kernel.filter(|kernel| *kernel < wanted)?;
    let text = format!(
        "Linux {major}.{minor} is too old for this io_uring back end, {}.{} is needed: {otherwise}",
        wanted.0, wanted.1
    );
    Some(Advice {
        topic: Topic::Kernel,
        text,
    })
}

fn io_uring_disabled(readings: &Readings, backend: Backend) -> Option<Advice> {
    if backend == Backend::Mmsg {
        return None;
    }
    let value = readings.io_uring_disabled.filter(|value| *value != 0)?;
    let whom = match value {
        1 => "unprivileged processes outside kernel.io_uring_group",
        _ => "every process",
    };
    let text = format!(
        "kernel.io_uring_disabled is {value}: io_uring is refused to {whom}; \
         sysctl -w kernel.io_uring_disabled=0, or set media.backend = \"mmsg\""
    );
    Some(Advice {
        topic: Topic::IoUringDisabled,
        text,
    })
}

fn locked_memory(readings: &Readings, backend: Backend, shard_count: u64) -> Option<Advice> {
    if backend == Backend::Mmsg {
        return None;
    }
    let wanted = shard_count.saturating_mul(LOCKED_BYTES_PER_SHARD);
    let soft = readings.locked_memory?.soft.filter(|soft| *soft < wanted)?;
    let text = format!(
        "{soft} bytes of memory may be locked, {wanted} are wanted: should io_uring be refused for \
         want of memory, raise the limit (ulimit -l, LimitMEMLOCK=)"
    );
    Some(Advice {
        topic: Topic::LockedMemory,
        text,
    })
}

fn open_to_all(config: &Config) -> Option<Advice> {
    let guarded = !config.auth.tokens.is_empty() || !config.auth.secret.is_empty();
    let listen = config.http.listen;
    if guarded || listen.ip().to_canonical().is_loopback() {
        return None;
    }
    let text = format!(
        "http.listen = \"{listen}\" and no auth.tokens: everybody who reaches this address may \
         publish, watch and delete"
    );
    Some(Advice {
        topic: Topic::OpenToAll,
        text,
    })
}

fn plain_http(config: &Config) -> Option<Advice> {
    let listen = config.http.listen;
    let is_secure = config.tls.self_signed || !config.tls.certificate.as_os_str().is_empty();
    // Who names a proxy has one in front, which may well speak HTTPS.
    let has_proxy = !config.http.trusted_proxies.is_empty();
    if is_secure || has_proxy || listen.ip().to_canonical().is_loopback() {
        return None;
    }
    let text = format!(
        "http.listen = \"{listen}\" speaks plain HTTP: who is on the way can read tokens and sit \
         between peers, and browsers lend cameras to HTTPS pages only. Set tls.certificate and \
         tls.key, try --tls-self-signed, or name the HTTPS proxy in http.trusted_proxies; see \
         docs/deployment.md"
    );
    Some(Advice {
        topic: Topic::PlainHttp,
        text,
    })
}

/// `6.1.0-18-amd64` → (6, 1).
fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.trim().split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Finds a line of `/proc/self/limits`: name, soft limit, hard limit, unit.
fn limit(limits: &str, name: &str) -> Option<Limit> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    let mut words = line.split_whitespace();
    let mut next = || match words.next()? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    };
    Some(Limit {
        soft: next()?,
        hard: next()?,
    })
}

/// Sockets, rings, doorbells and timers of one shard, rounded up.
const FILES_PER_SHARD: u64 = 16;
/// Standard streams, runtime, listeners, files being read, with room to spare.
const FILES_PER_NODE: u64 = 64;
/// SINGLE_ISSUER with DEFER_TASKRUN: io_uring_setup(2).
const KERNEL_URING: (u32, u32) = (6, 1);
/// What tokio-uring names as its oldest kernel.
const KERNEL_TOKIO_URING: (u32, u32) = (5, 11);
/// Rings and their buffers of one shard, for kernels that count them as locked memory.
const LOCKED_BYTES_PER_SHARD: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn roomy() -> Readings {
        let limit = Limit {
            soft: Some(1 << 20),
            hard: Some(1 << 20),
        };
        Readings {
            rmem_max_bytes: Some(4 << 20),
            wmem_max_bytes: Some(4 << 20),
            io_uring_disabled: Some(0),
            kernel: Some((6, 1)),
            open_files: Some(limit),
            locked_memory: Some(Limit {
                soft: Some(8 << 20),
                hard: None,
            }),
        }
    }

    fn topics(readings: &Readings, config: &Config) -> Vec<Topic> {
        advise(readings, config, 4)
            .into_iter()
            .map(|advice| advice.topic)
            .collect()
    }

    fn config_with(backend: Backend) -> Config {
        let mut config = Config::default();
        config.media.backend = backend;
        config
    }

    #[test]
    fn a_roomy_machine_needs_no_advice() {
        assert_eq!(topics(&roomy(), &Config::default()), []);
        let silent = Readings::default();
        assert_eq!(topics(&silent, &Config::default()), []);
    }

    #[test]
    fn socket_buffers_beyond_the_kernels_cap_are_named_with_the_remedy() {
        let mut readings = roomy();
        readings.rmem_max_bytes = Some((4 << 20) - 1);
        readings.wmem_max_bytes = Some(212_992);
        let advice = advise(&readings, &Config::default(), 4);
        assert_eq!(advice.len(), 2, "{advice:?}");
        assert_eq!(advice[0].topic, Topic::ReceiveBuffer);
        assert!(
            advice[0]
                .text
                .contains("sysctl -w net.core.rmem_max=4194304"),
            "{}",
            advice[0]
        );
        assert_eq!(advice[1].topic, Topic::SendBuffer);
        assert!(advice[1].text.contains("212992"), "{}", advice[1]);
    }

    #[test]
    fn soft_limit_of_open_files_is_raised_to_the_hard_one() {
        let mut readings = roomy();
        readings.open_files = Some(Limit {
            soft: Some(1024),
            hard: Some(524_288),
        });
        assert_eq!(topics(&readings, &Config::default()), [Topic::OpenFiles]);

        let asked = Cell::new(None);
        readings
            .raise_open_files(|limit| {
                asked.set(Some(limit));
                Ok(())
            })
            .unwrap();

        let raised = Limit {
            soft: Some(524_288),
            hard: Some(524_288),
        };
        assert_eq!(asked.get(), Some(raised));
        assert_eq!(readings.open_files, Some(raised));
        assert_eq!(topics(&readings, &Config::default()), []);
        // Nothing is left to raise.
        readings
            .raise_open_files(|_| panic!("asked again"))
            .unwrap();
    }

    #[test]
    fn refused_raise_of_open_files_keeps_the_advice() {
        let mut readings = roomy();
        readings.open_files = Some(Limit {
            soft: Some(256),
            hard: None,
        });
        let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
        let error = readings.raise_open_files(|_| Err(refused())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(topics(&readings, &Config::default()), [Topic::OpenFiles]);
    }

    #[test]
    fn open_files_are_judged_at_the_edge() {
        // 10 000 connections + 4 shards × 16 + 64.
        for (soft, expected) in [(12_127, vec![Topic::OpenFiles]), (12_128, vec![])] {
            let mut readings = roomy();
            readings.open_files = Some(Limit {
                soft: Some(soft),
                hard: Some(soft),
            });
            assert_eq!(topics(&readings, &Config::default()), expected, "{soft}");
        }
    }

    #[test]
    fn old_kernels_are_named_for_the_back_ends_that_need_newer_ones() {
        let mut readings = roomy();
        for (kernel, backend, expected) in [
            ((6, 0), Backend::Auto, vec![Topic::Kernel]),
            ((5, 15), Backend::Uring, vec![Topic::Kernel]),
            ((6, 1), Backend::Uring, vec![]),
            ((10, 0), Backend::Uring, vec![]),
            ((5, 15), Backend::TokioUring, vec![]),
            ((5, 10), Backend::TokioUring, vec![Topic::Kernel]),
            ((4, 19), Backend::Mmsg, vec![]),
        ] {
            readings.kernel = Some(kernel);
            let found = topics(&readings, &config_with(backend));
            assert_eq!(found, expected, "{kernel:?} {backend:?}");
        }
    }

    #[test]
    fn disabled_io_uring_and_little_locked_memory_matter_to_its_back_ends_only() {
        let mut readings = roomy();
        readings.io_uring_disabled = Some(2);
        readings.locked_memory = Some(Limit {
            soft: Some(65_536),
            hard: Some(65_536),
        });
        let both = [Topic::IoUringDisabled, Topic::LockedMemory];
        assert_eq!(topics(&readings, &config_with(Backend::Auto)), both);
        assert_eq!(topics(&readings, &config_with(Backend::Mmsg)), []);
    }

    #[test]
    fn open_node_is_told_only_when_others_can_reach_it() {
        let mut config = Config::default();
        config.http.listen = "0.0.0.0:7777".parse().unwrap();
        config.tls.self_signed = true;
        assert_eq!(topics(&roomy(), &config), [Topic::OpenToAll]);
        config.http.listen = "[::ffff:127.0.0.1]:7777".parse().unwrap();
        assert_eq!(topics(&roomy(), &config), []);
    }

    #[test]
    fn plain_http_is_told_only_when_others_can_reach_it_and_no_proxy_is_in_front() {
        let mut config = Config::default();
        config.auth.open = true;
        config.http.listen = "0.0.0.0:7777".parse().unwrap();
        let both = [Topic::OpenToAll, Topic::PlainHttp];
        assert_eq!(topics(&roomy(), &config), both);
        let mut secure = config.clone();
        secure.tls.certificate = "chain.pem".into();
        assert_eq!(topics(&roomy(), &secure), [Topic::OpenToAll]);
        let sources = crate::config::Sources {
            environment: vec![("WHITEWATER_HTTP_TRUSTED_PROXIES".into(), "192.0.2.1".into())],
            ..crate::config::Sources::default()
        };
        let proxied = crate::config::load(&sources).unwrap().config;
        config.http.trusted_proxies = proxied.http.trusted_proxies;
        assert_eq!(topics(&roomy(), &config), [Topic::OpenToAll]);
    }

    #[test]
    fn readings_come_from_procfs() {
        let name = format!("whitewater-advice-{}", std::process::id());
        let proc = std::env::temp_dir().join(name);
        for (path, text) in [
            ("sys/net/core/rmem_max", "212992\n"),
            ("sys/kernel/osrelease", "5.10.0-28-amd64\n"),
            ("sys/kernel/io_uring_disabled", "garbage\n"),
            (
                "self/limits",
                "Limit                     Soft Limit           Hard Limit           Units     \n\
                 Max open files            1024                 1048576              files     \n\
                 Max locked memory         8388608              unlimited            bytes     \n",
            ),
        ] {
            let path = proc.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let readings = Readings::take(&proc);
        fs::remove_dir_all(&proc).unwrap();

        let expected = Readings {
            rmem_max_bytes: Some(212_992),
            wmem_max_bytes: None,
            io_uring_disabled: None,
            kernel: Some((5, 10)),
            open_files: Some(Limit {
                soft: Some(1024),
                hard: Some(1_048_576),
            }),
            locked_memory: Some(Limit {
                soft: Some(8_388_608),
                hard: None,
            }),
        };
        assert_eq!(readings, expected);
    }

    #[test]
    fn odd_kernel_releases_are_not_guessed() {
        assert_eq!(kernel_version("6.18.44-fc\n"), Some((6, 18)));
        assert_eq!(kernel_version("6.8"), Some((6, 8)));
        assert_eq!(kernel_version("six"), None);
        assert_eq!(kernel_version(""), None);
    }
}

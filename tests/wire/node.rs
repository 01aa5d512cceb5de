//! A whole node: in this process, or as the real binary.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::oneshot;
use whitewater::Node;
use whitewater::config::{Flag, Sources, load};

/// A node in this process. Dropped, it ends in order.
pub(crate) struct Running {
    pub(crate) http: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Running {
    /// Starts a node on free ports of loopback with the given settings, which may choose others.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Running {
        let own = [("http.listen", "127.0.0.1:0"), ("media.udp", "127.0.0.1:0")];
        let flag = |(path, value): (&str, &str)| Flag {
            path: path.to_owned(),
            value: Some(value.to_owned()),
            written: "--set".to_owned(),
        };
        let sources = Sources {
            flags: own
                .into_iter()
                .filter(|(path, _)| settings.iter().all(|(set, _)| set != path))
                .chain(settings.iter().copied())
                .map(flag)
                .collect(),
            ..Sources::default()
        };
        let effective = load(&sources).expect("settings that are known");
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let node = Node::start(&effective).map_err(io::Error::other)?;
                let _ = tell.send(node.listen());
                node.run(async { _ = stopped.await }).await
            })
        });
        match told.recv() {
            Ok(http) => Running {
                http,
                stop: Some(stop),
                thread: Some(thread),
            },
            Err(_) => panic!("{settings:?}: {:?}", thread.join()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("no panic").expect("an orderly end");
            }
        }
    }
}

/// The binary in a process of its own. Dropped, it is killed.
pub(crate) struct Process {
    child: std::process::Child,
    output: Arc<Mutex<String>>,
    errors: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts the binary on free ports of loopback; `arguments` may choose others.
    pub(crate) fn start(arguments: &[&str]) -> Process {
        Self::start_with(&[], arguments)
    }

    /// The same, with variables of its own.
    pub(crate) fn start_with(variables: &[(&str, &str)], arguments: &[&str]) -> Process {
        // The attacks are made on a build as it is shipped.
        let binary = std::env::var_os("ATTACKED_BINARY");
        let binary = binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_whitewater").into());
        let mut command = Command::new(binary);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("WHITEWATER_") {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .envs(variables.iter().copied())
            // No configuration of the checkout is picked up.
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let (output, errors) = (Arc::default(), Arc::default());
        let readers = vec![
            collect(child.stdout.take().expect("piped"), &output),
            collect(child.stderr.take().expect("piped"), &errors),
        ];
        Process {
            child,
            output,
            errors,
            readers,
        }
    }

    /// Starts it as [`start`](Self::start) does, and waits until it serves.
    pub(crate) fn serving(arguments: &[&str]) -> Process {
        Self::serving_with(&[], arguments)
    }

    /// The same, with variables of its own.
    pub(crate) fn serving_with(variables: &[(&str, &str)], arguments: &[&str]) -> Process {
        let own = ["--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0"];
        let process = Self::start_with(variables, &[&own, arguments].concat());
        process.wait_for("back end ");
        process
    }

    /// Waits until standard output contains `text`.
    pub(crate) fn wait_for(&self, text: &str) {
        let what = format!("{text:?} on standard output");
        eventually_or(&what, || self.output().contains(text), || self.errors());
    }

    pub(crate) fn output(&self) -> String {
        text(&self.output)
    }

    pub(crate) fn errors(&self) -> String {
        text(&self.errors)
    }

    /// The address of the page, as greeted with.
    pub(crate) fn http(&self) -> SocketAddr {
        let output = self.output();
        let page = output
            .lines()
            .find_map(|line| line.trim().strip_prefix("Page"));
        let page = page.expect("the page's address").trim();
        let address = page
            .strip_prefix("http://")
            .or_else(|| page.strip_prefix("https://"))
            .and_then(|rest| rest.strip_suffix('/'));
        address.expect("a URL").parse().expect("an address")
    }

    /// The media address, as greeted with.
    pub(crate) fn udp(&self) -> SocketAddr {
        let output = self.output();
        let (_, rest) = output.split_once("UDP ").expect("the media address");
        let (address, _) = rest.split_once(',').expect("more on the line");
        address.parse().expect("an address")
    }

    /// The process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory.
    pub(crate) fn memory_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// The most resident memory it has had, since the start or since it was forgotten.
    pub(crate) fn memory_peak_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    pub(crate) fn forget_memory_peak(&self) {
        let path = format!("/proc/{}/clear_refs", self.child.id());
        std::fs::write(path, "5").expect("a process of ours");
    }

    fn status_kib(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let digits = line.expect("its memory").trim().trim_end_matches(" kB");
        digits.parse().expect("a number")
    }

    /// Open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        descriptors_of(self.child.id())
    }

    /// Processor time so far, in steps of ten milliseconds.
    pub(crate) fn cpu(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(path).expect("it runs");
        // The name, in parentheses, may have blanks: user and system time are the 12th and 13th after.
        let (_, rest) = stat.rsplit_once(')').expect("a name");
        let ticks = rest.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|text| text.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }

    pub(crate) fn terminate(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("it runs");
    }

    /// Waits for the end, and for all it said.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let mut status = None;
        let ended = || {
            status = self.child.try_wait().expect("a child of ours");
            status.is_some()
        };
        eventually("the process ends", ended);
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader");
        }
        status.expect("it ended")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Open descriptors of a process; none when it has ended.
pub(crate) fn descriptors_of(id: u32) -> usize {
    let path = format!("/proc/{id}/fd");
    std::fs::read_dir(path).map_or(0, |entries| entries.count())
}

/// Waits for a condition, with far more patience than it should take.
pub(crate) fn eventually(what: &str, condition: impl FnMut() -> bool) {
    eventually_or(what, condition, String::new);
}

/// As [`eventually`], with something to say when it does not come true.
pub(crate) fn eventually_or(
    what: &str,
    mut condition: impl FnMut() -> bool,
    say: impl Fn() -> String,
) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "not in time: {what}\n{}", say());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn text(shared: &Mutex<String>) -> String {
    shared
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

fn collect(from: impl io::Read + Send + 'static, into: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let into = into.clone();
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|size| size > 0) {
            let mut text = into.lock().unwrap_or_else(PoisonError::into_inner);
            text.push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}

const PATIENCE: Duration = Duration::from_secs(30);

//! Where the proxies are measured: a namespace, processors, a certificate, a service.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jaco_lab::until;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::peers::{self, Programs};
use crate::bench::space::{Running, Space};

/// Longest time until a port is open.
const PATIENCE: Duration = Duration::from_secs(30);
/// The processor of whoever is measured, and that of everybody else.
const MEASURED: usize = 0;
const OTHERS: usize = 1;
/// Files that a measured process may have open.
const FILES: u64 = 16_384;

/// Everything that is the same for all proxies. Dropping it ends what was started.
pub(super) struct Stage {
    pub(super) space: Space,
    pub(super) programs: Programs,
    /// Configuration files, and what programs write.
    pub(super) directory: PathBuf,
    _service: Started,
}

/// A program in the namespace; it ends with all its processes when this is dropped, and also when
/// this task is killed.
pub(super) struct Started {
    running: Running,
    /// The first process of the program itself.
    pub(super) pid: u32,
}

impl Started {
    /// Fails when it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        self.running.check()
    }
}

impl Stage {
    /// A namespace with a service in it.
    pub(super) fn set() -> Result<Stage> {
        let limit = getrlimit(Resource::Nofile);
        let enough = limit.maximum.is_none_or(|most| most >= FILES);
        ensure!(enough, "{FILES} open files are needed: raise the hard limit");
        setrlimit(Resource::Nofile, Rlimit { current: Some(FILES), maximum: limit.maximum })?;
        let space = Space::new()?;
        // Connections by the ten thousand, each with a port of its own.
        space.set("ipv4/ip_local_port_range", "10000 65000")?;
        let directory = crate::run::target_dir()?.join("bench").join("ingress");
        fs::create_dir_all(&directory)?;
        let made = rcgen::generate_simple_self_signed(vec![peers::NAME.to_owned()])?;
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        fs::write(directory.join("chain.pem"), &chain)?;
        fs::write(directory.join("key.pem"), &key)?;
        fs::write(directory.join("both.pem"), chain + &key)?;
        let programs = Programs::fetch()?;
        let command = peers::service(&programs, &directory)?;
        let service = start(&space, OTHERS, command)?;
        let stage = Stage { space, programs, directory, _service: service };
        stage.wait_for(peers::SERVICE)?;
        Ok(stage)
    }

    /// Starts what is measured.
    pub(super) fn measured(&self, command: Command) -> Result<Started> {
        start(&self.space, MEASURED, command)
    }

    /// Starts something beside it.
    pub(super) fn beside(&self, command: Command) -> Result<Started> {
        start(&self.space, OTHERS, command)
    }

    /// Does something in the namespace, beside what is measured.
    pub(super) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.space.pin(OTHERS)?;
        self.space.run(job)
    }

    /// Standard output of a program that must succeed.
    pub(super) fn output(&self, mut command: Command) -> Result<String> {
        self.run(move || {
            let output = command.stdin(Stdio::null()).output()?;
            let errors = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{:?}: {errors}", command.get_program());
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        })
    }

    /// Waits until something listens.
    pub(super) fn wait_for(&self, port: u16) -> Result<()> {
        until(&format!("port {port}"), PATIENCE, || {
            self.run(move || Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok().map(drop)))
        })
    }
}

fn start(space: &Space, processor: usize, command: Command) -> Result<Started> {
    space.pin(processor)?;
    let running = space.start(tied(&command))?;
    let pid = until("a program", PATIENCE, || Ok(child_of(running.id())))?;
    Ok(Started { running, pid })
}

/// The same command in a process namespace that ends with this task.
pub(super) fn tied(command: &Command) -> Command {
    let mut words: Vec<OsString> =
        ["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child"]
            .into_iter()
            .map(OsString::from)
            .collect();
    words.push(command.get_program().to_owned());
    words.extend(command.get_args().map(OsString::from));
    let mut tied = Command::new("setpriv");
    tied.args(words);
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            tied.env(name, value);
        }
    }
    if let Some(directory) = command.get_current_dir() {
        tied.current_dir(directory);
    }
    tied.stdout(Stdio::null());
    tied
}

/// A process that this one started.
pub(super) fn child_of(parent: u32) -> Option<u32> {
    let parent = parent.to_string();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(|pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map(|(_, fields)| fields);
        fields.and_then(|fields| fields.split(' ').nth(1)) == Some(&parent)
    })
}

/// Files that a process has open.
pub(super) fn open_files(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd")).context("open files")?.count())
}

/// Our proxy, and the lines it is told.
pub(super) struct Ours {
    pub(super) started: Started,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Ours {
    /// Starts it; it serves a table with one route.
    pub(super) fn start(stage: &Stage) -> Result<Ours> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "ingress-host"]).arg(&stage.directory);
        let mut command = tied(&command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        stage.space.pin(MEASURED)?;
        let mut child = stage.space.run(move || Ok(command.spawn()?))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let running = Running::from(child);
        let pid = until("our proxy", PATIENCE, || Ok(child_of(running.id())))?;
        let (orders, answers) = pipes.context("no pipes")?;
        let started = Started { running, pid };
        let mut ours = Ours { started, orders, answers: BufReader::new(answers) };
        ours.tell("routes 1")?;
        Ok(ours)
    }

    /// Gives an order and waits until it is carried out.
    pub(super) fn tell(&mut self, order: &str) -> Result<()> {
        writeln!(self.orders, "{order}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        ensure!(answer.trim() == "done", "our proxy did not {order}: {answer}");
        Ok(())
    }
}

/// Writes a configuration file.
pub(super) fn write(directory: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| format!("{}", path.display()))?;
    Ok(path)
}

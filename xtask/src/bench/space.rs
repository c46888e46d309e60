//! Network namespaces that live as long as their threads.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};

use anyhow::{Context, Result, bail, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};

type Job = Box<dyn FnOnce() + Send>;

/// A namespace, and a thread in it that does what it is given.
pub(crate) struct Space {
    jobs: Sender<Job>,
    thread_id: i32,
}

impl Space {
    /// A new namespace with its loopback interface up.
    pub(crate) fn new() -> Result<Space> {
        let (jobs, received) = channel::<Job>();
        let (told, tells) = channel();
        std::thread::spawn(move || {
            let made = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET);
            let made = made.map(|()| rustix::thread::gettid().as_raw_nonzero().get());
            let is_made = made.is_ok();
            if told.send(made).is_ok() && is_made {
                received.into_iter().for_each(|job| job());
            }
        });
        let thread_id = tells.recv()?.context("a network namespace needs root")?;
        let space = Space { jobs, thread_id };
        space.ip("link set lo up")?;
        Ok(space)
    }

    /// Does something in it.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (done, result) = channel();
        let job = Box::new(move || drop(done.send(job())));
        ensure!(self.jobs.send(job).is_ok(), "the thread of a namespace has ended");
        result.recv().context("the thread of a namespace panicked")?
    }

    /// `ip` with these words.
    pub(crate) fn ip(&self, words: &str) -> Result<()> {
        let words = words.to_owned();
        self.run(move || program("ip", &words))
    }

    /// Sets a parameter of the kernel that belongs to the namespace.
    pub(crate) fn set(&self, name: &str, value: &'static str) -> Result<()> {
        let path = format!("/proc/sys/net/{name}");
        self.run(move || fs::write(&path, value).with_context(|| path))
    }

    /// Lets its thread, and what is started from it later, run on one processor only.
    pub(crate) fn pin(&self, processor: usize) -> Result<()> {
        self.run(move || {
            let mut only = CpuSet::new();
            only.set(processor);
            sched_setaffinity(None, &only).context("cannot choose a processor")
        })
    }

    /// Starts a program in it.
    pub(crate) fn start(&self, mut command: Command) -> Result<Running> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = self.run(move || Ok(command.stdin(Stdio::null()).spawn()?));
        Ok(Running(child.with_context(|| format!("cannot start {name}"))?))
    }

    /// Joins it to another by a pair of interfaces of these names.
    pub(crate) fn link(&self, name: &str, other: &Space, its: &str) -> Result<()> {
        let to = other.thread_id;
        self.ip(&format!("link add {name} type veth peer name {its} netns {to}"))?;
        self.ip(&format!("link set {name} up"))?;
        other.ip(&format!("link set {its} up"))
    }
}

/// A program that ends when this is dropped.
pub(crate) struct Running(Child);

impl Running {
    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Fails when it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.0.try_wait()? {
            Some(status) => bail!("it ended: {status}"),
            None => Ok(()),
        }
    }
}

impl From<Child> for Running {
    fn from(child: Child) -> Running {
        Running(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that ended by itself needs no more.
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Packets that an interface in the namespace of this thread has received.
pub(crate) fn received(interface: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/dev")?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'));
    let packets = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    packets.with_context(|| format!("no counter of {interface}"))
}

fn program(name: &str, words: &str) -> Result<()> {
    let output = Command::new(name)
        .args(words.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {name}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} {words}: {errors}");
    Ok(())
}

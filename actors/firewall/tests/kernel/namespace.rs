//! Network namespaces that live as long as their threads, and programs in them.

use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

type Job = Box<dyn FnOnce() + Send>;

/// A namespace with a thread in it.
pub(crate) struct Namespace {
    jobs: Sender<Job>,
    thread_id: i32,
}

impl Namespace {
    /// A new namespace with its loopback interface up.
    pub(crate) fn new() -> Namespace {
        let (jobs, received) = channel::<Job>();
        let (told, tells) = channel();
        std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            told.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            received.into_iter().for_each(|job| job());
        });
        let thread_id = tells.recv().expect("tests of the kernel need root");
        let namespace = Namespace { jobs, thread_id };
        namespace.ip("link set lo up");
        namespace
    }

    /// Does something in it; panics when that does.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        self.jobs.send(Box::new(move || _ = done.send(job()))).unwrap();
        result.recv().expect("the job panicked, see above")
    }

    /// `ip` with these words.
    pub(crate) fn ip(&self, words: &str) {
        let words = words.to_owned();
        self.run(move || program("ip", &words));
    }

    /// Sets a parameter of the kernel that belongs to the namespace.
    pub(crate) fn set(&self, name: &str, value: &str) {
        let (path, value) = (format!("/proc/sys/net/{name}"), value.to_owned());
        self.run(move || std::fs::write(&path, value).unwrap_or_else(|e| panic!("{path}: {e}")));
    }

    /// Joins it to another by a pair of interfaces of these names.
    pub(crate) fn link(&self, name: &str, other: &Namespace, its: &str) {
        let to = other.thread_id;
        self.ip(&format!("link add {name} type veth peer name {its} netns {to}"));
        self.ip(&format!("link set {name} up"));
        other.ip(&format!("link set {its} up"));
    }
}

/// Runs a program in the namespace of this thread; its output.
pub(crate) fn program(name: &str, words: &str) -> String {
    let output = Command::new(name)
        .args(words.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}; install it with cargo xtask setup"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {words}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `nft` with these words.
pub(crate) fn nft(words: &str) -> String {
    program("nft", words)
}

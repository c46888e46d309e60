//! A jacod on a lab host, and the command line that talks to it.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::io::FdFlags;
use rustix::process::{Pid, Signal, kill_process};

use crate::host::Host;
use crate::wait::until;

/// Longest time until a daemon answers on its socket, or has ended after SIGTERM.
const LIMIT: Duration = Duration::from_secs(30);

/// A daemon process on a host. Dropping it ends the process; its state stays with the lab.
#[derive(Debug)]
pub struct Daemon {
    host: Host,
    binary: PathBuf,
    env: Vec<(String, String)>,
    passed: Option<(String, OwnedFd)>,
    child: Option<Child>,
}

impl Daemon {
    /// Starts a daemon whose state, socket and engine are the host's, and waits until it answers.
    ///
    /// # Errors
    /// When it does not start; its log is in [`Daemon::log`].
    pub fn start(host: &Host, binary: &Path) -> Result<Self> {
        Self::start_with(host, binary, &[])
    }

    /// As [`Daemon::start`], with variables that stay for every later start.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_with(host: &Host, binary: &Path, env: &[(String, String)]) -> Result<Self> {
        let (host, binary) = (host.clone(), binary.to_owned());
        let mut daemon = Self { host, binary, env: env.to_vec(), passed: None, child: None };
        daemon.start_again()?;
        Ok(daemon)
    }

    /// Starts the daemon again after [`Daemon::kill`] or [`Daemon::stop`].
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_again(&mut self) -> Result<()> {
        self.spawn()?;
        until("the daemon's socket", LIMIT, || {
            let running = self.child.as_mut().map(Child::try_wait).transpose()?;
            ensure!(
                matches!(running, Some(None)),
                "the daemon ended; see {}",
                self.log().display()
            );
            Ok(UnixStream::connect(self.socket()).is_ok().then_some(()))
        })
    }

    /// Starts the process without waiting for it to answer.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn spawn(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = self.program()?;
        command
            .arg("daemon")
            .env("JACO_DATA_DIR", self.data_dir())
            .env("JACO_SOCKET", self.socket())
            .env("JACO_SOCKET_GROUP", "")
            .env("JACO_LOG_FORMAT", "text")
            // Not the daemon's: it warns of variables that it does not know.
            .env_remove("JACO_TEST_BIN")
            .env_remove("JACO_TEST_PROBE")
            .env("JACO_DOCKER_HOST", format!("unix://{}", self.host.docker_socket().display()))
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.child = Some(command.spawn().context("cannot start the daemon")?);
        self.passed = None;
        Ok(())
    }

    /// Sets a variable for every later start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Passes a socket under this name to the next start, as systemd does.
    pub fn pass(&mut self, name: &str, socket: OwnedFd) {
        self.passed = Some((name.to_owned(), socket));
    }

    /// The daemon's program; with a socket to pass, by way of a shell that says whose it is.
    fn program(&self) -> Result<Command> {
        let Some((name, socket)) = &self.passed else { return Ok(self.host.command(&self.binary)) };
        rustix::io::fcntl_setfd(socket, FdFlags::empty())?;
        let script = format!(
            "exec 3<&{}; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES='{name}'; exec \"$@\"",
            socket.as_raw_fd()
        );
        let mut command = self.host.command("bash");
        command.args(["-c", &script, "bash"]).arg(&self.binary);
        Ok(command)
    }

    /// Where the daemon listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.host.run_dir().join("jaco.sock")
    }

    /// The daemon's durable state.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.host.daemon_data_dir()
    }

    /// What the daemon has said.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.host.data_dir().join("jacod.log")
    }

    /// The process id; `None` while it does not run.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// A command of `jaco` that talks to this daemon, inside its host.
    pub fn jaco<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.host.command(&self.binary);
        command.args(args).env("JACO_SOCKET", self.socket()).env_remove("JACO_OUTPUT");
        command
    }

    /// Ends the process at once, as a power cut would.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill().context("cannot kill the daemon")?;
        child.wait().context("cannot wait for the daemon")?;
        Ok(())
    }

    /// The exit code of a daemon that has ended by itself, -1 after a signal; `None` while it runs.
    ///
    /// # Errors
    /// When it was not started, or cannot be waited for.
    pub fn ended(&mut self) -> Result<Option<i32>> {
        let child = self.child.as_mut().context("the daemon was not started")?;
        let status = child.try_wait().context("cannot wait for the daemon")?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status.map(|status| status.code().unwrap_or(-1)))
    }

    /// Stops the process as SIGSTOP does: it neither works nor answers, and notices nothing.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a paused process go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Asks the process to end, and does not wait for it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn ask_to_end(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        // The id cannot be another process's: ours is collected only where `child` is taken.
        let pid = self.pid().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        kill_process(pid.context("the daemon does not run")?, signal).context("signal")
    }

    /// Asks the process to end and waits for it.
    ///
    /// # Errors
    /// When it does not end in time; it is then killed.
    pub fn stop(&mut self) -> Result<()> {
        // They fail only when the process has ended by itself, which is what is wanted. A paused
        // one would not see that it shall end.
        let _ = self.signal(Signal::TERM).and_then(|()| self.signal(Signal::CONT));
        let Some(child) = self.child.as_mut() else { return Ok(()) };
        let ended = until("the daemon's end", LIMIT, || Ok(child.try_wait()?));
        if ended.is_err() {
            self.kill()?;
        }
        self.child = None;
        ended.map(drop)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Nobody is left to tell; the lab removes what a daemon leaves.
        let _ = self.stop();
    }
}

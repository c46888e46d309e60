//! The tunnel in a helper process: adopted when one lives, else started.

use crate::helper::protocol::{Answer, Hello, Request, VERSION, receive, send};
use crate::helper::{Arguments, Files};
use crate::keys::private_directory;
use crate::tunnel::{Figures, Tunnel};
use crate::{Config, Error, HelperCommand, links};
use jaco_netmesh_core::{PeerChange, PublicKey};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// The helper answers from memory; longer than this it hangs.
const ANSWER: Duration = Duration::from_secs(5);
/// A helper that starts or stops does it within this on the slowest host.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks while it does.
const STEP: Duration = Duration::from_millis(20);
/// A larger log of the helper is begun anew.
const LOG_LIMIT: u64 = 1 << 20;

/// A tunnel whose packets a helper carries.
#[derive(Debug)]
pub(crate) struct Userspace {
    files: Files,
    interface: String,
    data_dir: PathBuf,
    command: HelperCommand,
    key: PublicKey,
    client: Mutex<Option<Client>>,
}

/// A connection to a helper.
#[derive(Debug)]
struct Client {
    stream: BufReader<UnixStream>,
    hello: Hello,
}

impl Client {
    async fn connect(files: &Files) -> Result<Client, Error> {
        let stream = UnixStream::connect(&files.socket).await;
        let stream = stream.map_err(Error::io("reach the mesh helper"))?;
        let other = rustix::net::sockopt::socket_peercred(&stream)
            .map_err(|error| Error::io("ask who the mesh helper is")(error.into()))?;
        if other.uid != rustix::process::geteuid() && !other.uid.is_root() {
            return Err(Error::Helper("its socket belongs to another user".to_owned()));
        }
        let mut stream = BufReader::new(stream);
        match ask(&mut stream, &Request::Hello { version: VERSION }).await? {
            Answer::Hello(hello) => Ok(Client { stream, hello }),
            other => Err(Error::Helper(format!("unexpected answer {other:?}"))),
        }
    }
}

async fn ask(stream: &mut BufReader<UnixStream>, request: &Request) -> Result<Answer, Error> {
    let talk = async {
        send(stream, request).await?;
        receive(stream).await?.ok_or_else(|| Error::Helper("it hung up".to_owned()))
    };
    let silent = || Error::Helper("it does not answer".to_owned());
    match timeout(ANSWER, talk).await.map_err(|_| silent())?? {
        Answer::Failed { reason } => Err(Error::Helper(reason)),
        answer => Ok(answer),
    }
}

impl Userspace {
    pub(crate) fn new(config: &Config, key: PublicKey) -> Userspace {
        Userspace {
            files: Files::below(&config.data_dir),
            interface: config.interface.clone(),
            data_dir: config.data_dir.clone(),
            command: config.helper.clone(),
            key,
            client: Mutex::new(None),
        }
    }

    /// Asks the helper; `None` when there is none of this daemon's version and key.
    async fn ask(&self, request: Request) -> Result<Option<Answer>, Error> {
        let mut client = self.client.lock().await;
        if client.is_none() {
            *client = Client::connect(&self.files).await.ok();
        }
        let Some(Client { stream, hello }) = client.as_mut() else { return Ok(None) };
        if !self.fits(hello) {
            return Ok(None);
        }
        match ask(stream, &request).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) => {
                // What is still under way on this connection must not answer the next question.
                *client = None;
                if matches!(error, Error::Io { .. }) { Ok(None) } else { Err(error) }
            }
        }
    }

    fn fits(&self, hello: &Hello) -> bool {
        hello.version == VERSION
            && hello.public_key == self.key
            && hello.interface == self.interface
    }

    /// Ends whatever helper holds the lock: by asking, then by force.
    pub(crate) async fn dismiss(&self) -> Result<(), Error> {
        *self.client.lock().await = None;
        let is_told = match Client::connect(&self.files).await {
            Ok(mut client) => {
                tracing::info!(pid = client.hello.pid, "mesh helper is replaced");
                ask(&mut client.stream, &Request::Stop).await.is_ok()
            }
            Err(_) => false,
        };
        for by_force in [false, true] {
            // One that cannot be told is only waited for after it was killed.
            if !by_force && !is_told && self.is_held()? {
                continue;
            }
            if by_force && let Some(pid) = self.holder() {
                tracing::warn!(pid = pid.as_raw_nonzero().get(), "mesh helper hangs and is killed");
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            let freed = async {
                while self.is_held()? {
                    tokio::time::sleep(STEP).await;
                }
                Ok(())
            };
            if let Ok(freed) = timeout(ANSWER, freed).await {
                return freed;
            }
        }
        Err(Error::Helper("it does not end".to_owned()))
    }

    /// Whether a helper lives.
    fn is_held(&self) -> Result<bool, Error> {
        let opened =
            rustix::fs::open(&self.files.lock, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let file = match opened {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(false),
            Err(error) => return Err(Error::io("open the helper's lock")(error.into())),
        };
        Ok(rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err())
    }

    /// The process that holds the lock, if it is a helper of this data directory: a process id
    /// may have gone to somebody else.
    fn holder(&self) -> Option<rustix::process::Pid> {
        let text = std::fs::read_to_string(&self.files.lock).ok()?;
        let pid = text.trim().parse().ok().and_then(rustix::process::Pid::from_raw)?;
        let mut words = Vec::new();
        let path = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
        File::open(path).and_then(|file| file.take(65_536).read_to_end(&mut words)).ok()?;
        let ours = self.data_dir.as_os_str().as_encoded_bytes();
        words.split(|byte| *byte == 0).any(|word| word == ours).then_some(pid)
    }

    /// Starts a helper and waits until it answers.
    async fn start(&self, port: u16) -> Result<(), Error> {
        private_directory(&self.files.directory)?;
        let is_full = self.files.log.metadata().is_ok_and(|log| log.len() > LOG_LIMIT);
        let mut options = File::options();
        options.create(true).append(!is_full).write(true).truncate(is_full);
        let log = options.open(&self.files.log).map_err(Error::io("open the helper's log"))?;
        let arguments =
            Arguments { data_dir: self.data_dir.clone(), interface: self.interface.clone(), port };
        let mut command = std::process::Command::new(&self.command.program);
        if let Some(name) = &self.command.name {
            command.arg0(name);
        }
        command.args(&self.command.args).args(arguments.to_words()).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut command = tokio::process::Command::from(command);
        let mut child =
            command.kill_on_drop(false).spawn().map_err(Error::io("start the mesh helper"))?;
        let ready = async {
            loop {
                if let Ok(client) = Client::connect(&self.files).await
                    && self.fits(&client.hello)
                {
                    return Ok(client);
                }
                if let Ok(Some(status)) = child.try_wait() {
                    return Err(Error::NoTunnel(format!(
                        "it ended at once, {status}: {}",
                        self.last_words()
                    )));
                }
                tokio::time::sleep(STEP).await;
            }
        };
        let late = || Error::NoTunnel("it does not start".to_owned());
        let client = timeout(PATIENCE, ready).await.map_err(|_| late())??;
        tracing::info!(pid = client.hello.pid, "mesh helper started");
        *self.client.lock().await = Some(client);
        Ok(())
    }

    /// The last line of the helper's log.
    fn last_words(&self) -> String {
        let text = std::fs::read(&self.files.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines().last().unwrap_or_default().chars().take(300).collect()
    }
}

impl Tunnel for Userspace {
    async fn figures(&self) -> Result<Option<Figures>, Error> {
        match self.ask(Request::Peers).await? {
            Some(Answer::Peers { port, peers }) => Ok(Some(Figures { port, peers })),
            Some(other) => Err(Error::Helper(format!("unexpected answer {other:?}"))),
            None => Ok(None),
        }
    }

    async fn ensure(&self, port: u16) -> Result<(), Error> {
        let has_link = links::index(&self.interface).await?.is_some();
        // A helper whose interface is gone has noticed or will; it is of no use.
        if has_link && let Some(figures) = self.figures().await? {
            if figures.port != port {
                self.ask(Request::Listen { port }).await?;
            }
            return Ok(());
        }
        self.dismiss().await?;
        links::delete(&self.interface).await?;
        self.start(port).await
    }

    async fn change(&self, changes: Vec<PeerChange>) -> Result<(), Error> {
        match self.ask(Request::Change { changes }).await? {
            Some(_) => Ok(()),
            None => Err(Error::Helper("it is gone".to_owned())),
        }
    }

    async fn remove(&self) -> Result<(), Error> {
        self.dismiss().await?;
        links::delete(&self.interface).await
    }
}

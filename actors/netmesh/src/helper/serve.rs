//! The helper's socket: one request at a time, from the daemon's user alone.

use super::device::Tunnel;
use super::protocol::{Answer, Hello, Request, VERSION, receive, send};
use super::{Arguments, Files};
use crate::Error;
use crate::keys::{KeyPair, private_directory};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tokio::io::BufReader;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// How often a helper looks whether its socket is still its own.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Runs until told to stop or until the interface is gone. The caller has the lock of these files.
pub(super) async fn serve(arguments: &Arguments, files: &Files) -> Result<(), Error> {
    let key = KeyPair::read(&arguments.data_dir)?;
    let public_key = key.public;
    let mut tunnel = Tunnel::open(&arguments.interface, arguments.port, key).await?;
    let listener = listen(files)?;
    tracing::info!(interface = arguments.interface, port = arguments.port, "mesh helper is up");
    let hello = Hello {
        version: VERSION,
        pid: std::process::id(),
        public_key,
        interface: arguments.interface.clone(),
    };
    let ended = accept(&listener, &mut tunnel, &hello, files).await;
    // Gone before the lock, so that whoever gets the lock finds no socket of somebody else.
    let _ = std::fs::remove_file(&files.socket);
    ended
}

/// Takes the lock that only one helper of a data directory has, and writes down who that is.
pub(super) fn lock(files: &Files) -> Result<File, Error> {
    private_directory(&files.directory)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let opened = rustix::fs::open(&files.lock, flags, Mode::RUSR | Mode::WUSR);
    let mut file = File::from(opened.map_err(|e| Error::io("open the helper's lock")(e.into()))?);
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| Error::Helper("another helper is alive".to_owned()))?;
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(Error::io("write the helper's lock"))?;
    Ok(file)
}

fn listen(files: &Files) -> Result<UnixListener, Error> {
    // Left by a helper that was killed; the lock says that it is dead.
    let _ = std::fs::remove_file(&files.socket);
    let next = files.socket.with_extension("new");
    let _ = std::fs::remove_file(&next);
    let listener = UnixListener::bind(&next).map_err(Error::io("open the helper's socket"))?;
    // Under its name only once nobody else can open it.
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&next, private).map_err(Error::io("close the helper's socket"))?;
    std::fs::rename(&next, &files.socket).map_err(Error::io("name the helper's socket"))?;
    Ok(listener)
}

/// A request and where its answer goes.
type Asked = (Request, oneshot::Sender<Answer>);

async fn accept(
    listener: &UnixListener,
    tunnel: &mut Tunnel,
    hello: &Hello,
    files: &Files,
) -> Result<(), Error> {
    let mut look = tokio::time::interval(LOOK_EVERY);
    let (ask, mut asked) = mpsc::channel::<Asked>(16);
    loop {
        tokio::select! {
            () = tunnel.ended() => return Err(Error::Tunnel("the interface is gone".to_owned())),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if is_ours(&stream) => {
                    tokio::spawn(talk(stream, ask.clone()));
                }
                Ok(_) => tracing::warn!("a stranger at the mesh helper's socket"),
                // Out of descriptors or the like; the next try may do.
                Err(error) => {
                    tracing::warn!(%error, "mesh helper cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            _ = look.tick() => if !matches!(files.socket.try_exists(), Ok(true)) {
                return Err(Error::Helper("its socket is gone".to_owned()));
            },
            Some((request, reply)) = asked.recv() => {
                let is_stop = request == Request::Stop;
                let is_listen = matches!(request, Request::Listen { .. });
                let answer = answer(request, tunnel, hello).await;
                let is_deaf = is_listen && matches!(answer, Answer::Failed { .. });
                // A daemon that went away does not want the answer any more.
                let _ = reply.send(answer);
                if is_stop {
                    return Ok(());
                }
                // Without its port the tunnel carries nothing; the next helper says why not.
                if is_deaf {
                    return Err(Error::Tunnel("the port cannot be opened".to_owned()));
                }
            },
        }
    }
}

/// One connection, until it ends or says something that is no request.
async fn talk(stream: UnixStream, ask: mpsc::Sender<Asked>) {
    let mut stream = BufReader::new(stream);
    while let Ok(Some(request)) = receive(&mut stream).await {
        let (reply, answer) = oneshot::channel();
        if ask.send((request, reply)).await.is_err() {
            return;
        }
        let Ok(answer) = answer.await else { return };
        if send(&mut stream, &answer).await.is_err() {
            return;
        }
    }
}

async fn answer(request: Request, tunnel: &Tunnel, hello: &Hello) -> Answer {
    let done = |result: Result<(), Error>| match result {
        Ok(()) => Answer::Done,
        Err(error) => Answer::Failed { reason: error.to_string() },
    };
    match request {
        Request::Hello { .. } => Answer::Hello(hello.clone()),
        Request::Listen { port } => done(tunnel.listen(port).await),
        Request::Change { changes } => done(tunnel.change(changes).await),
        Request::Peers => {
            let (port, peers) = tunnel.peers().await;
            Answer::Peers { port, peers }
        }
        Request::Stop => Answer::Done,
    }
}

/// Whether the other end runs as this user or as root.
fn is_ours(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid();
    let other = rustix::net::sockopt::socket_peercred(stream);
    other.is_ok_and(|other| other.uid == own || other.uid.is_root())
}

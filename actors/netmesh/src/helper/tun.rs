//! The TUN interface: packets to and from the kernel, TCP in large pieces.

use super::offload::{FRAME_MAX, Joiner, cut};
use super::sys;
use gotatun::packet::{Ip, Packet, PacketBufPool};
use gotatun::tun::tun::{self, AbstractDevice, AsyncDevice};
use gotatun::tun::{IpRecv, IpSend, MtuWatcher};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinSet;

/// Time between two looks at the interface's MTU.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Pieces that may wait to be written.
const WAITING_MAX: usize = 32;

/// Packets for the kernel.
///
/// Nobody says when the last of some packets has come. One that the next may join waits until the
/// task that brings packets has no more: then another task gets its turn, which writes. All other
/// packets are written at once, after those that wait.
pub(super) struct ToKernel {
    waiting: Arc<Waiting>,
    /// Ends when dropped.
    _writer: JoinSet<()>,
}

/// What waits to be written.
struct Waiting {
    device: Arc<AsyncDevice>,
    joiner: Mutex<Joiner>,
    begins: Notify,
}

/// Packets from the kernel.
pub(super) struct FromKernel {
    device: Arc<AsyncDevice>,
    frame: Box<[u8]>,
    packets: Vec<Packet<Ip>>,
    mtu: watch::Receiver<u16>,
    /// Ends when dropped.
    _watch: JoinSet<()>,
}

/// Tells when the interface is gone.
pub(super) struct Gone(AsyncFd<OwnedFd>);

impl Gone {
    /// Waits until the interface was deleted. The kernel says so as an error without anything to
    /// read, for which a reader does not wake up.
    pub(super) async fn wait(&self) {
        // It cannot be watched only when the runtime ends.
        let _ = self.0.ready(Interest::ERROR).await;
    }
}

/// Makes the interface, which stays down.
///
/// # Errors
/// When the kernel makes none, or the name is taken.
pub(super) fn open(name: &str) -> Result<(ToKernel, FromKernel, Gone), tun::Error> {
    let mut wanted = tun::Configuration::default();
    wanted.tun_name(name);
    wanted.platform_config(|platform| {
        platform.vnet_hdr(true);
    });
    let device = tun::create_as_async(&wanted)?;
    if let Err(error) = sys::take_large_pieces(&*device) {
        tracing::warn!(%error, "the kernel cuts TCP into packets itself");
    }
    let gone = Gone(sys::watch_errors(&*device)?);
    let (told, mtu) = watch::channel(device.mtu()?);
    let device = Arc::new(device);
    let mut watching = JoinSet::new();
    watching.spawn(watch_mtu(device.clone(), told));
    let joiner = Mutex::new(Joiner::default());
    let waiting = Arc::new(Waiting { device: device.clone(), joiner, begins: Notify::new() });
    let mut writer = JoinSet::new();
    writer.spawn(write(waiting.clone()));
    let frame = vec![0; FRAME_MAX].into_boxed_slice();
    let from = FromKernel { device, frame, packets: Vec::new(), mtu, _watch: watching };
    Ok((ToKernel { waiting, _writer: writer }, from, gone))
}

/// The kernel tells of changes, but only a socket; a look now and then is enough.
async fn watch_mtu(device: Arc<AsyncDevice>, told: watch::Sender<u16>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // That the interface is gone is told by `Gone`.
        if let Ok(mtu) = device.mtu() {
            told.send_if_modified(|old| std::mem::replace(old, mtu) != mtu);
        }
    }
}

/// Writes what has begun to wait.
async fn write(waiting: Arc<Waiting>) {
    loop {
        waiting.begins.notified().await;
        waiting.write(&mut *waiting.joiner.lock().await).await;
    }
}

impl Waiting {
    async fn write(&self, joiner: &mut Joiner) {
        for frame in joiner.take() {
            // What the kernel does not take is lost, as on any interface that is down.
            if let Err(error) = self.device.send(frame).await {
                tracing::trace!(%error, "a packet was not taken");
            }
        }
    }
}

impl IpSend for ToKernel {
    async fn send(&mut self, packet: Packet<Ip>) -> io::Result<()> {
        let mut joiner = self.waiting.joiner.lock().await;
        let is_first = joiner.len() == 0;
        if !joiner.add(&packet.into_bytes()) || joiner.len() >= WAITING_MAX {
            self.waiting.write(&mut joiner).await;
        } else if is_first {
            self.waiting.begins.notify_one();
        }
        Ok(())
    }
}

impl IpRecv for FromKernel {
    async fn recv<'a>(
        &'a mut self,
        pool: &mut PacketBufPool,
    ) -> io::Result<impl Iterator<Item = Packet<Ip>> + Send + 'a> {
        let length = self.device.recv(&mut self.frame).await?;
        let packets = &mut self.packets;
        cut(self.frame.get(..length).unwrap_or_default(), |parts, finish| {
            let mut packet = pool.get();
            let buffer = packet.buf_mut();
            buffer.clear();
            parts.iter().for_each(|part| buffer.extend_from_slice(part));
            finish(buffer);
            // Too short for IP: nobody can be meant.
            packets.extend(packet.try_into_ip().ok());
        });
        Ok(self.packets.drain(..))
    }

    fn mtu(&self) -> MtuWatcher {
        self.mtu.clone().into()
    }
}

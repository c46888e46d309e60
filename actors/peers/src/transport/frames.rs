//! Frames on a byte stream.

use std::io;

use bytes::{Buf, BytesMut};
use jaco_wire::peer::{FRAME_HEADER, Frame, decode_frame, encode_frame, frame_length};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Room that is made for reading at a time, so that a claimed length allocates nothing.
const READ: usize = 64 << 10;

/// Small frames share a write until they are this long together: a record of TLS.
const GATHERED: usize = 16 << 10;

/// Why no more frames can be exchanged.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The connection ended.
    #[error("the connection was closed")]
    Closed,
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[source] io::Error),
    /// The bytes are not frames.
    #[error("a malformed frame")]
    Malformed(#[source] jaco_wire::Error),
    /// A frame that has no place here.
    #[error("a frame out of place: {0}")]
    OutOfPlace(&'static str),
}

impl Broken {
    /// Whether the other side is to blame, and not the network.
    pub(super) fn is_violation(&self) -> bool {
        matches!(self, Broken::Malformed(_) | Broken::OutOfPlace(_))
    }
}

/// Reads frames.
#[derive(Debug)]
pub(super) struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(stream: R) -> FrameReader<R> {
        FrameReader { stream, buffer: BytesMut::new() }
    }

    /// The next frame. A call that is dropped loses nothing.
    pub(super) async fn next(&mut self) -> Result<Frame, Broken> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(frame);
            }
            self.buffer.reserve(READ);
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) if self.buffer.is_empty() => return Err(Broken::Closed),
                Ok(0) => return Err(Broken::Io(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) => return Err(Broken::Io(error)),
            }
        }
    }

    fn buffered(&mut self) -> Result<Option<Frame>, Broken> {
        let Some(header) = self.buffer.first_chunk::<FRAME_HEADER>() else { return Ok(None) };
        let length = frame_length(*header).map_err(Broken::Malformed)?;
        let Some(body) = self.buffer.get(FRAME_HEADER..FRAME_HEADER + length) else {
            return Ok(None);
        };
        let frame = decode_frame(body).map_err(Broken::Malformed)?;
        self.buffer.advance(FRAME_HEADER + length);
        if self.buffer.is_empty() && self.buffer.capacity() > 4 * READ {
            self.buffer = BytesMut::new();
        }
        Ok(Some(frame))
    }
}

/// Writes frames.
#[derive(Debug)]
pub(super) struct FrameWriter<W> {
    stream: W,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(super) fn new(stream: W) -> FrameWriter<W> {
        FrameWriter { stream }
    }

    /// Hands a frame to the kernel.
    pub(super) async fn write(&mut self, frame: Frame) -> Result<(), Broken> {
        self.write_with(frame, || None).await
    }

    /// Hands a frame to the kernel, together with those that are waiting already: `next` gives them
    /// one by one. It is asked until so much is gathered that a write of its own costs nothing.
    pub(super) async fn write_with(
        &mut self,
        frame: Frame,
        mut next: impl FnMut() -> Option<Frame>,
    ) -> Result<(), Broken> {
        let mut bytes = encode_frame(frame).map_err(Broken::Malformed)?;
        while bytes.len() < GATHERED
            && let Some(frame) = next()
        {
            bytes.extend(encode_frame(frame).map_err(Broken::Malformed)?);
        }
        self.stream.write_all(&bytes).await.map_err(Broken::Io)?;
        self.stream.flush().await.map_err(Broken::Io)
    }

    /// Says that nothing more comes.
    pub(super) async fn finish(&mut self) {
        // The other side may have gone already; there is nothing left to lose.
        let _ = self.stream.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads everything from bytes that are already there.
    async fn read_all(bytes: &[u8]) -> (Vec<Frame>, Broken) {
        let mut reader = FrameReader::new(bytes);
        let mut frames = Vec::new();
        loop {
            match reader.next().await {
                Ok(frame) => frames.push(frame),
                Err(broken) => return (frames, broken),
            }
        }
    }

    #[tokio::test]
    async fn frames_are_found_in_one_read_and_torn_ones_noticed() {
        let mut bytes = encode_frame(Frame::Cancel { id: 1 }).unwrap();
        bytes.extend(encode_frame(Frame::Cancel { id: 2 }).unwrap());
        let (frames, end) = read_all(&bytes).await;
        assert_eq!(frames, [Frame::Cancel { id: 1 }, Frame::Cancel { id: 2 }]);
        assert!(matches!(end, Broken::Closed));
        bytes.pop();
        let (frames, end) = read_all(&bytes).await;
        assert_eq!(frames.len(), 1);
        assert!(matches!(end, Broken::Io(_)));
    }

    #[tokio::test]
    async fn sizes_out_of_bounds_and_noise_are_violations() {
        for bytes in [&[0; 4][..], &[0xff; 40], &[0, 0, 0, 2, 0xff, 0xff]] {
            let (frames, end) = read_all(bytes).await;
            assert!(frames.is_empty() && end.is_violation(), "{end:?}");
        }
    }
}

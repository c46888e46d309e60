//! Frames of the peer port: what two members say once both certificates are verified.
//!
//! A frame is a length of four bytes, big-endian, and that many bytes of one protobuf message. The
//! first frame in each direction is a [`Hello`]; its protocol number stands for all that follows.
//! Sockets, limits and who may say what are the transport's; payloads of calls and raft messages
//! are bytes here.

use prost::Message;

use crate::Error;
use crate::pb::peer as pb;

/// The version that [`Hello::protocol`] names.
pub const PEER_PROTOCOL: u32 = 1;

/// Bytes of the length before each frame.
pub const FRAME_HEADER: usize = 4;

/// No frame is larger, without its length.
pub const FRAME_MAX: usize = 8 * 1024 * 1024;

/// Items of a stream that its sender may send before the reader grants more with
/// [`Frame::Credit`].
pub const STREAM_WINDOW: u32 = 32;

/// Bytes of the largest item of a stream.
pub const STREAM_ITEM_MAX: usize = 1024 * 1024;

/// A number on the wire and the word for it here.
macro_rules! numbers {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $number:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$word_doc])* $word = $number),+
        }

        impl $name {
            /// The number on the wire.
            pub const fn number(self) -> u32 {
                self as u32
            }

            /// The word for a number, if this version knows one.
            pub const fn from_number(number: u32) -> Option<$name> {
                match number { $($number => Some($name::$word),)+ _ => None }
            }
        }
    };
}

numbers! {
    /// What a connection is for.
    Purpose {
        /// Raft messages from the one who dialled.
        Raft = 1,
        /// Calls and streams of the one who dialled.
        Calls = 2,
        /// One snapshot, and the answer whether it was installed.
        Snapshot = 3,
    }
}

numbers! {
    /// Why a member does not want a connection.
    Refusal {
        /// Another version of the peer protocol.
        Protocol = 1,
        /// Another cluster.
        Cluster = 2,
        /// Another epoch: one side slept through a recovery.
        Epoch = 3,
        /// The raft id is not the one of the certificate's node.
        RaftId = 4,
        /// An unknown purpose, or a first frame that is no hello.
        Malformed = 5,
        /// Too many connections of this kind.
        TooMany = 6,
    }
}

numbers! {
    /// What one member may ask of another. Numbers are never used again.
    Method {
        /// Propose a command, at the leader.
        Forward = 1,
        /// Ask the leader for an index that a linearizable read has to wait for.
        ReadIndex = 2,
        /// Ask for a sign of life.
        Ping = 3,
        /// Ask for a new certificate.
        RenewCertificate = 4,
        /// Ask for a new raft id for a node that lost its log.
        Rejoin = 5,
        /// Follow logs (a stream).
        Logs = 6,
        /// Ask what digest a tag has.
        ResolveImage = 7,
        /// Pass on the request of a node that wants to join, to the leader.
        Join = 8,
        /// Have an image pulled.
        Pull = 9,
        /// Ask how the member sees itself.
        Status = 10,
        /// Tell a member that it is none any more.
        Removed = 11,
        /// Ask what the member sees of its own network and of a container.
        Look = 12,
    }
}

/// The first frame of a side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// [`PEER_PROTOCOL`] of the sender.
    pub protocol: u32,
    /// The cluster of the sender.
    pub cluster_id: String,
    /// How often the cluster was recovered.
    pub epoch: u64,
    /// The raft id of the sender.
    pub raft_id: u64,
    /// The [`Purpose`] as a number, since one of a later version is refused and not a broken frame.
    pub purpose: u32,
}

/// How a call or a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer; for a stream its regular end.
    Done(Vec<u8>),
    /// The member will not, and says why.
    Refused(String),
    /// The member has too many calls in progress.
    TooMany,
    /// The member does not know the method.
    UnknownMethod,
}

/// A request of a call or a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Chosen by the caller, different for all that are open on the connection.
    pub id: u64,
    /// The [`Method`] as a number, since an unknown one is answered and not a broken frame.
    pub method: u32,
    /// What only the method understands.
    pub payload: Vec<u8>,
    /// How long the caller waits in milliseconds; 0 for a stream.
    pub timeout_ms: u64,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// First, in both directions.
    Hello(Hello),
    /// In place of the second hello.
    Refused {
        /// The [`Refusal`] as a number.
        reason: u32,
        /// The epoch of the member that refuses.
        epoch: u64,
        /// The protocol of the member that refuses.
        protocol: u32,
    },
    /// Encoded raft messages.
    Raft(Vec<Vec<u8>>),
    /// An encoded raft message whose snapshot data follows.
    SnapshotBegin {
        /// The message, without the data.
        message: Vec<u8>,
        /// Bytes of data to come.
        size: u64,
    },
    /// A part of a snapshot.
    SnapshotChunk {
        /// Bytes before it.
        offset: u64,
        /// The part.
        data: Vec<u8>,
    },
    /// The answer to a snapshot.
    SnapshotEnd {
        /// Whether it was installed.
        installed: bool,
    },
    /// A call.
    Call(Request),
    /// A request for a stream.
    OpenStream(Request),
    /// The answer to a call, or the end of a stream.
    Answer {
        /// The request.
        id: u64,
        /// How it ended.
        outcome: Outcome,
    },
    /// One item of a stream.
    Item {
        /// The request.
        id: u64,
        /// The item.
        payload: Vec<u8>,
    },
    /// The reader of a stream has room again.
    Credit {
        /// The request.
        id: u64,
        /// For so many more items.
        items: u32,
    },
    /// The caller has gone.
    Cancel {
        /// The request.
        id: u64,
    },
}

/// The bytes of a frame, behind their length.
///
/// # Errors
/// [`Error::FrameSize`] if it is larger than [`FRAME_MAX`].
pub fn encode_frame(frame: Frame) -> Result<Vec<u8>, Error> {
    let message = pb::PeerFrame { body: Some(to_pb(frame)) };
    let len = message.encoded_len();
    let header = u32::try_from(len).ok().filter(|_| len <= FRAME_MAX);
    let Some(header) = header else { return Err(Error::FrameSize { found: len }) };
    let mut bytes = Vec::with_capacity(FRAME_HEADER + len);
    bytes.extend_from_slice(&header.to_be_bytes());
    message.encode_raw(&mut bytes);
    Ok(bytes)
}

/// Bytes that follow a length.
///
/// # Errors
/// [`Error::FrameSize`] for a length of zero or above [`FRAME_MAX`].
pub fn frame_length(header: [u8; FRAME_HEADER]) -> Result<usize, Error> {
    let len = usize::try_from(u32::from_be_bytes(header)).unwrap_or(usize::MAX);
    if len == 0 || len > FRAME_MAX { Err(Error::FrameSize { found: len }) } else { Ok(len) }
}

/// Reads the bytes that follow a length.
///
/// # Errors
/// If they are not one known frame.
pub fn decode_frame(bytes: &[u8]) -> Result<Frame, Error> {
    let message = pb::PeerFrame::decode(bytes)
        .map_err(|source| Error::Envelope { what: "peer frame", source })?;
    from_pb(message.body.ok_or(Error::Frame { reason: "no known body" })?)
}

fn to_pb(frame: Frame) -> pb::peer_frame::Body {
    use pb::peer_frame::Body;
    match frame {
        Frame::Hello(Hello { protocol, cluster_id, epoch, raft_id, purpose }) => {
            Body::Hello(pb::Hello { protocol, cluster_id, epoch, raft_id, purpose })
        }
        Frame::Refused { reason, epoch, protocol } => {
            Body::Refused(pb::Refused { reason, epoch, protocol })
        }
        Frame::Raft(messages) => Body::Raft(pb::RaftMessages { messages }),
        Frame::SnapshotBegin { message, size } => {
            Body::SnapshotBegin(pb::SnapshotBegin { message, size })
        }
        Frame::SnapshotChunk { offset, data } => {
            Body::SnapshotChunk(pb::SnapshotChunk { offset, data })
        }
        Frame::SnapshotEnd { installed } => Body::SnapshotEnd(pb::SnapshotEnd { installed }),
        Frame::Call(request) => Body::Call(request_to_pb(request)),
        Frame::OpenStream(request) => Body::OpenStream(request_to_pb(request)),
        Frame::Answer { id, outcome } => Body::Answer(answer_to_pb(id, outcome)),
        Frame::Item { id, payload } => Body::Item(pb::StreamItem { id, payload }),
        Frame::Credit { id, items } => Body::Credit(pb::StreamCredit { id, items }),
        Frame::Cancel { id } => Body::Cancel(pb::Cancel { id }),
    }
}

fn from_pb(body: pb::peer_frame::Body) -> Result<Frame, Error> {
    use pb::peer_frame::Body;
    Ok(match body {
        Body::Hello(pb::Hello { protocol, cluster_id, epoch, raft_id, purpose }) => {
            Frame::Hello(Hello { protocol, cluster_id, epoch, raft_id, purpose })
        }
        Body::Refused(pb::Refused { reason, epoch, protocol }) => {
            Frame::Refused { reason, epoch, protocol }
        }
        Body::Raft(raft) => Frame::Raft(raft.messages),
        Body::SnapshotBegin(begin) => {
            Frame::SnapshotBegin { message: begin.message, size: begin.size }
        }
        Body::SnapshotChunk(chunk) => {
            Frame::SnapshotChunk { offset: chunk.offset, data: chunk.data }
        }
        Body::SnapshotEnd(end) => Frame::SnapshotEnd { installed: end.installed },
        Body::Call(request) => Frame::Call(request_from_pb(request)),
        Body::OpenStream(request) => Frame::OpenStream(request_from_pb(request)),
        Body::Answer(answer) => answer_from_pb(answer)?,
        Body::Item(item) => Frame::Item { id: item.id, payload: item.payload },
        Body::Credit(credit) => Frame::Credit { id: credit.id, items: credit.items },
        Body::Cancel(cancel) => Frame::Cancel { id: cancel.id },
    })
}

fn request_to_pb(request: Request) -> pb::CallRequest {
    let Request { id, method, payload, timeout_ms } = request;
    pb::CallRequest { id, method, payload, timeout_ms }
}

fn request_from_pb(request: pb::CallRequest) -> Request {
    let pb::CallRequest { id, method, payload, timeout_ms } = request;
    Request { id, method, payload, timeout_ms }
}

fn answer_to_pb(id: u64, outcome: Outcome) -> pb::CallAnswer {
    let (outcome, payload, reason) = match outcome {
        Outcome::Done(payload) => (1, payload, String::new()),
        Outcome::Refused(reason) => (2, Vec::new(), reason),
        Outcome::TooMany => (3, Vec::new(), String::new()),
        Outcome::UnknownMethod => (4, Vec::new(), String::new()),
    };
    pb::CallAnswer { id, outcome, payload, reason }
}

fn answer_from_pb(answer: pb::CallAnswer) -> Result<Frame, Error> {
    let outcome = match answer.outcome {
        1 => Outcome::Done(answer.payload),
        2 => Outcome::Refused(answer.reason),
        3 => Outcome::TooMany,
        4 => Outcome::UnknownMethod,
        _ => return Err(Error::Frame { reason: "an unknown outcome" }),
    };
    Ok(Frame::Answer { id: answer.id, outcome })
}
